"""Why a network answers as it does, by every method side by side.

For a network of a lottery run and test images: maps by every chosen method; what the
biases are to blame for; whether the parts sum to the output; whether what a method
calls relevant matters when it is deleted; and whether the method depends on what the
network has learnt.

    <folder>/images.npz      chosen (positions in the test set, samples first), x,
                             labels, logits, targets
    <folder>/METHOD.npz      map, account/FIELD and bias/PATH, a row for every image;
                             deletion, insertion (images, points), randomised (layers,
                             images) and, for further levels, level_LEVEL
    <folder>/random.npz      the curves of places in random order
    <folder>/metrics.jsonl   a line for each method
    <folder>/fig_*.svg, index.html

A run that was killed goes on with the method it was at.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sparsejax import runs
from sparsejax.experiments import relevance_maps_config as config_
from sparsejax.experiments import relevance_maps_measure as measure
from sparsejax.experiments import relevance_maps_records as records_
from sparsejax.experiments import relevance_maps_report as report_
from sparsejax.experiments.relevance_maps_config import CHOICES as CHOICES
from sparsejax.experiments.relevance_maps_config import Config as Config
from sparsejax.experiments.relevance_maps_config import check as check
from sparsejax.experiments.relevance_maps_measure import Subject
from sparsejax.pages import counted


def run(
    config: Config,
    folder: str | Path,
    *,
    source: str | Path,
    data_dir: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Explain, or go on explaining, one network.

    Args:
        config: what to explain, and how.
        folder: where; a folder of an unfinished run of the same config is continued.
        source: folder of a lottery run.
        data_dir: folder of the data set's files.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input.
    """
    folder = Path(folder)
    check(config)
    subject = measure.subject(config, source, data_dir)
    about = {"run": str(source), "network": subject.network.title}
    done = runs.start(
        folder,
        config,
        kind="relevance",
        about={**about, "jax": jax.__version__},
        force=force,
    )
    _note_images(folder, subject)
    names = config_.methods(config, subject.setting.node is not None)
    if done and (folder / "index.html").exists() and _are_whole(folder, names):
        report(f"{folder} is complete; --force runs it again")
        return runs.read_metrics(folder)
    report(f"{subject.network.title}: {counted(len(names), 'method')}, "
           f"{counted(subject.shown, 'sample')}, "
           f"{counted(config.count, 'test image')}")  # fmt: skip
    curve, began, found = measure.curves(subject), time.perf_counter(), {}

    def chance():
        return measure.control(config, subject, curve)

    control = runs.cached(folder / f"{measure.CONTROL}.npz", chance, report)
    records = [records_.record(measure.CONTROL, control, subject)]
    for i, name in enumerate(names):

        def make(name=name):
            return measure.method(config, name, subject, curve)

        found[name] = runs.cached(folder / f"{name}.npz", make, report)
        records.append(records_.record(name, found[name], subject))
        runs.write_metrics(folder, records)
        spent = time.perf_counter() - began
        left = spent / (i + 1) * (len(names) - i - 1)
        report(f"{records_.line(records[-1])}  {spent:4.0f} s, {left:.0f} s left")
    report_.write(folder, config, subject, records, found, control)
    runs.finish(folder)
    return records


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    where = folder / "index.html"
    return (
        f"{records_.finding(runs.read_metrics(folder))}\n"
        f"open {where}\n"
        "next: --levels=0 to see what pruning changes, --samples=0:10, "
        "--target=predicted or another output"
    )


def _note_images(folder: Path, subject: Subject) -> None:
    """What is explained, kept with the results; a folder is of one network."""
    file = folder / "images.npz"
    arrays = {
        "chosen": subject.chosen, "x": subject.x, "labels": subject.labels,
        "logits": subject.logits, "targets": subject.targets,
    }  # fmt: skip
    if not file.exists():
        runs.write_arrays(file, arrays)
        return
    there = runs.read_arrays(file)
    if there.keys() != arrays.keys() or not all(
        np.allclose(there[k], arrays[k], rtol=1e-3, atol=1e-3) for k in arrays
    ):
        raise ValueError(
            f"{folder} holds explanations of another network; choose another folder or "
            "remove it"
        )


def _are_whole(folder: Path, names) -> bool:
    try:
        for name in (measure.CONTROL, *names):
            runs.read_arrays(folder / f"{name}.npz")
    except (OSError, runs.DamagedFile):
        return False
    return True
