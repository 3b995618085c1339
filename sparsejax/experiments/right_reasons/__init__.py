"""Training on relevance, and what it is worth.

Digits on textures that give the label away. Networks are trained with penalties on
relevance outside of the digit, and tested on textures of other labels: does a penalty
that is met mean that the digit decides?
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.right_reasons._run import plan as plan
    from sparsejax.experiments.right_reasons._run import run as run
    from sparsejax.experiments.right_reasons._run import summary as summary
    from sparsejax.experiments.right_reasons.config import Config as Config

__getattr__, __dir__ = face(
    __name__, config=("Config",), _run=("plan", "run", "summary")
)
