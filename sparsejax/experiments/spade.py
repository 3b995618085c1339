"""Does pruning for a sample make explanations better? Planted patches tell.

A network is trained on images (CIFAR-10, MNIST) of which a share has a patch that means
a class. On new images with patches it is pruned for each one (SPADE), and saliency maps
of what is left are compared with the place of the patch; so are those of the dense
network, and of networks pruned as much without looking at the sample. How much of each
stage is pruned is chosen on other images.

    <folder>/network_SEED.npz   the fine-tuned network
    <folder>/seed_SEED.npz      measures/ARM/MEASURE (images,); maps/ARM (shown, ...)
    <folder>/pictures.npz       what drives the classes that a patch means
    <folder>/toy.npz            what drives a unit with two positive regions
    <folder>/metrics.jsonl      a line for each seed and arm
    <folder>/fig_*.svg, index.html

A run that was killed goes on with the seed it was at.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sparsejax import data, masks, models, runs, train, trees
from sparsejax.data import Planted
from sparsejax.experiments import fields, networks, spade_pictures, spade_toy
from sparsejax.experiments import spade_measure as measure
from sparsejax.experiments import spade_report as report_

CHOICES = {"dataset": ("cifar10", "mnist"), "tune": ("auc", "faithfulness")}
_BATCH = 64
WITHIN = {
    "seeds": fields.SEEDS,
    "train_images": f"[{_BATCH}, 2^31)",
    "epochs": fields.WHOLE,
    "share": "(0, 1]",
    "learning_rate": fields.POSITIVE,
    "count": "[2, 2^31)",  # a control is pruned for another image
    "calibration": fields.COUNTS,
    "samples": fields.COUNTS,
    "densities": "(0, 1]",
    "pictures": fields.WHOLE,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to train, to prune and to measure.

    Attributes:
        dataset: "cifar10", on which ResNet-20 is fine-tuned, or "mnist", on which one
            of half its width is trained from the start.
        checkpoint: file of ResNet-20's parameters before fine-tuning, where they are
            not in `data_dir`.
        seeds: of the fine-tuned networks, their data, patches and variations.
        train_images: images to train on.
        epochs: of training; 0 takes the checkpoint as it is.
        share: of the training images that get a patch.
        learning_rate: of SGD with momentum, falling to 0 by a cosine.
        count: test images with patches that are measured, for each seed.
        calibration: other test images on which the stages' densities are chosen.
        samples: variations of each image.
        densities: what the density of a stage is chosen from, beside 1.
        tune: by what: "auc" against the place of the patch, or "faithfulness",
            insertion less deletion, for which nobody need know the place.
        pictures: images of every class that has a patch, with it and without, whose
            pruned networks' idea of the class is drawn; for the first seed.
    """

    dataset: str = "cifar10"
    checkpoint: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    train_images: int = 7000
    epochs: int = 3
    share: float = 0.2
    learning_rate: float = 0.01
    count: int = 30
    calibration: int = 16
    samples: int = 64
    densities: tuple[float, ...] = (0.5, 0.2, 0.1)
    tune: str = "auc"
    pictures: int = 2


def check(config: Config) -> None:
    """Raise a `ValueError` for what cannot be run."""
    fields.check(config, WITHIN, CHOICES)
    if config.checkpoint and config.dataset != "cifar10":
        raise ValueError("checkpoint is of ResNet-20 on CIFAR-10: leave it out")
    if config.count + config.calibration > measure.TESTED:
        raise ValueError(
            f"count and calibration are parts of {measure.TESTED} images, got "
            f"{config.count} and {config.calibration}"
        )


def run(
    config: Config,
    folder: str | Path,
    *,
    data_dir: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Train, prune and measure, or go on with it; the records of `metrics.jsonl`.

    Args:
        config: what to do.
        folder: where; a folder of an unfinished run of the same config is continued.
        data_dir: folder of `cifar10` and `resnet_cifar10`, or of MNIST's files.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Raises:
        ValueError: for bad input.
    """
    folder = Path(folder)
    check(config)
    images, subject, start = _prepared(config, data_dir)
    done = runs.start(
        folder, config, kind="spade", about={"jax": jax.__version__}, force=force
    )
    if done and (folder / "index.html").exists():
        report(f"{folder} is complete; --force runs it again")
        return runs.read_metrics(folder)

    def kept(name, make):
        return runs.cached(folder / f"{name}.npz", make, report)

    records, found, tuned = [], {}, {}
    for seed in config.seeds:

        def tune(seed=seed):
            return _tune(config, subject, seed, images.train, start, report)

        params = trees.from_arrays(kept(f"network_{seed}", tune), start)

        def make(seed=seed, params=params):
            return measure.seed(config, subject.fn, seed, params, images.test, report)

        found[seed], tuned[seed] = kept(f"seed_{seed}", make), params
        records += report_.records(seed, found[seed])
        runs.write_metrics(folder, records)
    first = tuned[config.seeds[0]]
    drawn = kept(
        "pictures",
        lambda: spade_pictures.draw(config, subject.fn, first, images.test, report),
    )
    plane = kept("toy", lambda: spade_toy.draw(report))
    report_.write(folder, config, records, found, drawn, plane)
    runs.finish(folder)
    return records


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{report_.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        "next: --tune=faithfulness, --densities=0.3,0.05 or more seeds"
    )


def _prepared(config: Config, data_dir):
    """Images, a network of them, and where its training starts."""
    if config.dataset == "mnist":
        images = data.mnist(data_dir)
        model = models.resnet(20, widths=(8, 16, 32))
        start = model.init(jax.random.key(0), images.train.x[0])
        return images, measure.subject(model, lambda x: x), start
    images = data.cifar10(data_dir, most=-(-config.train_images // 10))
    _, start = networks.residual("resnet20", data_dir, config.checkpoint)
    return images, measure.subject(models.resnet(20), models.normalize), start


def _tune(
    config: Config, subject, seed: int, split, start, report
) -> dict[str, np.ndarray]:
    """Train on images of which some have patches."""
    if not config.epochs:
        return trees.to_arrays(start)
    split = data.Split(split.x[: config.train_images], split.y[: config.train_images])
    for_patches, for_order = jax.random.split(jax.random.key(seed))
    planted: Planted = data.plant(for_patches, split, share=config.share)
    weights = jax.tree.map(lambda p: jnp.ones((), p.dtype), start)
    steps = len(planted.y) // _BATCH * config.epochs
    rate = optax.cosine_decay_schedule(config.learning_rate, steps)
    state, _ = train.fit(
        subject.train_apply,
        start,
        masks.Masks(weights, {}),
        (planted.x, planted.y),
        optimizer=optax.sgd(rate, momentum=0.9),
        batch_size=_BATCH,
        epochs=config.epochs,
        key=for_order,
        trainable=models.is_trainable,
        stateful=True,
        callback=lambda state, metrics: report(
            f"seed {seed}: step {int(state.step)} of {steps}, "
            f"loss {float(metrics['loss']):.3f}"
        ),
    )
    return trees.to_arrays(state.params)
