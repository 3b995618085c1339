"""Scores: one number a weight or unit, higher = keep.

Any function that returns a tree of the structure of the mask is a score; these are the
usual ones.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from sparsejax import lift


def magnitude(params: PyTree) -> PyTree:
    """|w|.

    Reference:
        Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient
        Neural Networks", 2015, arXiv:1506.02626.
    """
    return jax.tree.map(jnp.abs, params)


def random(key: Key[Array, ""], params: PyTree) -> PyTree:
    """Independent uniform numbers: a random order of the weights."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    draw = lambda key, leaf: jax.random.uniform(key, jnp.shape(leaf))
    return jax.tree.unflatten(structure, [*map(draw, keys, leaves)])


def snip(params: PyTree, grads: PyTree) -> PyTree:
    """|w g|, the loss's first-order change when a weight is removed.

    Args:
        params: parameters.
        grads: gradient of the loss with respect to them, usually at initialisation,
            over a batch.

    Reference:
        Lee, Ajanthan, Torr, "SNIP: Single-shot Network Pruning based on Connection
        Sensitivity", 2018, arXiv:1810.02340.
    """
    return jax.tree.map(lambda w, g: jnp.abs(w * g), params, grads)


def activation_std(
    fn: Callable, params: PyTree, *args: Any, names: Iterable[str] | None = None
) -> dict[str, Array]:
    """Standard deviation of every unit over examples (and places in the image).

    Args:
        fn: `fn(params, *args)` with named activations `(examples, ..., units)`.
        params: parameters.
        *args: a batch of inputs.
        names: which activations; by default all.

    Returns:
        `{name: (units,)}`, the structure of `Masks.nodes`. Constant units score 0.

    Reference:
        Hobson, "Neural Networks, More than you wanted to Show".
    """
    _, acts = lift.activations(fn, names, units=True)(params, *args)
    return {name: jnp.std(h, axis=tuple(range(h.ndim - 1))) for name, h in acts.items()}
