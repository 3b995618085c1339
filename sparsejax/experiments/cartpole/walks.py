"""Prune agents without training, as long as they keep their return.

Every agent is walked in several orders. What a step removes is undone where the return
falls below the target, and fewer weights are tried, down to one.
"""

import functools
import itertools as it
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from sparsejax.experiments.cartpole.agents import (
    Agents,
    Steps,
    count,
    flat,
    layers,
    live,
    pick,
    rank,
    unflat,
)
from sparsejax.pages import counted
from sparsejax.rl import dqn, rollout

_PLAYED = 64  # episodes in JAX by which a step is judged


def without_retraining(
    config: dqn.Config,
    agents: Agents,
    target: float,
    *,
    key: Key[Array, ""],
    walkers: int,
    noise: float,
    most: int = 60,
    log: Callable[[str], Any] = print,
) -> tuple[Agents, Steps]:
    """Remove weights while the return stays; biases take over the means.

    Every walker removes the weights of smallest magnitude, times noise, many at first;
    where that fails, half as many, then each single weight in turn, until a whole pass
    removes nothing or `most` trials in a row have failed. What the removed weights
    brought to a unit on average, over states that the agent visits, goes to its bias.

    Args:
        config: of the agents' training.
        agents: (agents, ...).
        target: mean return to keep, over 64 episodes in JAX at every step.
        key: of episodes and orders.
        walkers: of every agent.
        noise: standard deviation of what is added to log magnitudes.
        most: failures in a row that end a walk.
        log: called with lines of progress.

    Returns:
        All walkers, (agents * walkers, ...), and the steps they took.
    """
    repeat = partial(np.repeat, repeats=walkers, axis=0)
    params, kept = jax.tree.map(repeat, tuple(agents))
    state_key, order_key, step_key = jax.random.split(key, 3)
    number = len(count(kept))
    cut, visited = _compiled(config)
    states = visited(params, jax.random.split(state_key, number))
    order_noise = noise * np.asarray(jax.random.normal(order_key, flat(kept).shape))
    failed = np.zeros(flat(kept).shape, bool)
    won, history = np.zeros(number, bool), []
    amount, in_row = np.maximum(count(kept) // 5, 1), np.zeros(number, int)
    for step in it.count():
        again = ~(flat(kept) & ~failed).any(axis=1) & won
        failed[again], won[again] = False, False
        todo = flat(kept) & ~failed
        over = ~todo.any(axis=1) | (in_row >= most)
        if over.all():
            break
        size = flat({name: np.abs(params[name]["kernel"]) for name in kept})
        score = np.log(np.maximum(size, 1e-30)) + order_noise
        place = rank(np.where(todo, score, np.inf))
        tries = np.where(over, 0, np.minimum(amount, todo.sum(axis=1)))
        tried = live(unflat(flat(kept) & (place >= tries[:, None]), kept))
        new, returns = cut(params, tried, states, jax.random.fold_in(step_key, step))
        returns = np.asarray(returns)
        good = (returns >= target) & ~over & (count(tried) > 0)
        history.append((count(tried), returns, good))
        params, kept = pick(good, Agents(new, tried), Agents(params, kept))
        won |= good
        in_row = np.where(good, 0, in_row + 1)
        failed |= (place == 0) & (~good & (tries == 1))[:, None]
        larger = np.minimum(2 * amount, np.maximum(count(kept) // 5, 1))
        amount = np.where(good, larger, np.maximum(amount // 2, 1))
        if step % 25 == 24:
            log(f"  step {step + 1}: {int(over.sum())} of "
                   f"{counted(number, 'walker')} done, "
                   f"{count(kept).min()} to {count(kept).max()} weights")  # fmt: skip
    steps = Steps(*map(np.asarray, zip(*history, strict=True)))
    return Agents(params, kept), steps


def compensated(
    params: PyTree, kept: dict[str, Array], seen: Float[Array, "states inputs"]
) -> PyTree:
    """One agent without the weights that are not kept.

    Args:
        params: its parameters.
        kept: 0 or 1 of every kernel.
        seen: states in the network's units; over them the means are taken.

    Returns:
        Parameters with zeros and, where a unit lost something, another bias.
    """
    before = after = seen
    new = {}
    for name in layers(params):
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        left = kernel * kept[name]
        whole, part = before @ kernel + bias, after @ left
        lost = (left != kernel).any(axis=0)
        shifted = jnp.where(lost, (whole - part).mean(axis=0), bias)
        new[name] = {"kernel": left, "bias": shifted}
        before, after = jax.nn.relu(whole), jax.nn.relu(part + shifted)
    return new


@functools.cache
def _compiled(config: dqn.Config) -> tuple[Callable, Callable]:
    """`cut(params, kept, states, key) -> (params, returns)`, and visited states."""
    env, q = dqn.environment(config), dqn.values(config)

    def act(params):
        return lambda seen: jnp.argmax(q(params, seen)).astype(jnp.int32)

    scale = jnp.asarray(env.scale)

    @jax.jit
    def cut(params, kept, states, key):
        def one(params, kept, seen):
            kept = jax.tree.map(lambda mask: mask.astype(jnp.float32), kept)
            new = compensated(params, kept, seen)
            played = rollout.returns(env, act(new), key, _PLAYED)
            return new, played.sum() / _PLAYED

        return jax.vmap(one)(params, kept, states)

    @jax.jit
    @jax.vmap
    def visited(params, key):
        """Of eight episodes, evenly, up to the end or the limit."""

        def episode(key):
            def move(state, _):
                seen = env.observe(state)
                after, _, ended = env.step(state, act(params)(seen))

                def stay(new, old):
                    return jnp.where(ended, old, new)

                return jax.tree.map(stay, after, state), seen

            _, seen = jax.lax.scan(move, env.reset(key), None, env.limit)
            return seen[:: max(env.limit // 32, 1)]

        seen = jax.vmap(episode)(jax.random.split(key, 8))
        return seen.reshape(-1, len(env.inputs)) * scale

    return cut, visited
