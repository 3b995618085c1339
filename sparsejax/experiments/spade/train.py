"""Networks of images, trained where some have a patch that means a class."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from sparsejax import data, lift, masks, models, train, trees
from sparsejax.experiments import subjects
from sparsejax.experiments._study import run as run_
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.spade.config import BATCH_SIZE, Config, check_source

CIFAR = ("resnet20", "resnet56")  # of three stages


class Network(NamedTuple):
    """A residual network of images in [0, 1], before training.

    Attributes:
        fn: `fn(params, x)`, logits.
        train_apply: `train_apply(params, masks, x, *, key)`, also new statistics.
        last: name of the last stage's activation.
        params: parameters to start from.
    """

    fn: Callable
    train_apply: Callable
    last: str
    params: PyTree


def network(
    model: models.Model, normalize: Callable, num_blocks: int, params: PyTree
) -> Network:
    """A residual network of three stages, and what is done to images before."""

    def train_apply(params, x, *, key):
        return model.train_apply(params, normalize(x), key=key)

    def fn(params, x):
        return model.apply(params, normalize(x))

    last = f"layer3_{num_blocks - 1}"
    return Network(fn, lift.masked(train_apply), last, params)


def checked(config: Config, subject: Subject | None) -> None:
    """Raise a `ValueError` for a subject that does not go with a config."""
    if subject is None:
        return
    check_source(config, subject.source)
    name = subject.source.get("model")
    if name not in CIFAR:
        raise ValueError(
            f"--model must be {' or '.join(CIFAR)}, networks of CIFAR-10, got "
            f"{subject.title}"
        )


def prepared(
    config: Config, subject: Subject | None, data_dir: str | Path | None
) -> tuple[data.Dataset, Network, Subject | None]:
    """Images, a network of them, and the file that it is from."""
    return _prepared(config, subject, data_dir, -(-config.num_train_images // 10))


def check_data(
    config: Config, subject: Subject | None, data_dir: str | Path | None
) -> None:
    """Raise what `prepared` does, after a few images."""
    _prepared(config, subject, data_dir, 1, 1)


def _prepared(
    config: Config,
    subject: Subject | None,
    data_dir: str | Path | None,
    most: int,
    most_test: int | None = None,
) -> tuple[data.Dataset, Network, Subject | None]:
    checked(config, subject)
    if config.dataset == "mnist":
        images = data.mnist(data_dir)
        model = models.resnet(6 * config.num_blocks + 2, widths=config.widths)
        params = model.init(jax.random.key(0), images.train.x[0])
        return images, network(model, lambda x: x, config.num_blocks, params), None
    images = data.cifar10(data_dir, most=most, most_test=most_test)
    subject = subject or subjects.pretrained(data_dir=data_dir)
    depth = int(subject.source["model"].removeprefix("resnet"))
    model, blocks = models.resnet(depth), (depth - 2) // 6
    made = network(model, models.normalize, blocks, subject.params)
    return images, made, subject


def fitted(
    config: Config,
    network: Network,
    seed: int,
    split: data.Split,
    log: Callable[[str], Any],
) -> dict[str, np.ndarray]:
    """Parameters after training on images of which some have patches."""
    if not config.epochs:
        return trees.to_arrays(network.params)
    count = config.num_train_images
    split = data.Split(split.x[:count], split.y[:count])
    for_patches, for_order = jax.random.split(jax.random.key(seed))
    planted = data.plant(for_patches, split, share=config.share)
    weights = jax.tree.map(lambda p: jnp.ones((), p.dtype), network.params)
    steps = len(planted.y) // BATCH_SIZE * config.epochs
    rate = optax.cosine_decay_schedule(config.learning_rate, steps)

    def say(state, metrics):
        loss = float(metrics["loss"])
        log(f"seed {seed}: step {int(state.step)} of {steps}, loss {loss:.3f}")

    with run_.finite(f"seed {seed}"):
        state, _ = train.fit(
            network.train_apply,
            network.params,
            masks.Masks(weights, {}),
            (planted.x, planted.y),
            optimizer=optax.sgd(rate, momentum=0.9),
            batch_size=BATCH_SIZE,
            epochs=config.epochs,
            key=for_order,
            trainable=models.is_trainable,
            stateful=True,
            callback=say,
        )
    return trees.to_arrays(state.params)
