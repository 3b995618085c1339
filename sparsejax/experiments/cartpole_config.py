"""What a run on pruned agents does: its config, and its defaults."""

import dataclasses

from sparsejax.experiments import fields
from sparsejax.rl import dqn, environments
from sparsejax.rl.environments import Environment

CHOICES: dict[str, tuple[str, ...]] = {}
WITHIN = {
    "seeds": fields.SEEDS,
    "widths": fields.WIDTHS,
    "steps": fields.COUNTS,
    "learning_rate": fields.POSITIVE,
    "target": "(-inf, inf)",
    "episodes": fields.COUNTS,
    "rounds": "[0, 1000]",
    "fraction": "(0, 1)",
    "patience": fields.COUNTS,
    "walkers": fields.COUNTS,
    "noise": "[0, inf)",
}
# in words
METHODS = {
    "dense": "trained, not pruned",
    "pruned": "pruned without retraining",
    "ticket": "lottery ticket",
    "ticket_pruned": "ticket, then without retraining",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run.

    Attributes:
        environment: "CartPole-v1" (episodes of 500 steps) or "CartPole-v0" (200).
        seeds: an agent each, trained together; launchers read 0:16 as 0,1,...,15.
        widths: hidden units of every layer.
        steps: in the environment, of a training; a multiple of 12,800.
        learning_rate: of Adam.
        target: mean return that pruned agents must keep; by default the environment's
            highest.
        episodes: in gymnasium, over which it is the mean.
        rounds: of the lottery at most; 0 for none.
        fraction: of the weights still kept that a lottery round tries to remove; half
            as many are tried after a failure, down to one.
        patience: failures with a single weight (another one each) that end a lottery.
        walkers: copies of every agent that are pruned without retraining, each in
            another order.
        noise: of these orders: what is added to log magnitudes, a standard deviation.
    """

    environment: str = "CartPole-v1"
    seeds: tuple[int, ...] = tuple(range(16))
    widths: tuple[int, ...] = (32, 32)
    steps: int = 51_200
    learning_rate: float = 2.3e-3
    target: float | None = None
    episodes: int = 100
    rounds: int = 20
    fraction: float = 0.3
    patience: int = 3
    walkers: int = 8
    noise: float = 0.7


def environment(config: Config) -> Environment:
    """Where the agents act."""
    return environments.load(config.environment)


def target(config: Config) -> float:
    """The mean return to keep."""
    return environment(config).target if config.target is None else config.target


def training(config: Config, again: bool = False) -> dqn.Config:
    """Of the agents; `again` in lottery rounds, with fewer evaluations."""
    whole = dqn.Config(
        environment=config.environment,
        widths=config.widths,
        steps=config.steps,
        learning_rate=config.learning_rate,
    )
    small = dataclasses.replace(whole, evaluations=25, episodes=128)
    return small if again else whole


def check(config: Config) -> None:
    """Raise a `ValueError` for a config that cannot be run."""
    fields.check(config, WITHIN, CHOICES)
    dqn.check(training(config))
