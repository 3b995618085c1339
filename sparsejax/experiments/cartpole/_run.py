"""Runs on pruned agents: trained, pruned in three ways, measured, shown.

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

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparsejax import runs, trees
from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.cartpole import agents, measure, report, stages
from sparsejax.experiments.cartpole.config import ARMS, Config
from sparsejax.experiments.cartpole.stages import Stage
from sparsejax.pages import counted

_COSTS = {"dense": 2, "pruned": 1, "ticket": 10, "ticket_pruned": 1}  # of time


def run(
    config: Config,
    folder: str | Path,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
    force: bool = False,
    log: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """A run, from its start or from where it was.

    Args:
        config: what to run.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: unused, since agents are trained here.
        data_dir: unused, since agents need none.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: if the folder holds anything else.
    """
    with Study("cartpole", config, folder, force=force, log=log) as study:
        if study.complete:
            return study.records
        make: dict[str, Callable[[], Stage]] = {
            "dense": lambda: stages.dense(config),
            "pruned": lambda: stages.pruned(config, by_arm["dense"], 0, log),
            "ticket": lambda: stages.ticket(study, by_arm["dense"]),
            "ticket_pruned": lambda: stages.pruned(config, by_arm["ticket"], 1, log),
        }
        by_arm: dict[str, Stage] = {}
        for arm in study.each(arms(config), _COSTS.__getitem__):
            arrays = study.cached(arm, lambda arm=arm: trees.to_arrays(make[arm]()))
            if arm == "ticket" and not stages.are_rounds_whole(study, arrays):
                make[arm]()  # reads the rounds that are there, and makes the others
            by_arm[arm] = trees.nested(arrays)
            study.progress(f"{ARMS[arm]}: {_line(config, by_arm[arm])}")
        study.add(measure.records(config, by_arm, log))
        report.write(study, by_arm)
    return study.records


def arms(config: Config) -> list[str]:
    """How agents are pruned, in the order that it is done."""
    return [arm for arm in ARMS if config.rounds or not arm.startswith("ticket")]


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in a line."""
    return (
        f"{counted(len(config.seeds), 'agent')} on {config.environment}, "
        f"{config.steps:,} steps a training; pruned without retraining, and by at most "
        f"{counted(config.rounds, 'lottery round')}, as long as the mean return "
        f"over {counted(config.num_episodes, 'episode')} is {config.goal:g}"
    )


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    config = config_.read(folder, "cartpole", Config)
    return (
        f"{report.finding(runs.read_metrics(folder), config.goal)}\n"
        f"open {folder / 'index.html'} and {folder / 'graph.html'}\n"
        "next: --environment=CartPole-v0, or --widths=8 for one small layer"
    )


def _line(config: Config, stage: Stage) -> str:
    left, means = agents.count(stage["kept"]), stage["played"].mean(axis=1)
    reached = int((means >= config.goal).sum())
    return (
        f"{reached} of {counted(len(means), 'agent')} at the target, "
        f"{left.min()} to {counted(left.max(), 'weight')}"
    )
