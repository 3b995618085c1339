"""Reinforcement learning: environments in pure JAX, deep Q-learning, gymnasium."""

from sparsejax.rl import cartpole, dqn, environments, gym, rollout
from sparsejax.rl.environments import Environment

__all__ = [
    "Environment",
    "cartpole",
    "dqn",
    "environments",
    "gym",
    "rollout",
]


def __dir__() -> list[str]:
    return list(__all__)
