"""The network that is explained, and the images that it is explained for."""

import functools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sparsejax import masks
from sparsejax.experiments._study import nodes
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.relevance.config import MOST, Config
from sparsejax.experiments.relevance.methods import Setting

_BACKGROUNDS = 100
_KINDS = ("conv", "bn", "layer", "dense", "fc", "linear")  # in the order of layers


class Images(NamedTuple):
    """A network and the images that are explained.

    Attributes:
        subject: the network.
        others: parameters and weights kept at further levels, by level.
        setting: what methods are given.
        layers: of the parameters, the first first.
        positions: in the test set, of all images; shape (n,).
        shown: how many of these, the first, are samples to show.
        x: the images, shape (n, *shape).
        labels: their classes, shape (n,).
        logits: of all images, shape (n, outputs).
        targets: the output that is explained of each, shape (n,).
    """

    subject: Subject
    others: dict[int, tuple[PyTree, int]]
    setting: Setting
    layers: list[str]
    positions: np.ndarray
    shown: int
    x: np.ndarray
    labels: np.ndarray
    logits: np.ndarray
    targets: np.ndarray


def images(config: Config, subject: Subject) -> Images:
    """The images of a config, with what a network answers.

    Raises:
        ValueError: for what is not there.
    """
    shapes = nodes.shapes(subject.fn, subject.params, subject.shape)
    (outputs,) = shapes.pop(nodes.LOGITS)
    places = [name for name, shape in shapes.items() if len(shape) > 2]
    _check(config, subject, outputs, bool(places))
    labels = subject.y.argmax(-1) if subject.y.ndim > 1 else subject.y
    for_images, for_backgrounds = jax.random.split(jax.random.key(config.seed))
    draw = functools.partial(jax.random.choice, replace=False)
    rows = np.asarray(draw(for_images, len(labels), (config.num_test_images,)))
    samples = config.test_images or _first_of_each(labels)
    positions = np.concatenate([np.asarray(samples, int), rows])
    x, labels = subject.x[positions], labels[positions]
    logits = np.asarray(jax.jit(jax.vmap(subject.fn, (None, 0)))(subject.params, x))
    answers = {"label": labels, "predicted": logits.argmax(1)}
    targets = answers.get(config.target)
    if targets is None:
        targets = np.full(len(positions), int(config.target))
    return Images(
        subject=subject,
        others=_others(config, subject),
        setting=_setting(config, subject, for_backgrounds, places),
        layers=sorted(subject.params, key=_place),
        positions=positions,
        shown=len(samples),
        x=x,
        labels=labels,
        logits=logits,
        targets=np.asarray(targets, np.int32),
    )


def _check(config: Config, subject: Subject, outputs: int, places: bool) -> None:
    """Raise a `ValueError` for what this network cannot be explained by."""
    total = len(subject.y)
    if subject.image is None:
        raise ValueError(f"{subject.title}: its inputs are not images")
    if outside := [i for i in config.test_images if i >= total]:
        raise ValueError(
            f"test_images must be in [0, {total - 1}], got "
            f"{', '.join(map(str, outside))}"
        )
    if config.num_test_images > total:
        raise ValueError(
            f"num_test_images must be in [1, {total}], got {config.num_test_images}"
        )
    if config.target.isdecimal() and int(config.target) >= outputs:
        raise ValueError(
            f"target must be in [0, {outputs - 1}], the outputs of this network, got "
            f"{config.target}"
        )
    if "grad_cam" in config.methods and not places:
        raise ValueError(
            f"grad_cam needs a convolution, and there is none here ({subject.title}); "
            "leave it out, or take a run with --model=convnet"
        )


def _others(config: Config, subject: Subject) -> dict[int, tuple[PyTree, int]]:
    others = {}
    for level in config.levels:
        if level == subject.network.level:
            raise ValueError(
                f"level {level} is the one explained; leave it out of levels"
            )
        other = subject.level(level)
        others[level] = other.params, int(masks.count(other.mask))
    return others


def _setting(config: Config, subject: Subject, key, places: list[str]) -> Setting:
    train = subject.train_data[0]
    rows = np.asarray(
        jax.random.choice(
            key, len(train), (min(_BACKGROUNDS, len(train)),), replace=False
        )
    )
    baseline = jnp.asarray(train).mean(0) if config.baseline == "mean" else (
        jnp.zeros(subject.shape)
    )  # fmt: skip
    assert subject.image is not None
    return Setting(
        fn=subject.fn,
        image=subject.image,
        baseline=baseline,
        backgrounds=jnp.asarray(train[rows]),
        domain=subject.domain,
        node=places[-1] if places else None,
        epsilon=config.epsilon,
        gamma=config.gamma,
    )


def _first_of_each(labels: np.ndarray) -> np.ndarray:
    """Positions of the first image of every class."""
    return np.unique(labels, return_index=True)[1][:MOST]


def _place(layer: str) -> tuple[int, list[int], str]:
    """Convolutions come before dense layers, each in the order of their numbers."""
    kind = next((i for i, k in enumerate(_KINDS) if layer.startswith(k)), len(_KINDS))
    return kind, [int(number) for number in re.findall(r"\d+", layer)], layer
