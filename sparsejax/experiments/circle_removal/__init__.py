"""A circle classifier of twenty nodes under all 2^20 of its node masks.

Reproduces every table and figure of Hobson, "Exploring toy neural nets under node
removal, Section 1" (in "Neural Networks, More than you wanted to Show"), as sampled
there and exactly beside it, and says what single nodes and pairs of nodes are worth.
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.circle_removal._run import plan as plan
    from sparsejax.experiments.circle_removal._run import run as run
    from sparsejax.experiments.circle_removal._run import summary as summary
    from sparsejax.experiments.circle_removal.config import Config as Config

__getattr__, __dir__ = face(
    __name__, config=("Config",), _run=("plan", "run", "summary")
)
