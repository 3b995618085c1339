"""Right for the right reasons: training on relevance, and what it is worth.

Digits on textures that give the label away. Networks are trained with penalties on
relevance outside of the digit, and tested on textures of other labels: does a penalty
that is met mean that the digit decides?

    <folder>/squared_1.0.npz    parameters under their paths, leading axis over seeds
    <folder>/metrics.jsonl      a line for each loss, strength and seed
    <folder>/fig_*.svg, table.md, index.html

A run that was killed goes on with the loss it was at.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sparsejax import pages, runs, trees
from sparsejax.experiments import right_reasons_config as config_
from sparsejax.experiments import right_reasons_report
from sparsejax.experiments import right_reasons_train as training
from sparsejax.experiments.right_reasons_config import Config as Config
from sparsejax.experiments.right_reasons_config import Stage, stages
from sparsejax.experiments.right_reasons_config import check as check

_COST = {"none": 3, "oracle": 1, "squared": 8}  # relative; other penalties 4


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
        ValueError: for bad input, and when a loss is not finite.
    """
    check(config)
    folder = Path(folder)
    complete = runs.start(
        folder,
        config,
        kind="right_reasons",
        about={"jax": jax.__version__},
        force=force,
    )
    found = _measured(config, folder, report)
    left = [stage for stage in stages(config) if stage not in found]
    if complete and not left and (folder / "index.html").exists():
        report(f"{folder} is complete; --force runs it again")
        return _in_order(config, found)
    task = training.task(config)
    began, done, total = time.perf_counter(), 0, sum(map(_cost, left))
    for stage in left:
        params = training.fit(config, task, stage)
        runs.write_arrays(_path(folder, stage), trees.to_arrays(params))
        found[stage] = training.records(config, task, stage, params)
        runs.write_metrics(folder, _in_order(config, found))  # last
        spent, done = time.perf_counter() - began, done + _cost(stage)
        ahead = spent / done * (total - done)
        report(f"{_line(stage, found[stage])}  {spent:4.0f} s, {ahead:.0f} s left")
    networks = {
        stage: trees.from_arrays(read(folder, stage), task.params)
        for stage in stages(config)
    }
    records = _in_order(config, found)
    right_reasons_report.write(folder, config, task, records, networks)
    runs.finish(folder)
    return records


def read(folder: str | Path, stage: Stage) -> dict[str, np.ndarray]:
    """The networks of one loss at one strength.

    Raises:
        runs.DamagedFile: if they cannot be read.
    """
    return runs.read_arrays(_path(Path(folder), stage))


def plan(config: Config) -> str:
    """One line on what will be done."""
    where = "at a fixed place" if not config.jitter else (
        f"moved by up to {config.jitter} pixels"
    )  # fmt: skip
    return (
        f"{pages.counted(len(config.seeds), 'network')} under each of "
        f"{pages.counted(len(stages(config)), 'loss', 'losses')}, "
        f"{pages.counted(config.steps, 'step')}; digits {where}, textures of contrast "
        f"{config.contrast:g}"
    )


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    still = runs.read_json(folder / "config.json")["config"]["jitter"] == 0
    return (
        f"{right_reasons_report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        f"next: {'--jitter=1 --contrast=0.5' if still else '--losses=none,squared'}, "
        "or --strengths=0.1,1,10,100"
    )


def _measured(config, folder, report) -> dict[Stage, list[dict[str, Any]]]:
    """The records of stages that are whole."""
    try:
        lines = runs.read_metrics(folder)
        found = right_reasons_report.grouped(lines)
    except (ValueError, KeyError, TypeError) as error:
        report(f"damaged: {error}; training again")
        return {}
    whole = {}
    for stage in stages(config):
        group = found.get(stage, [])
        if [record.get("seed") for record in group] != list(config.seeds):
            continue
        try:
            read(folder, stage)
        except runs.DamagedFile as error:
            report(f"damaged: {error}; training again")
            continue
        whole[stage] = group
    return whole


def _in_order(config, found) -> list[dict[str, Any]]:
    return [line for stage in stages(config) for line in found.get(stage, [])]


def _path(folder: Path, stage: Stage) -> Path:
    loss, strength = stage
    return folder / (f"{loss}_{strength}.npz" if strength else f"{loss}.npz")


def _cost(stage: Stage) -> int:
    return _COST.get(stage[0], 4)


def _line(stage, group) -> str:
    def mean(field, key):
        return np.mean([record[field][key] for record in group])

    return (
        f"{config_.label(stage)}: accuracy {mean('accuracy', 'same'):.1%}, swapped "
        f"{mean('accuracy', 'swapped'):.1%}, {mean('outside', 'same'):.1%} of |R| "
        "outside"
    )
