"""Convolution, written so that it is fast where we train."""

import itertools as it

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# On CPUs kernels of up to so many units are differentiated as products that make so
# many columns at once: a product with 6 columns leaves most of a core idle.
_FEW, _TILE = 8, 4


def convolve(
    x: Float[Array, "*batch height width channels"],
    kernel: Float[Array, "tall wide channels units"],
    stride: int = 1,
    padding: int = 0,
) -> Float[Array, "*batch rows columns units"]:
    """Correlation of images with a kernel, zeros around them on all sides.

    On CPUs a dot product over patches: XLA's convolutions there are slow inside loops
    and under `vmap`, that is, wherever we train (see `benchmarks/README.md`).
    Derivatives of few units come from larger products, equal to rounding; where `x` is
    infinite they, and the value beside them, are NaN at its neighbors too. Analyses of
    a derivative, or of a value with one, see these products.

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
    if stride == 1 and kernel.shape[-1] <= _FEW and 1 < kernel.shape[1] <= _TILE + 1:
        return _narrow(x, kernel)
    return _by_patches(x, kernel, stride)


def _by_patches(x, kernel, stride: int = 1):
    """One product of all patches with the kernel."""
    tall, wide, channels, units = kernel.shape
    down, across = x.shape[-3] - tall + 1, x.shape[-2] - wide + 1
    patches = [
        x[..., i : i + down : stride, j : j + across : stride, :]
        for i, j in it.product(range(tall), range(wide))
    ]
    flat = kernel.reshape(tall * wide * channels, units)
    return jnp.concatenate(patches, axis=-1) @ flat


@jax.custom_jvp
def _narrow(x, kernel):
    """Few units: patches, which analyses know, and tiles wherever it is derived."""
    return _by_patches(x, kernel)


@_narrow.defjvp
def _narrow_jvp(primals, tangents):
    return jax.jvp(_by_tiles, primals, tangents)


def _by_tiles(x, kernel):
    """One product that makes the units of several neighbors in a row at once.

    The kernel becomes a matrix with zeros: more is multiplied, in half the patches and
    by a product that is as wide as a core likes it.
    """
    tall, wide, channels, units = kernel.shape
    down, across = x.shape[-3] - tall + 1, x.shape[-2] - wide + 1
    count, more = -(-across // _TILE), (wide - 1) * channels
    around = [(0, 0)] * (x.ndim - 2) + [(0, count * _TILE - across), (0, 0)]
    *lead, width, _ = x.shape
    width += count * _TILE - across
    rows = jnp.pad(x, around).reshape(*lead, width * channels)
    tiles = rows[..., :-more].reshape(*lead, count, _TILE * channels)
    last = rows[..., -more:].reshape(*lead, 1, more)
    after = jnp.concatenate([tiles[..., 1:, :more], last], axis=-2)
    strips = jnp.concatenate([tiles, after], axis=-1)
    strips = [strips[..., i : i + down, :, :] for i in range(tall)]
    y = jnp.concatenate(strips, axis=-1) @ _matrix(kernel)
    return y.reshape(*y.shape[:-2], count * _TILE, units)[..., :across, :]


def _matrix(kernel):
    """The kernel at every place of a tile, `(tall window channels, tile units)`."""
    tall, wide, channels, units = kernel.shape
    window = _TILE + wide - 1
    places = [
        jnp.pad(kernel, [(0, 0), (j, _TILE - 1 - j), (0, 0), (0, 0)])
        for j in range(_TILE)
    ]
    matrix = jnp.stack(places, axis=-2)
    return matrix.reshape(tall * window * channels, _TILE * units)


def pad(x: Float[Array, "..."], width: int, value: float = 0.0) -> Float[Array, "..."]:
    """Images with a border of one value."""
    around = [(0, 0)] * (x.ndim - 3) + [(width, width)] * 2 + [(0, 0)]
    return jnp.pad(x, around, constant_values=value) if width else x
