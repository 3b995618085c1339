"""Losses and their gradients over the input square."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from sparsejax import checks, interpret


class HeatMaps(NamedTuple):
    """The loss at every point of a square, and its gradient to the mask.

    Attributes:
        loss: shape (size, size).
        gradients: shape (n, size, size).
    """

    loss: Float[np.ndarray, "rows columns"]
    gradients: Float[np.ndarray, "nodes rows columns"]


def heat_maps(
    loss: Callable[[Array, Array], Array],
    mask: ArrayLike,
    *,
    extent: float | int = 1.0,
    size: int = 101,
) -> HeatMaps:
    """The loss and its gradient to every node, at every point of the input square.

    Args:
        loss: `loss(mask, point) -> number`, with the mask (n,) and the point (2,).
        mask: may be fractional.
        extent: the square is [-extent, extent]^2, edges included.
        size: points a side, two at least.

    Returns:
        `HeatMaps`, as images: the first coordinate grows to the right, the second
        upwards, so row 0 is at its largest.

    Example:
        >>> maps = heat_maps(lambda mask, point: mask @ point, np.ones(2), size=3)
        >>> maps.loss.tolist()  # x + y
        [[0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], [-2.0, -1.0, 0.0]]
        >>> maps.gradients[1].tolist()  # y
        [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -1.0, -1.0]]
    """
    checks.array(mask, "mask", before="point, ")
    mask = jnp.asarray(mask)
    if not jnp.issubdtype(mask.dtype, jnp.inexact):
        mask = mask.astype(jnp.float32)
    if mask.ndim != 1 or not mask.size:
        raise ValueError(f"mask must be a vector over nodes, got shape {mask.shape}")
    if not 0 < extent < math.inf or size < 2:
        raise ValueError(f"no square of {size}x{size} points to {extent}")
    side = np.linspace(-extent, extent, size)
    points = np.stack(np.meshgrid(side, side[::-1]), axis=-1).astype(mask.dtype)
    shape = jax.eval_shape(loss, mask, points[0, 0])
    if getattr(shape, "shape", None) != () or shape.dtype.kind not in "fV":
        raise ValueError(
            "loss(mask, point) of one point must return a floating-point number, got "
            f"{shape}"
        )
    both = jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0))

    def maps(mask):
        return jax.lax.map(lambda row: both(mask, row), points)

    losses, gradients = jax.device_get(interpret.Compiled(maps)(mask))
    bad = np.argwhere(~(np.isfinite(losses) & np.isfinite(gradients).all(axis=-1)))
    if len(bad):
        raise ValueError(
            f"the loss or its gradient is not finite at {len(bad)} of {size * size} "
            f"points; the first is {points[tuple(bad[0])].tolist()}"
        )
    return HeatMaps(losses, np.moveaxis(gradients, -1, 0))
