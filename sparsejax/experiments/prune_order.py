"""Train first or prune first: three orders of training and pruning, many seeds.

Reproduces Hobson, "Train first VS prune first in neural networks" (spiral, 2-50-50-1,
half of the nodes removed), over many seeds and at two learning rates, and asks the same
of images and of single weights.

    <folder>/rate_0.1.npz           initial and trained networks, `init/...`,
                                    `trained/...`, leading axis over seeds
    <folder>/rate_0.1_random.npz    `kept_nodes/...`, `kept_weights/...`,
                                    `train_prune/...`, `prune_train/...`, `tuned/...`
    <folder>/metrics.jsonl          a line for each rate, selection and seed
    <folder>/fig_*.svg, training.gif, table.md, index.html

Of the spiral the files also hold the first network during training, `frames_.../...`.
A run that was killed goes on with the file it was at.
"""

import itertools as it
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sparsejax import runs, trees
from sparsejax.experiments import prune_order_config as config_
from sparsejax.experiments import prune_order_measure, prune_order_report
from sparsejax.experiments import prune_order_train as training
from sparsejax.experiments.prune_order_config import CHOICES as CHOICES
from sparsejax.experiments.prune_order_config import Config as Config
from sparsejax.experiments.prune_order_config import check as check
from sparsejax.pages import counted


def run(
    config: Config,
    folder: str | Path,
    *,
    data_dir: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Run, or go on with, an experiment.

    Args:
        config: what to run.
        folder: where; a folder of an unfinished run of the same config is continued.
        data_dir: folder of the data set's files.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input, and when a loss is not finite.
    """
    folder = Path(folder)
    check(config)
    task = training.task(config, data_dir)
    complete = runs.start(
        folder, config, kind="prune_order", about={"jax": jax.__version__}, force=force
    )
    records = _measured(config, folder, report)
    left = stages(config)[len(records) // len(config.seeds) :]
    if complete and not left and (folder / "index.html").exists():
        report(f"{folder} is complete; --force runs it again")
        return records
    clock = _Clock(config, left)
    for rate, group in it.groupby(left, lambda stage: stage[0]):
        trained = _trained(config, task, folder, rate, report, clock)
        for _, selection in group:
            kept, networks, films = orders(config, task, rate, selection, trained)
            arrays = {"kept_nodes": kept[0], "kept_weights": kept[1], **networks}
            runs.write_arrays(
                _path(folder, rate, selection), trees.to_arrays({**arrays, **films})
            )
            networks = {"trained": trained, **networks}
            found = prune_order_measure.records(
                task, config, rate, selection, networks, kept
            )
            records += found
            runs.write_metrics(folder, records)  # last: stages without lines are redone
            report(f"{_line(found)}  {clock.after(sum(config_.steps(config, rate)))}")
    arrays: dict[Any, Any] = {stage: read(folder, *stage) for stage in stages(config)}
    arrays |= {(rate, None): read(folder, rate) for rate, _ in stages(config)}
    prune_order_report.write(folder, config, task, records, arrays)
    runs.finish(folder)
    return records


def orders(
    config: Config, task: training.Task, rate: float, selection: str, trained: Any
) -> tuple[tuple[Any, Any], dict[str, Any], dict[str, Any]]:
    """The three orders at one learning rate.

    Args:
        config: what to run.
        task: data, model, initial networks.
        rate: learning rate.
        selection: how nodes or weights are chosen.
        trained: the whole networks, trained; stacked.

    Returns:
        Masks of nodes and of weights; parameters of "train_prune", "prune_train" and
        "tuned"; the first network during the two trainings, "frames_prune_train" and
        "frames_tuned", if the config asks for frames.
    """
    steps, more = config_.steps(config, rate)
    frames = _frames(config)
    kept = training.select(config, task, selection, trained)
    after = training.remove(config, task, trained, kept)
    before = training.remove(config, task, task.params, kept)
    first, film = training.fit(task, rate, before, kept[1], steps, frames=frames)
    tuned, tuning = training.fit(task, rate, after, kept[1], more, frames=frames)
    networks = {"train_prune": after, "prune_train": first, "tuned": tuned}
    films = {"frames_prune_train": film, "frames_tuned": tuning}
    return kept, networks, films if frames else {}


def stages(config: Config) -> list[tuple[float, str]]:
    """Learning rates and selections, in the order they are run."""
    return list(it.product(config_.learning_rates(config), config_.selections(config)))


def read(folder: Path, rate: float, selection: str | None = None) -> dict[str, Any]:
    """The arrays of one stage, or of the whole networks.

    Raises:
        runs.DamagedFile: if they cannot be read.
    """
    return runs.read_arrays(_path(folder, rate, selection))


def plan(config: Config) -> str:
    """One line on what will be done."""
    rates = [(rate, *config_.steps(config, rate)) for rate in dict(stages(config))]
    count = len(config_.selections(config))
    total = sum(steps + count * (steps + more) for _, steps, more in rates)
    many = ", ".join(f"{steps} at {rate}" for rate, steps, _ in rates)
    return (
        f"{counted(len(config.seeds), 'network')}, {2 * count + 1} trainings at "
        f"each of "
        f"{counted(len(rates), 'learning rate')} (steps: {many}); {total:,} steps"
    )


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{prune_order_report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        "next: --remove=weights, or --dataset=mnist --data_dir=DIR"
    )


class _Clock:
    """Time spent, and an estimate of the time left, by training steps."""

    def __init__(self, config, left):
        steps = [config_.steps(config, rate) for rate, _ in left]
        whole = sum(config_.steps(config, rate)[0] for rate in dict(left))
        self.began, self.done = time.perf_counter(), 0
        self.total = sum(map(sum, steps)) + whole

    def after(self, steps: int) -> str:
        self.done += steps
        spent = time.perf_counter() - self.began
        left = spent / max(self.done, 1) * (self.total - self.done)
        return f"{spent:5.0f} s, {left:.0f} s left"


def _trained(config, task, folder, rate, report, clock) -> Any:
    """The whole networks at one rate, read or trained."""
    path, steps = _path(folder, rate), config_.steps(config, rate)[0]
    if path.exists():
        try:
            saved = runs.read_arrays(path)
            found = trees.from_arrays(saved, {"trained": task.params})["trained"]
            clock.total -= steps
            return found
        except ValueError as error:
            report(f"damaged: {error}; training again")
    kept, frames = training.everything(task), _frames(config)
    trained, film = training.fit(task, rate, task.params, kept, steps, frames=frames)
    arrays = {"init": task.params, "trained": trained}
    films = {"frames_trained": film} if frames else {}
    runs.write_arrays(path, trees.to_arrays({**arrays, **films}))
    report(f"learning rate {rate}: trained  {clock.after(steps)}")
    return trained


def _measured(config, folder, report) -> list[dict[str, Any]]:
    """The records of stages that are there already, up to the first that is not."""
    try:
        records = runs.read_metrics(folder)
        size, whole = len(config.seeds), stages(config)
        for i in range(len(records) // size):
            rate, selection = whole[i]
            for record in records[i * size : (i + 1) * size]:
                if (record["learning_rate"], record["selection"]) != whole[i]:
                    raise ValueError(f"{folder / 'metrics.jsonl'} lacks lines")
            for name in (selection, None):
                read(folder, rate, name)
        return records[: len(records) // size * size]
    except (ValueError, KeyError, IndexError) as error:
        report(f"damaged: {error}; measuring again")
        return []


def _path(folder: Path, rate: float, selection: str | None = None) -> Path:
    return folder / f"rate_{rate}{f'_{selection}' if selection else ''}.npz"


def _frames(config) -> int:
    return config.frames if config.dataset == "spiral" else 0


def _line(records) -> str:
    first = records[0]

    def mean(order):
        return np.mean([record["accuracy"][order] for record in records])

    scores = "  ".join(f"{order} {mean(order):.1%}" for order in training.ORDERS)
    return f"learning rate {first['learning_rate']}, {first['selection']}: {scores}"
