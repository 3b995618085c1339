"""Node masks on a network: what is left when units are removed, and which to keep.

After Hobson, "Exploring toy neural nets under node removal" (in "Neural Networks, More
than you wanted to Show"), for any network: distributions of loss and accuracy over
random masks, how much each unit matters by several scores, and what these are worth:
the network of the k best units by each, against greedy elimination and, where all
subsets are known, the best there is.
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.node_sweep._run import plan as plan
    from sparsejax.experiments.node_sweep._run import run as run
    from sparsejax.experiments.node_sweep._run import summary as summary
    from sparsejax.experiments.node_sweep.config import Config as Config
    from sparsejax.experiments.node_sweep.sweeps import generator as generator

__getattr__, __dir__ = face(
    __name__,
    config=("Config",),
    _run=("plan", "run", "summary"),
    sweeps=("generator",),
)
