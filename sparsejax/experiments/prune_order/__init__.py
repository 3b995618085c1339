"""Three orders of training and pruning, on a spiral and on images.

Reproduces Hobson, "Train first VS prune first in neural networks" (spiral, 2-50-50-1,
half of the nodes removed), over many seeds and at two learning rates, and asks the same
of images and of single weights.
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.prune_order._run import plan as plan
    from sparsejax.experiments.prune_order._run import run as run
    from sparsejax.experiments.prune_order._run import summary as summary
    from sparsejax.experiments.prune_order.config import Config as Config

__getattr__, __dir__ = face(
    __name__, config=("Config",), _run=("plan", "run", "summary")
)
