"""Small networks that experiments train themselves, where they are given none."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from sparsejax import data, lift, masks, models, train
from sparsejax.experiments._study.subject import Network, Subject

CIRCLES = {"circle": "half", "circle_published": "published"}
_EPOCHS = {"digits": 40, "circle": 20, "circle_published": 20}
_BATCH, _POINTS_BATCH = 64, 32


def trained(
    dataset: str = "digits",
    model: str = "mlp",
    widths: tuple[int, ...] = (),
    *,
    epochs: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Subject:
    """A dense network, trained here.

    Args:
        dataset: one of `data.NAMES`, "circle" (half of the square inside) or
            "circle_published" (62.67%).
        model: "mlp" or "convnet".
        widths: hidden units or channels; by default (32, 32), (6, 6, 6) and, of
            circles, (20,).
        epochs: by default 3 (digits: 40, circles: 20).
        seed: of the initial weights, of the order of the data and of circles' points.
        data_dir: folder of the data set's files.

    Raises:
        ValueError: for data that are missing, and convolutions of points.

    Example:
        >>> subject = trained("circle", widths=(4,), epochs=1)
        >>> subject.title, subject.shape, subject.x.shape
        ('mlp on circle, seed 0', (2,), (10000, 2))
    """
    subject = untrained(dataset, model, widths, epochs=epochs, seed=seed,
                        data_dir=data_dir)  # fmt: skip
    return dataclasses.replace(subject, params=fit(subject))


def untrained(
    dataset: str,
    model: str,
    widths: tuple[int, ...] = (),
    *,
    epochs: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Subject:
    """What `trained` gives before its training; `fit` trains it."""
    network, shape = _network(dataset, model, widths)
    points = dataset in CIRCLES
    sets = _splits(dataset, seed, data_dir)
    key = jax.random.split(jax.random.key(seed))[1]
    x = jnp.reshape(sets.test.x, (-1, *shape))
    params = jax.jit(network.init)(key, x[:1])

    def load(split: data.Split) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        return lambda: (np.asarray(split.x).reshape(-1, *shape), np.asarray(split.y))

    return Subject(
        title=f"{model} on {dataset}, seed {seed}",
        fn=network.apply,
        params=params,
        mask=masks.ones(network.apply, params, x[:1]).weights,
        shape=shape,
        domain=(-1.0, 1.0) if points else (0.0, 1.0),
        image=None if points else np.shape(sets.test.x)[1:],
        load_data=load(sets.test),
        source={"dataset": dataset, "model": model, "widths": widths,
                "epochs": epochs or _EPOCHS.get(dataset, 3), "network_seed": seed},
        network=Network("trained", 0, seed, 1.0),
        load_train_data=load(sets.train),
    )  # fmt: skip


def fit(subject: Subject) -> PyTree:
    """The trained parameters of what `untrained` gives."""
    source = subject.source
    x, y = map(jnp.asarray, subject.train_data)
    points = source["dataset"] in CIRCLES
    batch_size = _POINTS_BATCH if points else _BATCH
    steps = source["epochs"] * (len(x) // batch_size)
    state, _ = train.fit(
        lift.masked(subject.fn),
        subject.params,
        masks.Masks(subject.mask, {}),
        (x, y),
        optimizer=optax.adam(0.01) if points else _optimizer(source["model"], steps),
        batch_size=batch_size,
        key=jax.random.split(jax.random.key(source["network_seed"]))[0],
        steps=steps,
    )
    return state.params


def _optimizer(model: str, steps: int) -> optax.GradientTransformation:
    """Momentum, its rate rising over a tenth of the steps, then falling: a cosine."""
    peak = 0.05 if model == "convnet" else 0.15  # at 0.15 some seeds do not train
    rate = optax.warmup_cosine_decay_schedule(
        0.0, peak, steps // 10, steps, end_value=peak / 100
    )
    return optax.sgd(rate, momentum=0.9)


def _network(
    dataset: str, model: str, widths: tuple[int, ...]
) -> tuple[models.Model, tuple[int, ...]]:
    """A network, and the shape of its inputs."""
    if dataset in CIRCLES:
        if model != "mlp":
            raise ValueError(f"{dataset} has points, not images: model must be mlp")
        return models.mlp(widths or (20,), 2), (2,)
    side = 8 if dataset == "digits" else 28
    if model == "mlp":
        return models.mlp(widths or (32, 32), 10), (side * side,)
    return models.convnet(widths or (6, 6, 6), 10), (side, side, 1)


def _splits(dataset: str, seed: int, data_dir: str | Path | None) -> data.Dataset:
    """What to train and to test on; circles are drawn: 1,000 points and 10,000."""
    if dataset not in CIRCLES:
        return data.load(dataset, data_dir)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))

    def draw(key, n):
        return data.circle(key, n, variant=CIRCLES[dataset])

    return data.Dataset(draw(keys[0], 1000), draw(keys[1], 10_000))
