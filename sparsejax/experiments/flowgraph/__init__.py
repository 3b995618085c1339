"""A pruned network as a flow graph: counts, ranges, drawings, pages and source.

Reproduces the figures of Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?"
(2020), and adds what an exact graph allows: proofs, programs, and a page in which the
network runs.
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.flowgraph._run import plan as plan
    from sparsejax.experiments.flowgraph._run import run as run
    from sparsejax.experiments.flowgraph._run import summary as summary
    from sparsejax.experiments.flowgraph.config import Config as Config
    from sparsejax.experiments.flowgraph.measure import examples as examples
    from sparsejax.experiments.flowgraph.measure import traced as traced

__getattr__, __dir__ = face(
    __name__,
    config=("Config",),
    _run=("plan", "run", "summary"),
    measure=("examples", "traced"),
)
