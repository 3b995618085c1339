"""Are weights easier to read once most of them are gone? And pages to read them on."""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.weights._run import plan as plan
    from sparsejax.experiments.weights._run import run as run
    from sparsejax.experiments.weights._run import summary as summary
    from sparsejax.experiments.weights.config import Config as Config

__getattr__, __dir__ = face(
    __name__, config=("Config",), _run=("plan", "run", "summary")
)
