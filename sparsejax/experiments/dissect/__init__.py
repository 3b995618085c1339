"""Does pruning change what units stand for? Levels of a lottery run, dissected.

After Frankle and Bau, "Dissecting Pruned Neural Networks" (2019): how many units of the
last stage are detectors of a concept, of how many concepts, of what kinds, and whether
a unit of the dense network keeps its concept. Beside them what they leave out: chance,
the same features rotated, an untrained network, and scores in which the size of a
concept does not count.
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.dissect._run import plan as plan
    from sparsejax.experiments.dissect._run import run as run
    from sparsejax.experiments.dissect._run import summary as summary
    from sparsejax.experiments.dissect.config import Config as Config

__getattr__, __dir__ = face(
    __name__, config=("Config",), _run=("plan", "run", "summary")
)
