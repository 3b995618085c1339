"""Convolutions whose derivatives are fast inside loops on CPUs, too.

XLA brings a convolution into the one form that its kernels for CPUs know in the entry
of a program alone. Inside of loops, that is, wherever we train, values have that form
as they are, but derivatives do not, and are computed number by number: a layer of
ResNet-20 takes 480 ms there, and 22 with the products below (`benchmarks/README.md`).
"""

import functools
import itertools as it

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# A product with 6 columns leaves most of a core idle: few units are derived by products
# that make those of several neighbors in a row at once.
_FEW, _TILE = 8, 4


def convolution(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "tall wide channels units"],
    stride: int = 1,
) -> Float[Array, "batch rows columns units"]:
    """Correlation of images with a kernel; on CPUs products are its derivatives.

    Example:
        >>> x, kernel = jnp.array([1.0, 2.0, 4.0, 8.0]), jnp.array([-1.0, 1.0])
        >>> convolution(x.reshape(1, 1, 4, 1), kernel.reshape(1, 2, 1, 1)).ravel().tolist()
        [1.0, 2.0, 4.0]
    """  # noqa: E501
    fits = all(n >= k for n, k in zip(x.shape[1:3], kernel.shape[:2], strict=True))
    by_products = fits and jax.default_backend() == "cpu"  # else nothing comes out
    return (_on_cpus if by_products else _by_xla)(x, kernel, stride)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _on_cpus(x, kernel, stride):
    """What analyses know, XLA's or patches, and other products where it is derived."""
    if _is_narrow(kernel, stride):
        return jnp.concatenate(_patches(x, kernel, stride), axis=-1) @ _flat(kernel)
    return _by_xla(x, kernel, stride)


@_on_cpus.defjvp
def _on_cpus_jvp(stride, primals, tangents):
    if _is_narrow(primals[1], stride):
        return jax.jvp(_by_tiles, primals, tangents)  # known as a convolution, too
    (x, kernel), (along_x, along_kernel) = primals, tangents
    y, wide = _by_xla(x, kernel, stride), kernel.shape[1]
    if (
        stride > 1 and wide > 1
    ):  # what is transposed has the axes that XLA's kernels know
        slope = _by_xla(along_x, kernel.swapaxes(2, 3), stride, "HWOI")
        return y, slope + _by_patches(x, along_kernel, stride)
    product = _by_rows if wide > 1 else functools.partial(_by_patches, stride=stride)
    return y, jax.jvp(product, primals, tangents)[1]


def _is_narrow(kernel, stride: int) -> bool:
    _, wide, channels, units = kernel.shape
    few = units <= _FEW or units > 2 * channels
    return few and stride == 1 and 1 < wide <= _TILE + 1


def _by_xla(x, kernel, stride, axes="HWIO"):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", axes, "NHWC")
    )


def _by_patches(x, kernel, stride: int = 1):
    """One product of all patches with the kernel."""
    return _times(_patches(x, kernel, stride), _flat(kernel))


def _patches(x, kernel, stride: int):
    """What each place of the kernel meets."""
    tall, wide = kernel.shape[:2]
    down, across = x.shape[-3] - tall + 1, x.shape[-2] - wide + 1
    return [
        x[..., i : i + down : stride, j : j + across : stride, :]
        for i, j in it.product(range(tall), range(wide))
    ]


def _flat(kernel):
    return kernel.reshape(-1, kernel.shape[-1])


def _by_rows(x, kernel):
    """One product of a row's patches with all rows of the kernel, then shifted sums.

    A kernel's rows are columns of the matrix: of every image three copies are read and
    as many are written, where patches are nine.
    """
    tall, wide, channels, units = kernel.shape
    down, across = x.shape[-3] - tall + 1, x.shape[-2] - wide + 1
    matrix = jnp.moveaxis(kernel, 0, 2).reshape(wide * channels, tall * units)
    y = _times([x[..., j : j + across, :] for j in range(wide)], matrix)
    rows = jax.lax.split(y, [units] * tall, axis=y.ndim - 1)  # its transpose is cheap
    return sum(row[..., i : i + down, :, :] for i, row in enumerate(rows))


def _times(parts, matrix):
    """A product with parts side by side, as a matrix: its transpose copies nothing."""
    side_by_side = jnp.concatenate(parts, axis=-1)
    y = side_by_side.reshape(-1, len(matrix)) @ matrix
    return y.reshape(*side_by_side.shape[:-1], y.shape[-1])


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
    y = _times(strips, _matrix(kernel))
    y = y.reshape(*y.shape[:-1], _TILE, units)  # by itself, for explicit meshes
    return y.reshape(*y.shape[:-3], count * _TILE, units)[..., :across, :]


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
