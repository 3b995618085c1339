"""Prune agents as far as they keep their return: lottery rounds, and without training.

Agents are stacked along a leading axis, and each has a criterion of its own: the mean
return of its episodes. What a candidate removes is undone where the return falls below
the target, and fewer weights are tried, down to one.
"""

import itertools as it
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from sparsejax import masks
from sparsejax.pages import counted
from sparsejax.rl import dqn, gym, rollout

Kernels = dict[str, np.ndarray]
_PLAYED = 64  # episodes in JAX by which a step without retraining is judged


class Agents(NamedTuple):
    """Stacked agents.

    Attributes:
        params: their parameters, removed weights zero.
        kept: of every kernel what is kept, by layer, bool (agents, in, out).
    """

    params: PyTree
    kept: dict[str, np.ndarray]


class Lottery(NamedTuple):
    """The state of a lottery between rounds; all arrays have an axis over agents.

    Attributes:
        agents: the last good ones.
        amount: weights that the next round removes.
        skip: weights of smallest magnitude that it leaves alone.
        over: whether an agent has ended.
    """

    agents: Agents
    amount: Int[np.ndarray, " agents"]
    skip: Int[np.ndarray, " agents"]
    over: Bool[np.ndarray, " agents"]


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
    names, found = list(kept), dict(kept)
    for before, after in zip(names, names[1:], strict=False):
        fed = np.any(found[before], axis=1)
        found[after] = found[after] & fed[:, :, None]
    for before, after in zip(names[-2::-1], names[:0:-1], strict=True):
        read = np.any(found[after], axis=2)
        found[before] = found[before] & read[:, None, :]
    return found


def as_mask(params: PyTree, kept: Kernels) -> PyTree:
    """A tree like `Masks.weights`, stacked; biases stay."""

    def one(name):
        return {"kernel": jnp.asarray(kept[name], jnp.float32),
                            "bias": jnp.ones(len(kept[name]))}  # fmt: skip

    return {name: one(name) for name in layers(params)}


def evaluate(
    config: dqn.Config, params: PyTree, episodes: int, seed: int = 0
) -> Float[np.ndarray, "agents episodes"]:
    """Returns of stacked agents in gymnasium, all from the same first states."""
    number = len(jax.tree.leaves(params)[0])
    q, env = _values(config), dqn.environment(config)
    found = []
    for at in range(number):
        one = jax.tree.map(lambda leaf, at=at: jnp.asarray(leaf[at]), params)

        def act(seen, one=one):
            return np.asarray(q(one, seen)).argmax(axis=-1)

        found.append(gym.evaluate(env, act, episodes=episodes, seed=seed))
    return np.stack(found)


def start(agents: Agents, fraction: float) -> Lottery:
    """A lottery before its first round."""
    number = len(count(agents.kept))
    zero = np.zeros(number, int)
    return Lottery(agents, _part(agents, fraction), zero, zero > 0)


def lottery_round(
    state: Lottery,
    train: Callable[[PyTree], PyTree],
    score: Callable[[PyTree], np.ndarray],
    target: float,
    fraction: float,
    patience: int,
) -> tuple[Lottery, Steps]:
    """Remove, rewind, train again; undo where the return does not stay.

    Args:
        state: so far.
        train: `train(mask) -> params` from the start, of all agents together.
        score: `score(params) -> (agents,)` mean returns.
        target: mean return to keep.
        fraction: removed by the next round where this one succeeds.
        patience: failures with single weights that end an agent's lottery.

    Returns:
        The next state, and the one step that was tried.
    """
    agents = state.agents
    size = {name: np.abs(agents.params[name]["kernel"]) for name in agents.kept}
    rank = _rank(np.where(flat(agents.kept), flat(size), np.inf))
    first, last = state.skip[:, None], (state.skip + state.amount)[:, None]
    removed = (rank >= first) & (rank < last) & ~state.over[:, None]
    tried = live(unflat(flat(agents.kept) & ~removed, agents.kept))
    params = jax.tree.map(np.asarray, train(as_mask(agents.params, tried)))
    found = score(params)
    good = (found >= target) & ~state.over & (count(tried) > 0)
    agents = _pick(good, Agents(params, tried), agents)
    one = ~good & (state.amount == 1)
    skip = np.where(good, 0, state.skip + one)
    amount = np.where(good, _part(agents, fraction), np.maximum(state.amount // 2, 1))
    over = state.over | (skip >= patience) | (skip + 1 >= count(agents.kept))
    steps = Steps(count(tried)[None], found[None], good[None])
    return Lottery(agents, amount, skip, over), steps


def without_retraining(
    config: dqn.Config,
    agents: Agents,
    target: float,
    *,
    key: Key[Array, ""],
    walkers: int,
    noise: float,
    most: int = 60,
    report: Callable[[str], Any] = print,
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
        report: called with lines of progress.

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
        rank = _rank(np.where(todo, score, np.inf))
        tries = np.where(over, 0, np.minimum(amount, todo.sum(axis=1)))
        tried = live(unflat(flat(kept) & (rank >= tries[:, None]), kept))
        new, found = cut(params, tried, states, jax.random.fold_in(step_key, step))
        found = np.asarray(found)
        good = (found >= target) & ~over & (count(tried) > 0)
        history.append((count(tried), found, good))
        params, kept = _pick(good, Agents(new, tried), Agents(params, kept))
        won |= good
        in_row = np.where(good, 0, in_row + 1)
        failed |= (rank == 0) & (~good & (tries == 1))[:, None]
        larger = np.minimum(2 * amount, np.maximum(count(kept) // 5, 1))
        amount = np.where(good, larger, np.maximum(amount // 2, 1))
        if step % 25 == 24:
            report(f"  step {step + 1}: {int(over.sum())} of "
                   f"{counted(number, 'walker')} done, "
                   f"{count(kept).min()} to {count(kept).max()} weights")  # fmt: skip
    steps = Steps(*map(np.asarray, zip(*history, strict=True)))
    return Agents(params, kept), steps


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

        new, found = jax.vmap(one)(params, kept, states)
        return new, found

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


@partial(jax.jit, static_argnums=0)
def _q(config, params, seen):
    return dqn.values(config)(params, seen)


def _values(config: dqn.Config) -> Callable:
    return partial(_q, config)


def _rank(score: np.ndarray) -> np.ndarray:
    """Place of every weight by its score, smallest first, ties by position."""
    return np.argsort(np.argsort(score, axis=1, kind="stable"), axis=1, kind="stable")


def _part(agents: Agents, fraction: float) -> np.ndarray:
    return np.maximum((fraction * count(agents.kept)).astype(int), 1)


def _pick(good: np.ndarray, new: Agents, old: Agents) -> Agents:
    """The new agents where they are good."""

    def choose(a, b):
        return np.where(
            good.reshape(-1, *[1] * (np.ndim(b) - 1)), np.asarray(a), np.asarray(b)
        )

    return Agents(*jax.tree.map(choose, tuple(new), tuple(old)))


def zero(agents: Agents) -> Agents:
    """With exact zeros where weights are removed."""
    mask = as_mask(agents.params, agents.kept)
    params = jax.vmap(masks.zero)(agents.params, mask)
    return Agents(jax.tree.map(np.asarray, params), agents.kept)
