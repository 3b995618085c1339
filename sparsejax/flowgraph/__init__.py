"""Flow graphs: a network that has been pruned to a few weights, as a program.

    g = flowgraph.trace(lambda x: model.apply(params, x), x)
    g.check(fn, x), g.at("scalar"), g.bounds("exact"), g.to_python(), g.save_html(path)

`trace` unfolds any JAX function of one input into scalars, exactly; see `Graph` for
what can be asked of the result. `certify` proves that two functions agree on a box of
inputs, `certified_circuit` removes units as long as that can be proved. For networks
with at most some ten thousand weights left: what a person could hope to read.

Reference: Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?", 2020.
"""

from ._bounds import Bounds
from ._certify import Certificate, certify
from ._circuit import CertifiedCircuit, certified_circuit
from ._diff import Diff
from ._export.html import PageExtra
from ._flags import Flag
from ._from_json import from_json
from ._graph import Graph
from ._relevance import Relevance
from ._rules import RULES
from ._simplify import SIMPLIFY_POLICIES
from ._sparse_kernels import kernels, read_kernels, write_kernels
from ._structure import TooLarge
from ._trace import BOXES, trace

__all__ = [
    "BOXES",
    "RULES",
    "SIMPLIFY_POLICIES",
    "Bounds",
    "Certificate",
    "CertifiedCircuit",
    "Diff",
    "Flag",
    "Graph",
    "PageExtra",
    "Relevance",
    "TooLarge",
    "certified_circuit",
    "certify",
    "from_json",
    "kernels",
    "read_kernels",
    "trace",
    "write_kernels",
]


def __dir__() -> list[str]:
    return list(__all__)
