"""The stages of a run: agents as they were trained, and as each way of pruning leaves
them.

A stage is a tree of arrays: `params`, `kept`, `played` (agents, episodes), and what was
tried on the way.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from sparsejax import runs, trees
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.cartpole import agents as agents_
from sparsejax.experiments.cartpole import lottery, train, walks
from sparsejax.experiments.cartpole.agents import Agents, Steps
from sparsejax.experiments.cartpole.config import Config
from sparsejax.experiments.cartpole.lottery import Lottery
from sparsejax.pages import counted

Stage = dict[str, Any]


def dense(config: Config) -> Stage:
    """Trained agents, and their returns during training."""
    everything = agents_.everything(train.init(config))
    mask = agents_.as_mask(everything.params, everything.kept)
    trained = jax.device_get(train.trainer(config, again=False)(0)(mask))
    stage = _stage(config, Agents(trained.params, everything.kept))
    return {**stage, "returns": trained.returns, "steps": trained.steps[0]}


def ticket(study: Study, dense: Stage) -> Stage:
    """Agents after lottery rounds, each of which leaves a file."""
    config = study.config
    settings = train.settings(config)

    def score(params):
        return agents_.evaluate(settings, params, config.num_episodes).mean(1)

    state = lottery.start(agents(dense), config.fraction)
    state = state._replace(over=dense["played"].mean(axis=1) < config.goal)
    trainer, tried = train.trainer(config, again=True), []
    for number in range(1, config.rounds + 1):
        if state.over.all():
            break

        def one_round(state=state, number=number):
            def best(mask):
                return trainer(number)(mask).params

            after = lottery.one_round(
                state, best, score, config.goal, config.fraction, config.patience
            )
            return trees.to_arrays(_plain(*after))

        state, step = _read(study.cached(f"round_{number:02d}", one_round))
        tried.append(step)
        left = agents_.count(state.agents.kept)
        study.log(
            f"round {number} of at most {config.rounds}: {int(step.accepted.sum())} of "
            f"{len(left)} kept; {left.min()} to {counted(left.max(), 'weight')}"
        )
    steps = [np.concatenate(parts) for parts in zip(*tried)] if tried else []
    return {**_stage(config, agents_.zero(state.agents)), **_tried(steps)}


def are_rounds_whole(study: Study, ticket: Mapping[str, np.ndarray]) -> bool:
    """Whether the files of all rounds that tickets come from can be read."""
    count = len(ticket.get("tried_accepted", ()))
    try:
        for number in range(1, count + 1):
            study.holds(f"round_{number:02d}.npz")
            runs.read_arrays(study.folder / f"round_{number:02d}.npz", sealed=True)
    except runs.DamagedFile:
        return False
    return True


def pruned(
    config: Config, before: Stage, number: int, log: Callable[[str], Any]
) -> Stage:
    """The walker of every agent with the fewest weights that stands in gymnasium."""
    settings, start = train.settings(config), agents(before)
    walked, steps = walks.without_retraining(
        settings,
        start,
        config.goal,
        key=jax.random.fold_in(jax.random.key(config.seeds[0]), 1000 + number),
        walkers=config.num_walkers,
        noise=config.order_noise,
        log=log,
    )
    played = agents_.evaluate(settings, walked.params, config.num_episodes)
    weights, each = agents_.count(walked.kept), np.arange(len(config.seeds))
    good = (played.mean(axis=1) >= config.goal).reshape(len(each), -1)
    cost = np.where(good, weights.reshape(good.shape), np.iinfo(int).max)
    best = each * config.num_walkers + cost.argmin(axis=1)
    none = ~good.any(axis=1)

    def take(new, old):
        return np.where(
            none.reshape(-1, *[1] * (old.ndim - 1)), old, np.asarray(new)[best]
        )

    fewest = Agents(*jax.tree.map(take, tuple(walked), tuple(start)))
    part = [array[:, best] for array in steps]
    return {**_stage(config, fewest), **_tried(part)}


def agents(stage: Stage) -> Agents:
    """The agents of a stage."""
    return Agents(stage["params"], stage["kept"])


def _stage(config: Config, agents: Agents) -> Stage:
    settings = train.settings(config)
    played = agents_.evaluate(settings, agents.params, config.num_episodes)
    return {"params": agents.params, "kept": agents.kept, "played": played}


def _tried(steps) -> Stage:
    names = [f"tried_{name}" for name in Steps._fields]
    return dict(zip(names, steps, strict=True)) if len(steps) else {}


def _plain(state: Lottery, steps: Steps) -> dict[str, Any]:
    agents = state.agents
    rest = {"amount": state.amount, "skip": state.skip, "over": state.over}
    return {"params": agents.params, "kept": agents.kept, **rest, **steps._asdict()}


def _read(arrays: dict[str, np.ndarray]) -> tuple[Lottery, Steps]:
    """The state and the step that `_plain` wrote."""
    found = trees.nested(arrays)
    rest = (found[name] for name in Lottery._fields[1:])
    steps = Steps(*(found[name] for name in Steps._fields))
    return Lottery(agents(found), *rest), steps
