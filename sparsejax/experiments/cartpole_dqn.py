"""CartPole: DQN agents, pruned until they can be read.

Reproduces the CartPole agent of Böhm, Kirk, Gavenčiak, "Sparsity and
interpretability?", 2020, over many seeds: agents are pruned as far as their mean return
stays the highest there is.

    <folder>/dense.npz           trained agents, `params/...`, `kept/...`, `played`
                                 (returns in gymnasium), leading axis over seeds;
                                 `returns`, `steps`: evaluations during training
    <folder>/round_01.npz, ...   lottery after every round
    <folder>/ticket.npz          at its end; `tried_...`: what every round tried
    <folder>/pruned.npz          dense agents pruned without retraining
    <folder>/ticket_pruned.npz   the same of the tickets
    <folder>/metrics.jsonl       a line for each agent ("agent"), its subsets of inputs
                                 ("inputs"), the hidden units of dense ones ("units")
    <folder>/graph.html, index.html, fig_*.svg, episode.gif, table.md, policy.txt

A run that was killed goes on with the round it was at.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import runs, trees
from sparsejax.experiments import cartpole_config as config_
from sparsejax.experiments import cartpole_measure as measure
from sparsejax.experiments import cartpole_prune as prune
from sparsejax.experiments import cartpole_report
from sparsejax.experiments.cartpole_config import CHOICES as CHOICES
from sparsejax.experiments.cartpole_config import METHODS, Config
from sparsejax.experiments.cartpole_config import check as check
from sparsejax.experiments.cartpole_prune import Agents, Lottery, Steps
from sparsejax.pages import counted
from sparsejax.rl import dqn

Stage = dict[str, Any]


def run(
    config: Config,
    folder: str | Path,
    *,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Run, or go on with, an experiment.

    Args:
        config: what to run.
        folder: where; a folder of an unfinished run of the same config is continued.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input.
    """
    folder = Path(folder)
    check(config)
    complete = runs.start(
        folder, config, kind="cartpole", about={"jax": jax.__version__}, force=force
    )
    if complete and (folder / "index.html").exists():
        report(f"{folder} is complete; --force runs it again")
        return runs.read_metrics(folder)
    began = time.perf_counter()

    def say(line):
        return report(f"{time.perf_counter() - began:5.0f} s  {line}")

    make = {
        "dense": lambda: _dense(config),
        "pruned": lambda: _pruned(config, stages["dense"], 0, say),
        "ticket": lambda: _ticket(config, stages["dense"], folder, say),
        "ticket_pruned": lambda: _pruned(config, stages["ticket"], 1, say),
    }
    stages: dict[str, Stage] = {}
    for method in methods(config):
        found = _read(folder, method, say)
        if found is None:
            found = make[method]()
            runs.write_arrays(folder / f"{method}.npz", trees.to_arrays(found))
        stages[method] = found
        say(f"{METHODS[method]}: {_line(config, found)}")
    records = _records(config, stages, say)
    runs.write_metrics(folder, records)
    cartpole_report.write(folder, config, records, stages)
    runs.finish(folder)
    return records


def methods(config: Config) -> list[str]:
    """How agents are pruned, in the order that it is done."""
    return [m for m in METHODS if config.rounds or not m.startswith("ticket")]


def plan(config: Config) -> str:
    """One line on what will be done."""
    return (
        f"{counted(len(config.seeds), 'agent')} on {config.environment}, "
        f"{config.steps:,} steps a "
        f"training; pruned without retraining, and by at most "
        f"{counted(config.rounds, 'lottery round')}, as long as the mean return "
        f"over {counted(config.episodes, 'episode')} is "
        f"{config_.target(config):g}"
    )


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    config = runs.read_json(folder / "config.json")["config"]
    given = Config(environment=config["environment"], target=config["target"])
    target = config_.target(given)
    return (
        f"{cartpole_report.finding(runs.read_metrics(folder), target)}\n"
        f"open {folder / 'index.html'} and {folder / 'graph.html'}\n"
        "next: --environment=CartPole-v0, or --widths=8 for one small layer"
    )


def _keys(config: Config, use: int):
    """A key of every agent."""

    def own(seed):
        return jax.random.fold_in(jax.random.key(seed), use)

    return jax.vmap(own)(jnp.asarray(config.seeds))


def _init(config: Config) -> Any:
    """Parameters of every agent before training."""
    settings = config_.training(config)
    return jax.vmap(lambda key: dqn.init(settings, key))(_keys(config, 0))


def _training(config: Config, again: bool) -> Callable[[int], Callable[[Any], Any]]:
    """`of(round)(mask) -> Trained`, every agent from its own initial parameters."""
    settings = config_.training(config, again)
    train = jax.jit(jax.vmap(dqn.make_train(settings)))
    params = _init(config)

    def keys(number):
        return _keys(config, number + 2)

    return lambda number: lambda mask: train(keys(number), params, mask)


def _dense(config: Config) -> Stage:
    everything = prune.everything(_init(config))
    mask = prune.as_mask(everything.params, everything.kept)
    found = jax.device_get(_training(config, again=False)(0)(mask))
    agents = Agents(found.params, everything.kept)
    return {
        **_stage(config, agents),
        "returns": found.returns,
        "steps": found.steps[0],
    }


def _ticket(config: Config, dense: Stage, folder: Path, report) -> Stage:
    """Lottery rounds, each of which leaves a file."""
    settings, target = config_.training(config), config_.target(config)

    def score(params):
        return prune.evaluate(settings, params, config.episodes).mean(1)

    state = prune.start(_agents(dense), config.fraction)
    state = state._replace(over=dense["played"].mean(axis=1) < target)
    train, tried = _training(config, again=True), []
    for number in range(1, config.rounds + 1):
        if state.over.all():
            break
        path = folder / f"round_{number:02d}.npz"
        saved = _saved_round(path, state, report)
        if saved is None:

            def best(mask, number=number):
                return train(number)(mask).params

            saved = prune.lottery_round(
                state, best, score, target, config.fraction, config.patience
            )
            runs.write_arrays(path, trees.to_arrays(_plain(*saved)))
        state, step = saved
        tried.append(step)
        left = prune.count(state.agents.kept)
        report(
            f"round {number} of at most {config.rounds}: {int(step.accepted.sum())} of "
            f"{len(left)} kept; {left.min()} to {counted(left.max(), 'weight')}"
        )
    steps = [np.concatenate(parts) for parts in zip(*tried)] if tried else []
    return {**_stage(config, prune.zero(state.agents)), **_tried(steps)}


def _pruned(config: Config, before: Stage, number: int, report) -> Stage:
    """The walker of every agent with the fewest weights that stands in gymnasium."""
    settings, target = config_.training(config), config_.target(config)
    start = _agents(before)
    walked, steps = prune.without_retraining(
        settings,
        start,
        target,
        key=jax.random.fold_in(jax.random.key(config.seeds[0]), 1000 + number),
        walkers=config.walkers,
        noise=config.noise,
        report=report,
    )
    played = prune.evaluate(settings, walked.params, config.episodes)
    weights, each = prune.count(walked.kept), np.arange(len(config.seeds))
    good = (played.mean(axis=1) >= target).reshape(len(each), -1)
    cost = np.where(good, weights.reshape(good.shape), np.iinfo(int).max)
    chosen = each * config.walkers + cost.argmin(axis=1)
    none = ~good.any(axis=1)

    def take(new, old):
        return np.where(
            none.reshape(-1, *[1] * (old.ndim - 1)), old, np.asarray(new)[chosen]
        )

    agents = Agents(*jax.tree.map(take, tuple(walked), tuple(start)))
    part = [array[:, chosen] for array in steps]
    return {**_stage(config, agents), **_tried(part)}


def _stage(config: Config, agents: Agents) -> Stage:
    settings = config_.training(config)
    played = prune.evaluate(settings, agents.params, config.episodes)
    return {"params": agents.params, "kept": agents.kept, "played": played}


def _agents(stage: Stage) -> Agents:
    return Agents(stage["params"], stage["kept"])


def _tried(steps) -> Stage:
    names = [f"tried_{name}" for name in Steps._fields]
    return dict(zip(names, steps, strict=True)) if len(steps) else {}


def _read(folder: Path, method: str, report) -> Stage | None:
    """A finished stage, if its file is there and whole."""
    path = folder / f"{method}.npz"
    if not path.exists():
        return None
    try:
        return trees.nested(runs.read_arrays(path))
    except runs.DamagedFile as error:
        report(f"damaged: {error}; making it again")
        return None


def _plain(state: Lottery, steps: Steps) -> dict[str, Any]:
    agents = state.agents
    rest = {"amount": state.amount, "skip": state.skip, "over": state.over}
    return {"params": agents.params, "kept": agents.kept, **rest, **steps._asdict()}


def _saved_round(path: Path, state: Lottery, report) -> tuple[Lottery, Steps] | None:
    if not path.exists():
        return None
    try:
        found = trees.nested(runs.read_arrays(path))
    except runs.DamagedFile as error:
        report(f"damaged: {error}; making it again")
        return None
    agents = Agents(found["params"], found["kept"])
    rest = (found[name] for name in state._fields[1:])
    return Lottery(agents, *rest), Steps(*(found[name] for name in Steps._fields))


def _line(config: Config, stage: Stage) -> str:
    left, means = prune.count(stage["kept"]), stage["played"].mean(axis=1)
    reached = int((means >= config_.target(config)).sum())
    return (
        f"{reached} of {counted(len(means), 'agent')} at the target, "
        f"{left.min()} to {counted(left.max(), 'weight')}"
    )


def _records(config: Config, stages: dict[str, Stage], report) -> list[dict[str, Any]]:
    settings, records = config_.training(config), []
    key = jax.random.key(config.seeds[0])
    for number, (method, stage) in enumerate(stages.items()):
        agents = _agents(stage)
        own = jax.random.fold_in(key, 2000 + number)
        subsets = measure.without_inputs(settings, agents.params, own)
        for at, seed in enumerate(config.seeds):
            name = {"method": method, "seed": seed}
            found = measure.agent_record(settings, agents, at, stage["played"][at])
            records.append({"kind": "agent", **name, **found})
            records.append({"kind": "inputs", **name, "returns": subsets[at]})
        report(f"{METHODS[method]}: measured without each subset of the inputs")
    own = jax.random.fold_in(key, 3000)
    kept = measure.without_units(settings, _agents(stages["dense"]), own)
    for seed, found in zip(config.seeds, kept, strict=True):
        records.append({"kind": "units", "seed": seed, "returns": found})
    return records
