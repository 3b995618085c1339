"""Does pruning for a sample make explanations better? Planted patches tell.

ResNet-20 is fine-tuned on CIFAR-10 images, of which a share has a patch that means a
class. On new images with patches it is pruned for each one (SPADE), and saliency maps
of what is left are compared with the place of the patch; so are those of the dense
network, and of networks pruned as much without looking at the sample. How much of each
stage is pruned is chosen on other images.

    <folder>/network_SEED.npz   the fine-tuned network
    <folder>/seed_SEED.npz      measures/ARM/MEASURE (images,); maps/ARM (shown, ...)
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

from sparsejax import data, lift, masks, models, runs, train, trees
from sparsejax.data.planted import Planted
from sparsejax.experiments import networks
from sparsejax.experiments import spade_measure as measure
from sparsejax.experiments import spade_report as report_

CHOICES: dict[str, tuple[str, ...]] = {}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to train, to prune and to measure.

    Attributes:
        seeds: of the fine-tuned networks, their data, patches and variations.
        train_images: CIFAR-10 images to fine-tune on, the same number of each class.
        epochs: of fine-tuning.
        share: of the training images that get a patch.
        learning_rate: of SGD with momentum, falling to 0 by a cosine.
        count: test images with patches that are measured, for each seed.
        calibration: other test images on which the stages' densities are chosen.
        samples: variations of each image.
        densities: what the density of a stage is chosen from; 1 leaves it whole.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    train_images: int = 7000
    epochs: int = 3
    share: float = 0.2
    learning_rate: float = 0.01
    count: int = 30
    calibration: int = 10
    samples: int = 256
    densities: tuple[float, ...] = (1.0, 0.5, 0.2)


def check(config: Config) -> None:
    """Raise a `ValueError` for what cannot be run."""
    for field in ("train_images", "epochs", "count", "calibration", "samples"):
        if getattr(config, field) < 1:
            raise ValueError(f"{field} must be at least 1")
    if config.count < 2:
        raise ValueError("count must be at least 2: a control is pruned for another")
    if not config.seeds or len(set(config.seeds)) < len(config.seeds):
        raise ValueError(f"seeds must be different numbers, got {config.seeds}")
    if not 0 < config.share <= 1:
        raise ValueError(f"share must be in (0, 1], got {config.share}")
    if 1.0 not in config.densities or not all(0 < d <= 1 for d in config.densities):
        raise ValueError(
            f"densities must be in (0, 1] with 1 among them, got {config.densities}"
        )


def run(
    config: Config,
    folder: Path,
    *,
    data_dir: str | Path | None = None,
    checkpoint: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Train, prune and measure, or go on with it; the records of `metrics.jsonl`.

    Args:
        config: what to do.
        folder: where; a folder of an unfinished run of the same config is continued.
        data_dir: folder of `train.zip` and `test.zip` of CIFAR-10.
        checkpoint: ResNet-20's parameters, safetensors; by default
            `resnet_cifar10/resnet20_cifar10.safetensors` in `data_dir`.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Raises:
        ValueError: for bad input.
    """
    check(config)
    images = data.cifar10(data_dir, most=-(-config.train_images // 10))
    _, start = networks.residual("resnet20", data_dir, checkpoint)
    done = runs.start(folder, config, {"jax": jax.__version__}, force=force)
    if done and (folder / "index.html").exists():
        report(f"{folder} is complete; --force runs it again")
        return runs.read_metrics(folder)
    records, found = [], {}
    for seed in config.seeds:
        make = lambda seed=seed: _tune(config, seed, images.train, start, report)
        params = trees.from_arrays(
            runs.kept(folder / f"network_{seed}.npz", make, report), start
        )
        make = lambda seed=seed, params=params: measure.seed(
            config, seed, params, images.test, report
        )
        found[seed] = runs.kept(folder / f"seed_{seed}.npz", make, report)
        records += report_.records(seed, found[seed])
        runs.write_metrics(folder, records)
    report_.write(folder, config, records, found)
    runs.finish(folder)
    return records


def summary(folder: Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    return (
        f"{report_.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        "next: --densities=1,0.2,0.05, --samples=64 or more seeds"
    )


def _tune(config: Config, seed: int, split, start, report) -> dict[str, np.ndarray]:
    """Fine-tune on images of which some have patches."""
    for_patches, for_order = jax.random.split(jax.random.key(seed))
    planted: Planted = data.plant(for_patches, split, share=config.share)
    weights = jax.tree.map(lambda p: jnp.ones((), p.dtype), start)
    steps = len(planted.y) // _BATCH * config.epochs
    rate = optax.cosine_decay_schedule(config.learning_rate, steps)
    state, _ = train.fit(
        _train_apply,
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


_BATCH = 64


@lift.masked
def _train_apply(params, x, *, key):
    return measure.MODEL.train_apply(params, networks.normalised(x), key=key)
