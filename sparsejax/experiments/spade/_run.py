"""Runs on pruning for a sample: networks in turn, then pictures, a toy and the page.

<folder>/network_SEED.npz   the trained network
<folder>/seed_SEED.npz      measures/ARM/MEASURE (images,); maps/ARM (shown, ...)
<folder>/pictures.npz       what drives the classes that a patch means
<folder>/toy.npz            what drives a unit with two positive regions
<folder>/metrics.jsonl      a line for each seed and arm
<folder>/fig_*.svg, table.md, index.html
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sparsejax import runs, trees
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.spade import measure, pictures, report, scores, toy, train
from sparsejax.experiments.spade.config import Config
from sparsejax.pages import counted


def run(
    config: Config,
    folder: str | Path,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
    force: bool = False,
    log: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Train, prune and measure, or go on with it.

    Args:
        config: what to do.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: the network of CIFAR-10 to fine-tune; by default ResNet-20's file in
            `data_dir`.
        data_dir: folder of `cifar10` and `resnet_cifar10`, or of MNIST's files.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input.
    """
    images, network, subject = train.prepared(config, subject, data_dir)
    with Study("spade", config, folder, subject, force=force, log=log) as study:
        if study.complete:
            return study.records
        arrays, params = {}, {}
        for seed in study.each(config.seeds):
            fit = partial(train.fitted, config, network, seed, images.train, log)
            fitted = study.cached(f"network_{seed}", fit)
            params[seed] = trees.from_arrays(fitted, network.params)
            look = partial(
                measure.seed, config, network.fn, seed, params[seed], images.test, log
            )
            arrays[seed] = study.cached(f"seed_{seed}", look)
            study.add(scores.records(seed, arrays[seed]))
            study.progress(_line(seed, study.records))
        first = params[config.seeds[0]]
        draw = partial(pictures.draw, config, network, first, images.test, log)
        drawn = study.cached("pictures", draw)
        plane = study.cached("toy", partial(toy.draw, config, log))
        report.write(study, arrays, drawn, plane)
    return study.records


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in a line; arguments and errors as of `run`."""
    train.check_data(config, subject, data_dir)
    seeds = counted(len(config.seeds), "network")
    return (
        f"{seeds} on {config.dataset}, {config.num_train_images:,} images and "
        f"{counted(config.epochs, 'epoch')} each, densities chosen by {config.tune} on "
        f"{counted(config.num_calibration_images, 'image')}, measured on "
        f"{config.num_test_images}"
    )


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        "next: --tune=faithfulness, --densities=0.3,0.05 or more seeds"
    )


def _line(seed: int, records: list[dict[str, Any]]) -> str:
    auc = {r["arm"]: 100 * r["auc"] for r in records if r["seed"] == seed}
    return f"seed {seed}: AUC {auc['dense']:.1f}% dense, {auc['spade']:.1f}% SPADE"
