"""Flow graphs: a network that has been pruned to a few weights, as a program.

    g = flowgraph.trace(lambda x: model.apply(params, x), x)
    g.check(fn, x), g.at("scalar"), g.bounds("exact"), g.to_python(), g.save_html(path)

`trace` unfolds any JAX function of one input into scalars, exactly; see `Graph` for
what can be asked of the result. For networks with at most some ten thousand weights
left: what a person could hope to read.

Reference: Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?", 2020.
"""

from .bounds import Bounds as Bounds
from .export.json import from_json as from_json
from .graph import Graph as Graph
from .graph import TooLarge as TooLarge
from .rules import RULES as RULES
from .sparse_kernels import kernels as kernels
from .sparse_kernels import read_kernels as read_kernels
from .sparse_kernels import write_kernels as write_kernels
from .trace import BOXES as BOXES
from .trace import trace as trace
