"""What is left of pruned agents: counts, returns without inputs, without units."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from sparsejax.experiments.cartpole import agents as agents_
from sparsejax.experiments.cartpole import stages, train
from sparsejax.experiments.cartpole.agents import Agents
from sparsejax.experiments.cartpole.config import ARMS, Config
from sparsejax.experiments.cartpole.walks import compensated
from sparsejax.rl import dqn, gym, rollout

_PLAYED = 64  # episodes in JAX


def records(
    config: Config, by_arm: Mapping[str, stages.Stage], log: Callable[[str], Any]
) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`.

    Args:
        config: of the run.
        by_arm: stages of the run.
        log: called with lines of progress.
    """
    settings, lines = train.settings(config), []
    key = jax.random.key(config.seeds[0])
    for number, (arm, stage) in enumerate(by_arm.items()):
        agents = stages.agents(stage)
        own = jax.random.fold_in(key, 2000 + number)
        subsets = without_inputs(settings, agents.params, own)
        for at, seed in enumerate(config.seeds):
            name = {"arm": arm, "seed": seed}
            counts = agent_record(settings, agents, at, stage["played"][at])
            lines.append({"kind": "agent", **name, **counts})
            lines.append({"kind": "inputs", **name, "returns": subsets[at]})
        log(f"{ARMS[arm]}: measured without each subset of the inputs")
    own = jax.random.fold_in(key, 3000)
    kept = without_units(settings, stages.agents(by_arm["dense"]), own)
    for seed, returns in zip(config.seeds, kept, strict=True):
        lines.append({"kind": "units", "seed": seed, "returns": returns})
    return lines


def agent_record(
    config: dqn.Config, agents: Agents, at: int, returns: Float[np.ndarray, " episodes"]
) -> dict[str, Any]:
    """Counts of one agent.

    Args:
        config: of the training.
        agents: stacked.
        at: which one.
        returns: its episodes' in gymnasium.

    Returns:
        Weights and biases that are not zero on paths from an input to an output; hidden
        units on such paths, and those of them whose relu had both signs in an episode;
        names of the inputs that are read; mean and lowest return.
    """
    params, kept = jax.tree.map(lambda leaf: leaf[at], tuple(agents))
    names, env = agents_.layers(params), dqn.environment(config)
    units = [kept[name].any(axis=0) for name in names]
    biases = sum(
        int(np.count_nonzero(params[name]["bias"][alive]))
        for name, alive in zip(names, units, strict=True)
    )
    signs = _signs(params, episode(config, params).observations * np.array(env.scale))
    both = [alive & both for alive, both in zip(units[:-1], signs, strict=True)]
    read = np.flatnonzero(kept[names[0]].any(axis=1))
    return {
        "weights": int(sum(mask.sum() for mask in kept.values())),
        "biases": biases,
        "units": int(sum(alive.sum() for alive in units[:-1])),
        "bent_units": int(sum(unit.sum() for unit in both)),
        "inputs": [env.inputs[i] for i in read],
        "return": float(returns.mean()),
        "lowest": float(returns.min()),
    }


def episode(config: dqn.Config, params: PyTree, seed: int = 1) -> gym.Episode:
    """One episode of one agent in gymnasium."""
    q = jax.jit(partial(dqn.values(config), params))

    def act(seen):
        return np.asarray(q(seen)).argmax(axis=-1)

    return gym.record(dqn.environment(config), act, seed=seed)


def without_inputs(
    config: dqn.Config, params: PyTree, key: Key[Array, ""]
) -> Float[np.ndarray, "agents subsets"]:
    """Mean return with every subset of the inputs; bit i of m set: input i is kept.

    Removed inputs are held at 0, over 64 episodes in JAX.
    """
    count = len(dqn.environment(config).inputs)
    subsets = np.arange(2**count)[:, None] >> np.arange(count) & 1
    left = jnp.asarray(subsets, jnp.float32)
    return np.asarray(_play(config, jax.tree.map(jnp.asarray, params), left, key))


@partial(jax.jit, static_argnums=0)
def _play(config, params, left, key):
    """Mean return of every agent with every choice of inputs."""
    env, q = dqn.environment(config), dqn.values(config)

    @partial(jax.vmap, in_axes=(0, None))
    @partial(jax.vmap, in_axes=(None, 0))
    def play(params, left):
        def act(seen):
            return jnp.argmax(q(params, seen * left)).astype(jnp.int32)

        return rollout.returns(env, act, key, _PLAYED).sum() / _PLAYED

    return play(params, left)


def without_units(
    config: dqn.Config, agents: Agents, key: Key[Array, ""]
) -> Float[np.ndarray, "agents sizes"]:
    """Mean return with 0, 1, ... all hidden units, removed one by one.

    The units whose outgoing weights carry the smallest deviation, over the states of an
    episode, go first; biases take over their means.
    """
    env, q = dqn.environment(config), dqn.values(config)
    names = agents_.layers(agents.params)
    scale = np.asarray(env.scale, np.float32)

    @jax.jit
    @partial(jax.vmap, in_axes=(None, 0, None, None))
    def play(params, kept, seen, key):
        new = compensated(params, kept, seen)

        def act(seen):
            return jnp.argmax(q(new, seen)).astype(jnp.int32)

        return rollout.returns(env, act, key, _PLAYED).sum() / _PLAYED

    rows = []
    for at in range(len(agents_.count(agents.kept))):
        params = jax.tree.map(lambda leaf, at=at: jnp.asarray(leaf[at]), agents.params)
        seen = episode(config, params).observations * scale
        worth = np.concatenate(_worth(params, seen))
        order = np.argsort(np.argsort(-worth))
        left = order[None] < np.arange(len(worth) + 1)[:, None]
        ends = np.cumsum([params[name]["kernel"].shape[1] for name in names[:-1]])
        split = [jnp.ones((len(left), len(env.inputs))), *np.split(left, ends[:-1], 1)]
        kept = {
            name: jnp.broadcast_to(
                jnp.asarray(units, jnp.float32)[:, :, None],
                (len(left), *params[name]["kernel"].shape),
            )
            for name, units in zip(names, split, strict=True)
        }
        own = jax.random.fold_in(key, at)
        rows.append(np.asarray(play(params, kept, seen, own)))
    return np.stack(rows)


def best(records: Sequence[Mapping[str, Any]], target: float) -> Mapping[str, Any]:
    """The agent to show: fewest weights at the target, then most relus that bend.

    Where none is at the target, the one with the highest return.
    """
    agents = [record for record in records if record["kind"] == "agent"]
    reached = [record for record in agents if record["return"] >= target]
    if not reached:
        return max(agents, key=lambda record: record["return"])

    def least(r):
        return (r["weights"], -r["bent_units"], len(r["inputs"]))

    return min(reached, key=least)


def _hidden(params, seen) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sums and activations of every hidden layer."""
    params, h = jax.tree.map(np.asarray, (params, seen))
    layers = []
    for name in agents_.layers(params)[:-1]:
        total = h @ params[name]["kernel"] + params[name]["bias"]
        h = np.maximum(total, 0)
        layers.append((total, h))
    return layers


def _signs(params, seen) -> list[np.ndarray]:
    """Which units' sums had both signs."""

    def both(total):
        return np.logical_and((total > 0).any(0), (total < 0).any(0))

    return [both(total) for total, _ in _hidden(params, seen)]


def _worth(params, seen) -> list[np.ndarray]:
    after = agents_.layers(params)[1:]
    return [
        h.std(axis=0) * np.linalg.norm(params[name]["kernel"], axis=1)
        for (_, h), name in zip(_hidden(params, seen), after, strict=True)
    ]
