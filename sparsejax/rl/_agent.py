"""An agent of deep Q-learning before it has learned: its config and its network."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from sparsejax import checks, models
from sparsejax.rl import environments
from sparsejax.rl.environments import Environment


@dataclasses.dataclass(frozen=True)
class Config:
    """What to train, and how.

    Attributes:
        environment: an `Environment`, or the name of one that comes with the library.
        widths: hidden units of every layer, relu.
        steps: in the environment, a multiple of `block`.
        block: steps in the environment between updates of the policy.
        updates: gradient steps after every block.
        batch_size: transitions a gradient step.
        learning_rate: of Adam.
        discount: of a reward one step later.
        epsilon: share of random actions after exploration.
        exploration: part of the training in which that share falls from 1, linearly.
        warmup: steps before the first update.
        double: choose the next action by the network, value it by the target network.
        evaluations: how often the greedy policy is evaluated.
        episodes: of one evaluation.
    """

    environment: str | Environment = "CartPole-v1"
    widths: tuple[int, ...] | Any = (32, 32)
    steps: int = 51_200
    block: int = 256
    updates: int = 128
    batch_size: int = 64
    learning_rate: float = 2.3e-3
    discount: float = 0.99
    epsilon: float = 0.04
    exploration: float = 0.16
    warmup: int = 1000
    double: bool = True
    evaluations: int = 50
    episodes: int = 256

    def __post_init__(self):
        object.__setattr__(self, "widths", checks.several(self.widths))


def environment(config: Config) -> Environment:
    """Where a config trains.

    Example:
        >>> environment(Config("CartPole-v1")).actions
        ('push left', 'push right')
    """
    given = config.environment
    return environments.load(given) if isinstance(given, str) else given


def model(config: Config) -> models.Model:
    """The network, of scaled observations.

    Example:
        >>> import jax
        >>> network, key = model(Config(widths=(8,))), jax.random.key(0)
        >>> params = jax.eval_shape(network.init, key, jnp.zeros(4))
        >>> jax.eval_shape(network.apply, params, jnp.zeros((10, 4))).shape
        (10, 2)
    """
    return models.mlp(config.widths, len(environment(config).actions))


def values(config: Config) -> Callable[[PyTree, Array], Array]:
    """`q(params, observation)`: the value of every action.

    Observations are raw, shape `(*batch, inputs)`; the scale is part of the function.

    Example:
        >>> import jax
        >>> config = Config(widths=(8,))
        >>> q, params = values(config), init(config, jax.random.key(0))
        >>> q(params, jnp.zeros(4)).tolist()  # biases are 0 before training
        [0.0, 0.0]
    """
    apply, scale = model(config).apply, jnp.asarray(environment(config).scale)
    return lambda params, observation: apply(params, observation * scale)


def init(config: Config, key: Key[Array, ""] | Any) -> PyTree:
    """Parameters before training.

    Example:
        >>> import jax
        >>> params = init(Config(widths=(8,)), jax.random.key(0))
        >>> params["dense_0"]["kernel"].shape, params["dense_1"]["kernel"].shape
        ((4, 8), (8, 2))
    """
    checks.one_key(key)
    return model(config).init(key, jnp.zeros(len(environment(config).inputs)))


def check(config: Config) -> None:
    """Raise a `ValueError` for a config that cannot be trained.

    Example:
        >>> check(Config())
        >>> check(Config(epsilon=2.0))
        Traceback (most recent call last):
            ...
        ValueError: epsilon must be in [0, 1], got 2.0
    """
    environments.check(environment(config))
    least = {"steps": 1, "block": 1, "updates": 1, "batch_size": 1, "warmup": 0,
             "evaluations": 1, "episodes": 1}  # fmt: skip
    for field, bound in least.items():
        if getattr(config, field) < bound:
            raise ValueError(
                f"{field} must be at least {bound}, got {getattr(config, field)}"
            )
    for field in ("discount", "epsilon", "exploration"):
        if not 0 <= getattr(config, field) <= 1:
            raise ValueError(f"{field} must be in [0, 1], got {getattr(config, field)}")
    if not 0 < config.learning_rate < float("inf"):
        raise ValueError(f"learning_rate must be positive, got {config.learning_rate}")
    if not all(width > 0 for width in config.widths):
        raise ValueError(f"widths must be positive, got {config.widths}")
    if config.steps % config.block or config.steps // config.block % config.evaluations:
        raise ValueError(
            f"steps must be a multiple of block x evaluations = {config.block} x "
            f"{config.evaluations}, got {config.steps}"
        )
