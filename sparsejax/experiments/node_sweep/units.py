"""A network as a function of one vector: 1 for a unit that is kept, 0 for others."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from sparsejax import lift, meshes, prune, sweep, train
from sparsejax.experiments._study.subject import Subject
from sparsejax.masks import Masks


class Units(NamedTuple):
    """A network as a function of which of its units are kept.

    Attributes:
        measure: loss and accuracy, over the chosen test images, of a mask (n,).
        names: of the n units, as "hidden_0/3".
        total: number of units of the network; the others are always on.
        spread: standard deviation of their activations, shape (n,).
        images: number of test images.
        every: loss and accuracy with all units.
        none: loss and accuracy with none of them.
    """

    measure: Callable[[Array], tuple[Array, Array]]
    names: list[str]
    total: int
    spread: Float[np.ndarray, " n"]
    images: int
    every: tuple[float, float]
    none: tuple[float, float]


class Kept(NamedTuple):
    """Networks under several masks, as those that keep 0, ..., n units.

    Attributes:
        losses: shape (m,).
        accuracies: shape (m,).
    """

    losses: Float[np.ndarray, " m"]
    accuracies: Float[np.ndarray, " m"]


def layers(subject: Subject) -> dict[str, int]:
    """The number of units of every named activation of a network."""
    x = jax.ShapeDtypeStruct((1, *subject.shape), jnp.float32)
    _, acts = jax.eval_shape(lift.activations(subject.fn), subject.params, x)
    return {name: leaf.shape[-1] for name, leaf in acts.items()}


def units(
    subject: Subject,
    nodes: Mapping[str, int],
    *,
    num_units: int | None = None,
    num_test_images: int = 0,
    seed: int = 0,
) -> Units:
    """A network on some of its test images, as a function of some of its units.

    Args:
        subject: the network.
        nodes: `{name: units}` of the activations to choose from.
        num_units: how many, those whose activation varies most; by default all. The
            others are always kept.
        num_test_images: number of test images, drawn once; 0 for all.
        seed: of the draw.
    """
    x, y = subject.x, subject.y
    if 0 < num_test_images < len(x):
        order = np.random.default_rng(seed).permutation(len(x))
        rows = np.sort(order[:num_test_images])
        x, y = x[rows], y[rows]
    x, y = meshes.local((jnp.asarray(x), jnp.asarray(y)))
    bound = functools.partial(subject.fn, meshes.local(subject.params))

    def fn(params, x):
        return bound(x)

    std = prune.activation_std(fn, {}, x, names=nodes)
    spread = np.concatenate([np.asarray(std[name]) for name in nodes])
    names = [f"{name}/{i}" for name, n in nodes.items() for i in range(n)]
    varying = np.sort(np.argsort(-spread, kind="stable")[:num_units])
    apply = lift.masked(fn)
    # patches of convolutions are large: few images at a time stay in the cache
    together = 100 if x.ndim > 2 else len(x)
    ends = np.cumsum(list(nodes.values()))[:-1].tolist()
    several = {"loss": _sigmoid, "metrics": {"accuracy": _right}} if y.ndim > 1 else {}

    def measure(mask):
        whole = jnp.ones(len(names)).at[varying].set(mask)
        by_node = dict(zip(nodes, jnp.split(whole, ends), strict=True))
        means = train.evaluate(
            apply, {}, Masks({}, by_node), (x, y), batch_size=together, **several
        )
        return means["loss"], means["accuracy"]

    n = len(varying)
    both = evaluate(measure, np.stack([np.ones(n), np.zeros(n)]))
    every, none = zip(both.losses.tolist(), both.accuracies.tolist(), strict=True)
    return Units(
        measure=measure,
        names=[names[i] for i in varying],
        total=sum(layers(subject).values()),
        spread=spread[varying],
        images=len(x),
        every=every,
        none=none,
    )


def evaluate(measure, rows: np.ndarray, batch_size: int | None = None) -> Kept:
    """Loss and accuracy of every row of masks."""
    masks = jnp.asarray(rows, jnp.float32)
    pairs = sweep.evaluate(measure, masks, batch_size=batch_size, progress=False)
    return Kept(*pairs)


def _sigmoid(logits, targets):
    """The loss of images that have several labels each."""
    return optax.sigmoid_binary_cross_entropy(logits, targets).mean()


def _right(logits, targets):
    """Share of labels that are told right."""
    return ((logits > 0) == (targets > 0.5)).mean()
