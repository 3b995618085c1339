"""The figures of a run on pruned agents, from its records and stages.

Each comes with its caption, and has the finding for its title.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsejax.experiments._study import records as records_
from sparsejax.experiments.cartpole import drawings, train
from sparsejax.experiments.cartpole.config import ARMS, Config
from sparsejax.pages import counted
from sparsejax.rl import gym

Drawn = tuple[Any, str]


def figures(
    config: Config,
    records: Sequence[Mapping[str, Any]],
    by_arm: Mapping[str, Mapping[str, Any]],
    shown: Mapping[str, Any],
    episode: gym.Episode,
    fn: Callable,
) -> dict[str, Drawn]:
    """All of them, `{name: (figure, caption)}`.

    Args:
        config: of the run.
        records: the lines of `metrics.jsonl`.
        by_arm: stages of the run.
        shown: record of the agent to show.
        episode: of that agent.
        fn: its values of actions, of observations.
    """
    kinds, target = records_.group(records, "kind"), config.goal
    return {
        "weights": _weights(config, kinds["agent"], by_arm, shown),
        "learning": _learning(by_arm["dense"], target),
        "inputs": _inputs(config, kinds["inputs"], shown),
        "units": _units(kinds["units"], target),
        "decisions": (_decisions(config, episode, fn, shown),
                      "The other inputs are 0. Dots: states of one episode."),
    }  # fmt: skip


def _weights(config: Config, agents, by_arm, shown) -> Drawn:
    walks = [
        drawings.Walk(ARMS[arm], *(stage[f"tried_{name}"][:, at] for name in
                                   ("weights", "returns", "accepted")))
        for arm, stage in by_arm.items() if "tried_weights" in stage
        for at in range(len(config.seeds))
    ]  # fmt: skip
    most, target = max(r["weights"] for r in agents), config.goal
    title = f"From {most:,} weights to {shown['weights']} at a return of {target:g}"
    return drawings.returns_by_weights(walks, target, title=title), (
        "Every point is something that was tried: kept where the mean return "
        "stayed at the target, else undone. Lottery rounds are judged in "
        "gymnasium, steps without retraining by 64 episodes in JAX."
    )


def _learning(dense, target: float) -> Drawn:
    returns = np.asarray(dense["returns"])
    perfect = int((returns.max(axis=1) >= target).sum())
    seeds = counted(len(returns), "seed")
    title = f"{perfect} of {seeds} reached {target:g} during training"
    return drawings.learning(dense["steps"], returns, target, title=title), (
        "Mean return of the greedy agent; the best evaluated one is kept."
    )


def _inputs(config: Config, subsets, shown) -> Drawn:
    names = train.environment(config).inputs
    rows = records_.group(subsets, "arm")[shown["arm"]]
    returns = np.array([r["returns"] for r in rows])
    agents = [f"seed {r['seed']}" for r in rows]
    title = f"Return by inputs: {ARMS[shown['arm']]}"
    return drawings.inputs_kept(names, returns, agents, title=title), (
        "Each column holds the inputs that are light below at 0."
    )


def _units(records, target: float) -> Drawn:
    units = np.array([r["returns"] for r in records])
    some = (units >= target) @ np.ones(units.shape[1])
    first = np.where(some > 0, (units >= target).argmax(axis=1), units.shape[1] - 1)
    title = (
        f"Without training, a median of {np.median(first):g} of "
        f"{counted(units.shape[1] - 1, 'hidden unit')} keep the return"
    )
    return drawings.units_kept(units, target, title=title), (
        "Units with the smallest deviation (times outgoing weights) go first; "
        "biases take over their means."
    )


def _decisions(config, episode, fn, shown):
    env = train.environment(config)
    pairs = [(i, i + 1) for i in range(len(env.inputs) - 2, -1, -2)]
    margins, planes, visited = [], [], []
    for i, j in pairs:
        x = np.linspace(env.low[i], env.high[i], 161)
        y = np.linspace(env.low[j], env.high[j], 161)
        points = np.zeros((161, 161, len(env.inputs)), np.float32)
        points[..., i], points[..., j] = np.meshgrid(x, y)
        values = np.asarray(fn(jnp.asarray(points)))
        margins.append(values[..., 1] - values[..., 0])

        def label(k):
            return f"{env.inputs[k]} ({env.units[k]})"

        planes.append((label(i), label(j), (x[0], x[-1], y[0], y[-1])))
        visited.append((episode.observations[:, i], episode.observations[:, j]))
    title = f"Decisions of {counted(shown['weights'], 'weight')}"
    return drawings.decisions(margins, planes, visited, env.actions, title=title)
