"""Why a network answers as it does, by every method side by side.

Maps by every chosen method; what the biases are to blame for; whether the parts sum to
the output; whether what a method calls relevant matters when it is deleted; and whether
the method depends on what the network has learnt.
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.relevance._run import plan as plan
    from sparsejax.experiments.relevance._run import run as run
    from sparsejax.experiments.relevance._run import summary as summary
    from sparsejax.experiments.relevance.config import LABELS as LABELS
    from sparsejax.experiments.relevance.config import Config as Config

__getattr__, __dir__ = face(
    __name__, config=("Config", "LABELS"), _run=("plan", "run", "summary")
)
