"""Pictures of what the units of a network respond to, layer by layer."""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.features._run import plan as plan
    from sparsejax.experiments.features._run import run as run
    from sparsejax.experiments.features._run import summary as summary
    from sparsejax.experiments.features.config import Config as Config

__getattr__, __dir__ = face(
    __name__, config=("Config",), _run=("plan", "run", "summary")
)
