"""Agents stacked along a leading axis, and what is left of each."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree

from sparsejax import masks
from sparsejax.rl import dqn, gym

Kernels = dict[str, np.ndarray]


class Agents(NamedTuple):
    """Stacked agents.

    Attributes:
        params: their parameters, removed weights zero.
        kept: of every kernel what is kept, by layer, bool (agents, in, out).
    """

    params: PyTree
    kept: dict[str, np.ndarray]


class Steps(NamedTuple):
    """What was tried, (steps, agents) each."""

    weights: Int[np.ndarray, "steps agents"]
    returns: Float[np.ndarray, "steps agents"]
    accepted: Bool[np.ndarray, "steps agents"]


def everything(params: PyTree) -> Agents:
    """Agents of which nothing is removed."""
    params = jax.tree.map(np.asarray, params)

    def ones(name):
        return np.ones(params[name]["kernel"].shape, bool)

    return Agents(params, {name: ones(name) for name in layers(params)})


def layers(params: PyTree) -> list[str]:
    """Names of the layers, in order."""
    return [f"dense_{i}" for i in range(len(params))]


def count(kept: Kernels) -> Int[np.ndarray, " agents"]:
    """Weights of every agent."""
    return np.sum([k.sum(axis=(1, 2)) for k in kept.values()], axis=0)


def live(kept: Kernels) -> Kernels:
    """What lies on a path from an input to an output."""
    names, on_paths = list(kept), dict(kept)
    for before, after in zip(names, names[1:], strict=False):
        fed = np.any(on_paths[before], axis=1)
        on_paths[after] = on_paths[after] & fed[:, :, None]
    for before, after in zip(names[-2::-1], names[:0:-1], strict=True):
        read = np.any(on_paths[after], axis=2)
        on_paths[before] = on_paths[before] & read[:, None, :]
    return on_paths


def as_mask(params: PyTree, kept: Kernels) -> PyTree:
    """A tree like `Masks.weights`, stacked; biases stay."""

    def one(name):
        return {"kernel": jnp.asarray(kept[name], jnp.float32),
                            "bias": jnp.ones(len(kept[name]))}  # fmt: skip

    return {name: one(name) for name in layers(params)}


def zero(agents: Agents) -> Agents:
    """With exact zeros where weights are removed."""
    mask = as_mask(agents.params, agents.kept)
    params = jax.vmap(masks.zero)(agents.params, mask)
    return Agents(jax.tree.map(np.asarray, params), agents.kept)


def evaluate(
    config: dqn.Config, params: PyTree, episodes: int, seed: int = 0
) -> Float[np.ndarray, "agents episodes"]:
    """Returns of stacked agents in gymnasium, all from the same first states."""
    number = len(jax.tree.leaves(params)[0])
    q, env = _values(config), dqn.environment(config)
    returns = []
    for at in range(number):
        one = jax.tree.map(lambda leaf, at=at: jnp.asarray(leaf[at]), params)

        def act(seen, one=one):
            return np.asarray(q(one, seen)).argmax(axis=-1)

        returns.append(gym.evaluate(env, act, episodes=episodes, seed=seed))
    return np.stack(returns)


def flat(kept: Kernels) -> np.ndarray:
    """(agents, weights)."""
    parts = [mask.reshape(len(mask), -1) for mask in kept.values()]
    return np.concatenate(parts, axis=1)


def unflat(rows: np.ndarray, like: Kernels) -> Kernels:
    """The inverse of `flat`."""
    ends = np.cumsum([mask[0].size for mask in like.values()])
    parts = np.split(rows, ends[:-1], axis=1)
    pairs = zip(like.items(), parts, strict=True)
    return {name: part.reshape(mask.shape) for (name, mask), part in pairs}


def rank(score: np.ndarray) -> np.ndarray:
    """Place of every weight by its score, smallest first, ties by position."""
    return np.argsort(np.argsort(score, axis=1, kind="stable"), axis=1, kind="stable")


def pick(good: np.ndarray, new: Agents, old: Agents) -> Agents:
    """The new agents where they are good."""

    def choose(a, b):
        return np.where(
            good.reshape(-1, *[1] * (np.ndim(b) - 1)), np.asarray(a), np.asarray(b)
        )

    return Agents(*jax.tree.map(choose, tuple(new), tuple(old)))


@partial(jax.jit, static_argnums=0)
def _q(config, params, seen):
    return dqn.values(config)(params, seen)


def _values(config: dqn.Config) -> Callable:
    return partial(_q, config)
