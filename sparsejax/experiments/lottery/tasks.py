"""The images of a lottery run and what is asked of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from sparsejax import data, train
from sparsejax.experiments.lottery.config import (
    DISSECTED,
    IMAGES,
    NUM_SCENES,
    SCENES,
    Config,
)

SIDE = 32  # of images of scenes and of CIFAR-10


class Task(NamedTuple):
    """Images in [0, 1] and what is asked of them.

    Attributes:
        training: images (n, height, width, channels), and labels (n,) or targets
            (n, outputs).
        test: images and labels to test on.
        shape: of one image.
        outputs: their number.
        loss: `loss(logits, y) -> scalar`.
        accuracy: `accuracy(logits, y) -> scalar`, of arrays of NumPy or JAX; where
            there are several labels, the mean over them of how often they are told
            where they are, and where not.
    """

    training: tuple[Any, Any]
    test: tuple[Any, Any]
    shape: tuple[int, ...]
    outputs: int
    loss: Callable[..., Any]
    accuracy: Callable[..., Any]


def task(config: Config, data_dir: str | Path | None = None) -> Task:
    """The images of a config.

    Args:
        config: of a run.
        data_dir: folder of the files of MNIST, Fashion-MNIST and CIFAR-10.

    Raises:
        ValueError: for images that are not there, and too few of them.
    """
    if config.dataset == "scenes":
        return _scenes(config)
    if config.dataset in IMAGES:
        sets = data.load(config.dataset, data_dir)
    elif config.dataset == "cifar10":
        sets = data.cifar10(data_dir, most=-(-config.num_train_images // 10) or None)
    else:
        sets = _folders(Path(config.dataset), config.image_size or None)
    rng = np.random.default_rng(0)
    training = _some(rng, sets.train, config.num_train_images, config)
    test = _some(rng, sets.test, config.num_test_images, config)
    shape, outputs = sets.train.x.shape[1:], int(sets.train.y.max()) + 1
    return Task(training, test, shape, outputs, train.cross_entropy, share)


def form(
    config: Config, data_dir: str | Path | None = None
) -> tuple[tuple[int, ...], int]:
    """Shape of an image and number of outputs; only folders are looked into."""
    if config.dataset in IMAGES:
        return (IMAGES[config.dataset],) * 2 + (1,), 10
    if config.dataset == "cifar10":
        return (SIDE, SIDE, 3), 10
    if config.dataset == "scenes":
        one = data.scenes(jax.random.key(SCENES), 1, size=SIDE)
        return (SIDE, SIDE, 3), one.targets.shape[1]
    return task(config, data_dir)[2:4]


def share(logits: Any, labels: Any) -> Any:
    """Share of examples whose largest logit is that of their label."""
    return (logits.argmax(-1) == labels).mean()


def balanced(logits: Any, targets: Any) -> Any:
    """Balanced accuracy, mean over labels that some images have and some have not."""
    right, there = (logits > 0) == (targets > 0.5), targets > 0.5

    def told(where):
        return (right & where).sum(0) / where.sum(0).clip(1)

    both = told(there) + told(~there)
    return both.mean(where=there.any(0) & ~there.all(0)) / 2


def _some(rng, split: data.Split, count: int, config: Config) -> tuple[Any, Any]:
    """Images and labels of a split, `count` of them if there are more."""
    if config.dataset in IMAGES and not count:
        return split.x, split.y
    rows = rng.permutation(len(split.y))[: count or None]  # classes lie in a row
    x: Any = split.x
    return (x.only(rows) if isinstance(x, data.Images) else x[rows]), split.y[rows]


def _scenes(config: Config) -> Task:
    """The first scenes are to test on, the next to dissect, all others to train on."""
    counts = {"train": config.num_train_images, "test": config.num_test_images}
    many = {name: count or NUM_SCENES[name] for name, count in counts.items()}
    key = jax.random.key(SCENES)
    test = data.scenes(key, many["test"], size=SIDE)
    first = many["test"] + DISSECTED
    training = data.scenes(key, many["train"], size=SIDE, first=first)
    return Task(
        (training.labeled.images, training.targets),
        (test.labeled.images, test.targets),
        (SIDE, SIDE, 3),
        training.targets.shape[1],
        _sigmoid,
        balanced,
    )


def _sigmoid(logits, targets):
    return optax.sigmoid_binary_cross_entropy(logits, targets).mean()


def _folders(root: Path, size: int | None) -> data.Dataset:
    """`train` and `test` (or `val`), folders or zips."""

    def find(*names):
        ways = [root / f"{name}{end}" for name in names for end in ("", ".zip")]
        return next((path for path in ways if path.exists()), root / names[0])

    if not find("train").exists():
        raise ValueError(
            f"no dataset {str(root)!r}: expected one of digits, mnist, fashion_mnist, "
            "cifar10, scenes, or a folder with train and test folders or zips"
        )
    training, names = data.image_folder(find("train"), size=size)
    test, others = data.image_folder(find("test", "val"), size=size)
    if names != others:
        raise ValueError(f"{root}: train has classes {names}, test {others}")
    return data.Dataset(training, test)
