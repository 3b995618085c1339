"""Runs on training on relevance: losses and strengths in turn, then figures and a page.

<folder>/squared_1.0.npz    parameters under their paths, leading axis over seeds
<folder>/metrics.jsonl      a line for each loss, strength and seed
<folder>/fig_*.svg, table.md, index.html
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import runs, trees
from sparsejax.experiments._study.records import column
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.right_reasons import config as config_
from sparsejax.experiments.right_reasons import measure, report, train
from sparsejax.experiments.right_reasons.config import Config, Stage, stages
from sparsejax.experiments.right_reasons.measure import Records
from sparsejax.pages import counted

_COST = {"none": 3, "oracle": 1, "squared": 8}  # relative; other penalties 4


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
        subject: unused, since networks are trained here.
        data_dir: unused, since digits come with scikit-learn.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: if the folder holds anything else, and when a loss is not finite.
    """
    with Study("right_reasons", config, folder, force=force, log=log) as study:
        if study.complete:
            return study.records
        task, networks = train.task(config), {}
        for loss, strength in study.each(stages(config), _cost):
            stage = loss, strength
            make = partial(_network, config, task, stage)
            where = {"loss": loss, "strength": strength}
            count = len(config.seeds)
            arrays = study.measured(file_name(stage), make, count=count, **where)
            networks[stage] = trees.from_arrays(arrays, task.params)
            study.progress(_line(stage, study.records[-count:]))
        report.write(study, task, networks)
    return study.records


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in a line."""
    where = "at a fixed place"
    if config.jitter:
        where = f"moved by up to {counted(config.jitter, 'pixel')}"
    return (
        f"{counted(len(config.seeds), 'network')} under each of "
        f"{counted(len(stages(config)), 'loss', 'losses')}, "
        f"{counted(config.steps, 'step')}; digits {where}, textures of contrast "
        f"{config.contrast:g}"
    )


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    still = runs.read_json(folder / "config.json")["config"]["jitter"] == 0
    return (
        f"{report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        f"next: {'--jitter=1 --contrast=0.5' if still else '--losses=none,squared'}, "
        "or --strengths=0.1,1,10,100"
    )


def file_name(stage: Stage) -> str:
    """The name of the file of a loss at a strength, `NAME.npz`."""
    loss, strength = stage
    return f"{loss}_{strength}" if strength else loss


def _network(
    config: Config, task: train.Task, stage: Stage
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Records and parameters of the networks under one loss."""
    params = train.fit(config, task, stage)
    return measure.records(config, task, stage, params), trees.to_arrays(params)


def _cost(stage: Stage) -> int:
    return _COST.get(stage[0], 4)


def _line(stage: Stage, records: Records) -> str:
    def mean(*path):
        return f"{column(records, *path).mean():.1%}"

    return (
        f"{config_.label(stage)}: accuracy {mean('test_accuracy', 'same')}, swapped "
        f"{mean('test_accuracy', 'swapped')}, {mean('outside', 'same')} of |R| "
        "outside"
    )
