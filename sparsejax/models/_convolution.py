"""Convolution of images with zeros around them."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax import interpret


def convolve(
    x: Float[Array, "*batch height width channels"],
    kernel: Float[Array, "tall wide channels units"],
    stride: int = 1,
    padding: int = 0,
) -> Float[Array, "*batch rows columns units"]:
    """Correlation of images with a kernel, zeros around them on all sides.

    On CPUs its derivatives are those of products, equal to rounding: XLA's are slow
    inside loops and under `vmap`, that is, wherever we train (see
    `benchmarks/README.md`). Where `x` is infinite they, and values of few units beside
    them, are NaN at its neighbors too. Analyses of a derivative see these products.

    Example:
        >>> x, kernel = jnp.array([1.0, 2.0, 4.0, 8.0]), jnp.array([-1.0, 1.0])
        >>> convolve(x.reshape(1, 4, 1), kernel.reshape(1, 2, 1, 1)).ravel().tolist()
        [1.0, 2.0, 4.0]
    """
    x = pad(x, padding)
    y = interpret.convolution(x.reshape(-1, *x.shape[-3:]), kernel, stride)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def pad(x: Float[Array, "..."], width: int, value: float = 0.0) -> Float[Array, "..."]:
    """Images with a border of one value."""
    around = [(0, 0)] * (x.ndim - 3) + [(width, width)] * 2 + [(0, 0)]
    return jnp.pad(x, around, constant_values=value) if width else x
