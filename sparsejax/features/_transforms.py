"""Small random changes of an image, so that what is found does not hang on one place.

A transform is a pure function `transform(key, image)` of an image (*places, channels),
with one or two axes of places. Motions (`jitter`, `scale`, `rotate`) are drawn as
matrices and multiplied, so that `warp` resamples the image once, whatever there are.

The image keeps its size: what comes in from outside is `fill`. (`pad` makes it larger,
for networks that take any size.)
"""

import functools as ft
import itertools as it
import math
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from sparsejax import checks

Transform = Callable[[Key[Array, ""], Array], Array]
# motion(key, axes, dtype) -> matrix of shape (axes + 1, axes + 1), from a place of the
# new image, in pixels from the middle, to the place of the old one that it shows.
Motion = Callable[..., Array]


@ft.cache
def jitter(pixels: int) -> Motion:
    """Up to so many whole pixels along every axis, all equally likely.

    Example:
        >>> motion = jax.jit(jitter(1), static_argnums=(1, 2))
        >>> keys = jax.random.split(jax.random.key(0), 16)
        >>> sorted({int(motion(key, 1, jnp.float32)[0, 1]) for key in keys})
        [-1, 0, 1]
    """
    if pixels < 0:
        raise ValueError(f"jitter is by 0 pixels or more, got {pixels}")

    def motion(key, axes, dtype):
        shift = jax.random.randint(key, (axes,), -pixels, pixels + 1).astype(dtype)
        return jnp.eye(axes + 1, dtype=dtype).at[:axes, axes].set(-shift)

    return motion


@ft.cache
def scale(low: float | int, high: float | int) -> Motion:
    """By a factor between `low` and `high`.

    Example:
        >>> scale(2.0, 2.0)(jax.random.key(0), 1, jnp.float32).tolist()
        [[0.5, 0.0], [0.0, 1.0]]
    """
    if not 0 < low <= high:
        raise ValueError(f"scale needs 0 < low <= high, got {low} and {high}")

    def motion(key, axes, dtype):
        factor = jax.random.uniform(key, (), dtype, low, high)
        inner = jnp.arange(axes + 1) < axes
        return jnp.diag(jnp.where(inner, 1 / factor, 1))

    return motion


@ft.cache
def rotate(degrees: float | int) -> Motion:
    """By up to so many degrees to either side; for images with two axes of places.

    Example:
        >>> cos = rotate(10.0)(jax.random.key(0), 2, jnp.float32)[0, 0]
        >>> bool(cos >= math.cos(math.radians(10.0)))
        True
    """

    def motion(key, axes, dtype):
        if axes != 2:
            raise ValueError(
                f"rotate needs two axes of places, this image has {axes}; leave it "
                "out of the motions"
            )
        most = math.radians(degrees)
        angle = jax.random.uniform(key, (), dtype, -most, most)
        cos, sin, zero, one = jnp.cos(angle), jnp.sin(angle), 0 * angle, 0 * angle + 1
        rows = [[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]]
        return jnp.stack([jnp.stack(row) for row in rows])

    return motion


@ft.cache
def warp(*motions: Motion, fill: float | int | None = 0.5) -> Transform:
    """The image after motions, one after the other; values between pixels are linear.

    Args:
        motions: from `jitter`, `scale`, `rotate`.
        fill: what is outside of the image; None repeats its border.

    Example:
        >>> image = jnp.arange(5.0)[:, None]
        >>> left = lambda key, axes, dtype: jnp.array([[1.0, 1.0], [0.0, 1.0]])
        >>> warp(left, fill=9.0)(jax.random.key(0), image)[:, 0].tolist()
        [1.0, 2.0, 3.0, 4.0, 9.0]
    """

    def transform(key, image):
        checks.one_key(key)
        axes = image.ndim - 1
        matrix = jnp.eye(axes + 1, dtype=image.dtype)
        for i, motion in enumerate(motions):
            matrix = matrix @ motion(jax.random.fold_in(key, i), axes, image.dtype)
        return resample(image, matrix, fill)

    return transform


@ft.cache
def pad(width: int, fill: float | int = 0.5) -> Transform:
    """A frame of so many pixels; the image gets larger.

    Example:
        >>> pad(1, fill=9.0)(jax.random.key(0), jnp.zeros((2, 1)))[:, 0].tolist()
        [9.0, 0.0, 0.0, 9.0]
    """
    if width < 0:
        raise ValueError(f"pad is by 0 pixels or more, got {width}")

    def transform(key, image):
        del key
        around = [(width, width)] * (image.ndim - 1)
        return jnp.pad(image, [*around, (0, 0)], constant_values=fill)

    return transform


def standard(places: int | Iterable, fill: float | int | None = 0.5) -> Transform:
    """What is usual, in proportion to the longest side.

    Jitter by 1/16, scale by 0.9 to 1.1, rotation by up to 10 degrees (of images with
    two axes), and jitter by 1/32.

    Args:
        places: sides of the image, one or two.
        fill: as of `warp`.

    Example:
        >>> transform, image = standard((64, 48)), jnp.zeros((64, 48, 3))
        >>> jax.eval_shape(transform, jax.random.key(0), image).shape
        (64, 48, 3)

    Reference: Olah et al., "Feature Visualization", Distill, 2017.
    """
    sides = checks.sizes(places, "places")
    side = max(sides)
    turn = (rotate(10),) if len(sides) == 2 else ()
    motions = jitter(-(-side // 16)), scale(0.9, 1.1), *turn, jitter(-(-side // 32))
    return warp(*motions, fill=fill)


def resample(
    image: Float[ArrayLike, "*places channels"],
    matrix: Float[ArrayLike, "n n"],
    fill: float | int | None,
) -> Float[Array, "*places channels"]:
    """The image whose place p shows `matrix @ p` of the given one, from the middle.

    Example:
        >>> image = jnp.array([[0.0], [2.0], [4.0]])
        >>> shift = jnp.array([[1.0, 0.5], [0.0, 1.0]])  # by half a pixel
        >>> resample(image, shift, fill=10.0)[:, 0].tolist()
        [1.0, 3.0, 7.0]
    """
    image, matrix = jnp.asarray(image), jnp.asarray(matrix)
    *places, channels = image.shape
    grid = jnp.stack(jnp.meshgrid(*map(jnp.arange, places), indexing="ij"))
    grid = grid.reshape(len(places), -1).astype(image.dtype)
    middle = (jnp.asarray(places, image.dtype)[:, None] - 1) / 2
    source = matrix[:-1, :-1] @ (grid - middle) + matrix[:-1, -1:] + middle
    low = jnp.floor(source)
    part = source - low
    flat = image.reshape(-1, channels)
    last = jnp.asarray(places, low.dtype)[:, None] - 1
    result = jnp.zeros_like(flat)
    for corner in it.product((0, 1), repeat=len(places)):
        at = low + jnp.asarray(corner, low.dtype)[:, None]
        weight = jnp.stack([p if c else 1 - p for c, p in zip(corner, part)]).prod(0)
        inside = jnp.clip(at, 0, last)
        index = jnp.ravel_multi_index(tuple(inside.astype(int)), places, mode="clip")
        value = flat[index]
        if fill is not None:
            value = jnp.where((at == inside).all(0)[:, None], value, fill)
        result += weight[:, None] * value
    return result.reshape(image.shape)
