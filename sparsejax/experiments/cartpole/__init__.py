"""CartPole: DQN agents, pruned until they can be read.

Reproduces the CartPole agent of Böhm, Kirk, Gavenčiak, "Sparsity and
interpretability?", 2020, over many seeds: agents are pruned as far as their mean return
stays the highest there is.
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.cartpole._run import plan as plan
    from sparsejax.experiments.cartpole._run import run as run
    from sparsejax.experiments.cartpole._run import summary as summary
    from sparsejax.experiments.cartpole.config import Config as Config

__getattr__, __dir__ = face(
    __name__, config=("Config",), _run=("plan", "run", "summary")
)
