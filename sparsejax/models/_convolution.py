"""Convolution, written so that it is fast where we train."""

import itertools as it

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def convolve(
    x: Float[Array, "*batch height width channels"],
    kernel: Float[Array, "tall wide channels units"],
    stride: int = 1,
    padding: int = 0,
) -> Float[Array, "*batch rows columns units"]:
    """Correlation of images with a kernel, zeros around them on all sides.

    On CPUs a dot product over patches: XLA's convolutions there are slow inside loops
    and under `vmap`, that is, wherever we train (see `benchmarks/README.md`).

    Example:
        >>> x, kernel = jnp.array([1.0, 2.0, 4.0, 8.0]), jnp.array([-1.0, 1.0])
        >>> convolve(x.reshape(1, 4, 1), kernel.reshape(1, 2, 1, 1)).ravel().tolist()
        [1.0, 2.0, 4.0]
    """
    x = pad(x, padding)
    if jax.default_backend() != "cpu":
        y = jax.lax.conv_general_dilated(
            x.reshape(-1, *x.shape[-3:]), kernel, (stride, stride), "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return y.reshape(*x.shape[:-3], *y.shape[1:])
    tall, wide, channels, units = kernel.shape
    down, across = x.shape[-3] - tall + 1, x.shape[-2] - wide + 1
    patches = [
        x[..., i : i + down : stride, j : j + across : stride, :]
        for i, j in it.product(range(tall), range(wide))
    ]
    flat = kernel.reshape(tall * wide * channels, units)
    return jnp.concatenate(patches, axis=-1) @ flat


def pad(x: Float[Array, "..."], width: int, value: float = 0.0) -> Float[Array, "..."]:
    """Images with a border of one value."""
    around = [(0, 0)] * (x.ndim - 3) + [(width, width)] * 2 + [(0, 0)]
    return jnp.pad(x, around, constant_values=value) if width else x
