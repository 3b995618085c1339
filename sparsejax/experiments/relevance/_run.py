"""Runs of explanations: methods in turn, then figures and the page.

<folder>/images.npz      chosen (positions in the test set, samples first), x, labels,
                         logits, targets
<folder>/METHOD.npz      map, account/FIELD and bias/PATH, a row for every image;
                         deletion, insertion (images, points), randomized (layers,
                         images) and, for further levels, level_LEVEL
<folder>/random.npz      the curves of places in random order
<folder>/metrics.jsonl   a line for each method
<folder>/fig_*.svg, table.md, index.html
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sparsejax import runs
from sparsejax.experiments._study import subject as subject_
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.relevance import config as config_
from sparsejax.experiments.relevance import images as images_
from sparsejax.experiments.relevance import measure, report
from sparsejax.experiments.relevance import records as records_
from sparsejax.experiments.relevance.config import Config
from sparsejax.experiments.relevance.images import Images
from sparsejax.pages import counted

_NEAR = 1e-3  # of logits, which may be computed on another device


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
        config: what to explain, and how.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: the network that is explained.
        data_dir: unused, since the subject knows its data.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for what the network or its run do not have, maps that are not
            finite, and if the folder holds anything else.
    """
    images = images_.images(config, subject_.required(subject))
    with Study("relevance", config, folder, subject, force=force, log=log) as study:
        study.note("images", _noted(images), _NEAR, _NEAR)
        if study.complete:
            return study.records
        log(_plan(config, images))
        curve = measure.curves(images)
        make = partial(measure.control, config, images, curve)
        control = study.cached(measure.CONTROL, make)
        study.add([records_.record(measure.CONTROL, control, images)])
        arrays = {}
        for name in study.each(_methods(config, images)):
            make = partial(measure.method, config, name, images, curve)
            arrays[name] = study.cached(name, make)
            study.add([records_.record(name, arrays[name], images)])
            study.progress(records_.line(study.records[-1]))
        report.write(study, images, arrays, control)
    return study.records


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in a line; arguments and errors as of `run`."""
    return _plan(config, images_.images(config, subject_.required(subject)))


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{records_.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        "next: --levels=0 to see what pruning changes, --test_images=0:10, "
        "--target=predicted or another output"
    )


def _plan(config: Config, images: Images) -> str:
    return (
        f"{images.subject.title}: {counted(len(_methods(config, images)), 'method')}, "
        f"{counted(images.shown, 'sample')}, "
        f"{counted(config.num_test_images, 'test image')}"
    )


def _methods(config: Config, images: Images) -> tuple[str, ...]:
    return config_.methods(config, images.setting.node is not None)


def _noted(images: Images) -> dict[str, Any]:
    """What is explained, kept with the results."""
    return {
        "chosen": images.positions, "x": images.x, "labels": images.labels,
        "logits": images.logits, "targets": images.targets,
    }  # fmt: skip
