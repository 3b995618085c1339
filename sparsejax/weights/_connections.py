"""What to look at first in a kernel, and from which side."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

Kernel = Float[ArrayLike, "..."]  # (*places, channels, units)


class Connections(NamedTuple):
    """The strongest inputs of every unit, strongest first.

    Attributes:
        inputs: their numbers, shape (n, units).
        norms: of the weights from each, same shape.
    """

    inputs: Int[Array, "n units"]
    norms: Float[Array, "n units"]


def strongest(kernel: Kernel, n: int) -> Connections:
    """The n input channels with the largest weights, by norm, or all if there are less.

    Among equals the lower number comes first.

    Example:
        >>> strongest(jnp.array([[1.0], [-3.0], [2.0]]), 2).inputs.tolist()
        [[1], [2]]
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    w = _checked(kernel, 2)
    norms = jnp.sqrt(jnp.square(w).sum(tuple(range(w.ndim - 2))))
    order = jnp.argsort(-norms, axis=0, stable=True)[:n]
    return Connections(order, jnp.take_along_axis(norms, order, axis=0))


class Directions(NamedTuple):
    """Weights as directions among the inputs, one for each place.

    Attributes:
        vectors: shape (units, *places, channels), to visualise as directions.
        strength: of each, relative to the unit's largest, shape (units, *places).
    """

    vectors: Float[Array, "units *places channels"]
    strength: Float[Array, "units *places"]


def directions(kernel: Kernel) -> Directions:
    """What a unit looks for at each place of its kernel; a dead unit has strength 0.

    Example:
        >>> kernel = jnp.array([[[3.0], [4.0]], [[0.0], [2.5]]])  # two places
        >>> places = directions(kernel)
        >>> places.vectors.tolist(), places.strength.tolist()
        ([[[3.0, 4.0], [0.0, 2.5]]], [[1.0, 0.5]])
    """
    vectors = jnp.moveaxis(_checked(kernel, 2), -1, 0)
    norms = jnp.linalg.norm(vectors, axis=-1)
    most = norms.max(tuple(range(1, norms.ndim)), keepdims=True)
    return Directions(vectors, norms / jnp.where(most > 0, most, 1))


def banding(kernel: Kernel) -> Float[Array, " units"]:
    """How far norms of weights vary from row to row rather than from column to column.

    The share of their variance over places that means of rows explain, less the share
    that means of columns do: 1 for horizontal bands, -1 for vertical ones, 0 for norms
    that are all the same.

    Example:
        >>> rows = jnp.array([[1.0, 1.0], [0.0, 0.0]])
        >>> kernel = jnp.stack([rows, rows.T], axis=-1)[:, :, None]  # two units
        >>> banding(kernel).tolist()
        [1.0, -1.0]

    Reference: Petrov et al., "Weight Banding", Distill, 2021.
    """
    w = _checked(kernel, 4)
    norms = jnp.linalg.norm(w, axis=-2)
    apart = norms - norms.mean((0, 1))

    def between(axis):
        return jnp.square(apart.mean(axis, keepdims=True)).mean((0, 1))

    whole = jnp.square(apart).mean((0, 1))
    flat = whole <= jnp.square(jnp.finfo(w.dtype).eps * norms.max((0, 1)))
    share = (between(1) - between(0)) / jnp.where(flat, 1, whole)
    return jnp.where(flat, 0, share)


def _checked(kernel, axes: int) -> Array:
    w = jnp.asarray(kernel)
    if w.ndim < axes:
        places = "(height, width, " if axes == 4 else "(..., "
        raise ValueError(
            f"expected a kernel of shape {places}channels, units), got {w.shape}"
        )
    return w
