"""Every figure and number of the five source documents that can be made.

Runs the other experiments in folders of its own, takes from them what the sources
publish, and puts both side by side: the published value, ours with its spread over
networks, in one word whether they agree, and a sentence on any difference.
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.reproduce._run import plan as plan
    from sparsejax.experiments.reproduce._run import run as run
    from sparsejax.experiments.reproduce._run import summary as summary
    from sparsejax.experiments.reproduce.config import Config as Config

__getattr__, __dir__ = face(
    __name__, config=("Config",), _run=("plan", "run", "summary")
)
