"""Whole episodes in JAX."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sparsejax import checks
from sparsejax.rl.environments import Environment

__all__ = [
    "returns",
    "returns_within",
]


def __dir__() -> list[str]:
    return list(__all__)


def returns(
    environment: Environment, act: Callable, key: Key[Array, ""] | Any, episodes: int
) -> Float[Array, " episodes"]:
    """The return of every episode, all played at once; works inside `jit` and `vmap`.

    Args:
        environment: where.
        act: `act(observation) -> action`, of one observation.
        key: of the first states.
        episodes: how many.

    Returns:
        Sums of rewards, up to the end of an episode or the limit of steps.

    Example:
        >>> from sparsejax.rl import environments
        >>> always_right = lambda observation: jnp.array(1)
        >>> cartpole = environments.load("CartPole-v1")
        >>> totals = returns(cartpole, always_right, jax.random.key(0), 4)
        >>> totals.shape, bool(totals.max() < 15)  # the pole falls
        ((4,), True)
    """
    return returns_within(environment, act, key, episodes, (environment.limit,))[0]


def returns_within(
    environment: Environment,
    act: Callable,
    key: Key[Array, ""] | Any,
    episodes: int,
    limits: int | Iterable,
) -> Float[Array, "limits episodes"]:
    """The same for several limits of steps.

    Example:
        >>> from sparsejax.rl import environments
        >>> always_right, key = lambda observation: jnp.array(1), jax.random.key(0)
        >>> cartpole = environments.load("CartPole-v1")
        >>> returns_within(cartpole, always_right, key, 3, [2, 5]).tolist()
        [[2.0, 2.0, 2.0], [5.0, 5.0, 5.0]]
    """
    checks.one_key(key)
    limits = checks.sizes(limits, "limits")
    bounds = jnp.asarray(limits, jnp.int32)[:, None]

    def move(state, alive):
        after, reward, ended = environment.step(state, act(environment.observe(state)))

        def keep(new, old):
            return jnp.where(alive, new, old)

        after = jax.tree.map(keep, after, state)
        return after, alive & ~ended, jnp.where(alive, reward, 0)

    def body(carry):
        time, states, alive, total = carry
        states, alive, reward = jax.vmap(move)(states, alive)
        return time + 1, states, alive, total + jnp.where(time < bounds, reward, 0)

    def goes_on(carry):
        time, _, alive, _ = carry
        return (time < max(limits)) & alive.any()

    states = jax.vmap(environment.reset)(jax.random.split(key, episodes))
    total = jnp.zeros((len(limits), episodes))
    first: Any = (jnp.int32(0), states, jnp.ones(episodes, bool), total)
    return jax.lax.while_loop(goes_on, body, first)[3]
