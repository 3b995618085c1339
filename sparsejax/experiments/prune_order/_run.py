"""Runs on the order of training and pruning: rates and selections in turn.

<folder>/rate_0.1.npz           initial and trained networks, `init/...`,
                                `trained/...`, leading axis over seeds
<folder>/rate_0.1_random.npz    `kept_nodes/...`, `kept_weights/...`,
                                `train_prune/...`, `prune_train/...`, `tuned/...`
<folder>/metrics.jsonl          a line for each rate, selection and seed
<folder>/fig_*.svg, training.gif, table.md, index.html

Of the spiral the files also hold the first network during training, `frames_.../...`.
"""

import itertools as it
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sparsejax import runs, trees
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.prune_order import config as config_
from sparsejax.experiments.prune_order import measure, report, train
from sparsejax.experiments.prune_order.config import ORDERS, Config
from sparsejax.experiments.prune_order.measure import Records
from sparsejax.pages import counted

Stage = tuple[float, str | None]  # learning rate and selection, none before pruning


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
        data_dir: folder of the data set's files.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input, and when a loss is not finite.
    """
    task = train.task(config, data_dir)
    arrays: dict[Stage, Any] = {}
    with Study("prune_order", config, folder, force=force, log=log) as study:
        if study.complete:
            return study.records
        trained: Any = None
        for rate, selection in study.each(stages(config), partial(_steps, config)):
            name = file_name(rate, selection)
            if selection is None:
                make = partial(_whole, config, task, rate)
                arrays[rate, None] = whole = study.cached(name, make)
                trained = trees.from_arrays(whole, {"trained": task.params})["trained"]
                study.progress(f"learning rate {rate}: trained")
                continue
            make = partial(_pruned, config, task, rate, selection, trained)
            where = {"learning_rate": rate, "selection": selection}
            count = len(config.seeds)
            arrays[rate, selection] = study.measured(name, make, count=count, **where)
            study.progress(_line(study.records[-count:]))
        report.write(study, task, arrays)
    return study.records


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in a line; its data are looked for."""
    jax.eval_shape(lambda: train.load(config, data_dir))
    rates = [
        (rate, *config_.steps(config, rate)) for rate in config_.learning_rates(config)
    ]
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
        f"{report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        "next: --remove=weights, or --dataset=mnist --data_dir=DIR"
    )


def stages(config: Config) -> list[Stage]:
    """What is made of a run, in this order: each has a file."""
    selections = (None, *config_.selections(config))
    return list(it.product(config_.learning_rates(config), selections))


def file_name(rate: float, selection: str | None = None) -> str:
    """The name of a stage's file, `NAME.npz`."""
    return f"rate_{rate}_{selection}" if selection else f"rate_{rate}"


def orders(
    config: Config, task: train.Task, rate: float, selection: str, trained: Any
) -> tuple[tuple[Any, Any], dict[str, Any], dict[str, Any]]:
    """The three orders at one learning rate.

    Args:
        config: choices of the run.
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
    frames = config_.frames(config)
    kept = train.select(config, task, selection, trained)
    after = train.remove(config, task, trained, kept)
    before = train.remove(config, task, task.params, kept)
    first, film = train.fit(task, rate, before, kept[1], steps, frames=frames)
    tuned, tuning = train.fit(task, rate, after, kept[1], more, frames=frames)
    networks = {"train_prune": after, "prune_train": first, "tuned": tuned}
    films = {"frames_prune_train": film, "frames_tuned": tuning}
    return kept, networks, films if frames else {}


def _steps(config: Config, stage: Stage) -> int:
    rate, selection = stage
    steps, more = config_.steps(config, rate)
    return steps + more if selection else steps


def _whole(config: Config, task: train.Task, rate: float) -> dict[str, np.ndarray]:
    """The whole networks, before and after training."""
    kept, frames = train.everything(task), config_.frames(config)
    steps, _ = config_.steps(config, rate)
    trained, film = train.fit(task, rate, task.params, kept, steps, frames=frames)
    films = {"frames_trained": film} if frames else {}
    return trees.to_arrays({"init": task.params, "trained": trained, **films})


def _pruned(
    config: Config, task: train.Task, rate: float, selection: str, trained: Any
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Records and arrays of the three orders."""
    kept, networks, films = orders(config, task, rate, selection, trained)
    arrays = {"kept_nodes": kept[0], "kept_weights": kept[1], **networks, **films}
    networks = {"trained": trained, **networks}
    records = measure.records(task, config, rate, selection, networks, kept)
    return records, trees.to_arrays(arrays)


def _line(records: Records) -> str:
    first = records[0]
    scores = "  ".join(
        f"{order} {measure.mean(records, 'test_accuracy', order):.1%}"
        for order in ORDERS
    )
    return f"learning rate {first['learning_rate']}, {first['selection']}: {scores}"
