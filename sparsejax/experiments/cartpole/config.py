"""CartPole agents, pruned until they can be read.

Sixteen DQN agents, pruned in lottery rounds and without retraining, as long as the mean
return in gymnasium stays at its maximum:
    sparsejax cartpole

The environment with shorter episodes, or a small network:
    sparsejax cartpole --environment=CartPole-v0
    sparsejax cartpole --widths=8 --seeds=0:4

A run leaves a folder with its config, metrics.jsonl, the agents, figures, an episode as
a GIF, the policy in words, graph.html (the smallest agent, and the pole beside it) and
index.html. An interrupted run resumes when started again.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study import needs
from sparsejax.experiments._study.config import COUNTS, POSITIVE, SEEDS, WIDTHS

SUBJECT = ()
CHOICES = {"environment": ("CartPole-v1", "CartPole-v0")}
TARGETS = {"CartPole-v1": 500.0, "CartPole-v0": 200.0}  # the highest returns
BLOCK, EVALUATIONS = 256, 50  # steps between updates, evaluations in a training
WITHIN = {
    "seeds": SEEDS,
    "widths": WIDTHS,
    "steps": COUNTS,
    "learning_rate": POSITIVE,
    "min_return": "(-inf, inf)",
    "num_episodes": COUNTS,
    "rounds": "[0, 1000]",
    "fraction": "(0, 1)",
    "patience": COUNTS,
    "num_walkers": COUNTS,
    "order_noise": "[0, inf)",
}
# in words
ARMS = {
    "dense": "trained, not pruned",
    "pruned": "pruned without retraining",
    "ticket": "lottery ticket",
    "ticket_pruned": "ticket, then without retraining",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run.

    Attributes:
        environment: Environment of the agents: "CartPole-v1" (episodes of at most 500
            steps) or "CartPole-v0" (200).
        seeds: Seeds of the agents, which train together; 0:16 is 0,1,...,15.
        widths: Numbers of hidden units.
        steps: Number of environment steps in a training, a multiple of 12,800.
        learning_rate: Learning rate of Adam.
        min_return: Mean return that pruned agents must keep; by default the
            environment's maximum.
        num_episodes: Number of gymnasium episodes that the mean return is taken over.
        rounds: Largest number of lottery rounds; 0 for none.
        fraction: Fraction of the remaining weights that a lottery round tries to
            remove; after a failure half as many, down to one.
        patience: Number of failures to remove a single weight, each time a different
            one, that end an agent's lottery.
        num_walkers: Number of copies of every agent that are pruned without retraining,
            each in a different order.
        order_noise: Standard deviation of the noise on log magnitudes that makes the
            orders of the copies differ.
    """

    environment: str = "CartPole-v1"
    seeds: tuple[int, ...] = tuple(range(16))
    widths: tuple[int, ...] = (32, 32)
    steps: int = 51_200
    learning_rate: float = 2.3e-3
    min_return: float | None = None
    num_episodes: int = 100
    rounds: int = 20
    fraction: float = 0.3
    patience: int = 3
    num_walkers: int = 8
    order_noise: float = 0.7

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
        least = BLOCK * EVALUATIONS
        if self.steps % least:
            raise ValueError(f"steps must be a multiple of {least:,}, got {self.steps}")

    @property
    def goal(self) -> float:
        """The mean return to keep."""
        return TARGETS[self.environment] if self.min_return is None else self.min_return


def environment(config: Config) -> dict[str, str]:
    """Variables of the process that suit a run, to be set before JAX is used."""
    return config_.ONE_THREAD


def memory(config: Config) -> dict[str, float]:
    """Bytes of all agents, of their walkers and of the steps that they learn from."""
    agents = len(config.seeds) * needs.weights(config.widths, 4, 2)
    return {
        "widths, seeds or num_walkers": agents * max(4, config.num_walkers),
        "steps": 16.0 * config.steps * len(config.seeds),
        "num_episodes": 4.0 * config.num_episodes * len(config.seeds),
    }


def disk(config: Config) -> float:
    """Bytes of the dense agents."""
    return 0.8 * len(config.seeds) * needs.weights(config.widths, 4, 2)
