"""Random variations of one sample, each a pure function `augment(key, x) -> x`.

A variation depends on its key and on the sample alone. The same arguments make the same
function, so that what is compiled for it is found again. Images have shape (height,
width, channels) and values in [0, 1], and keep both.
"""

import functools as ft
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from sparsejax import checks

__all__ = [
    "Augment",
    "brightness",
    "compose",
    "crop",
    "flip",
    "hue",
    "noise",
    "standard",
    "variations",
]


def __dir__() -> list[str]:
    return list(__all__)


Augment = Callable[[Key[Array, ""], Float[Array, "..."]], Float[Array, "..."]]


def variations(
    augment: Augment, key: Any, x: Float[Array, "..."], count: int
) -> Float[Array, "count ..."]:
    """As many variations of a sample; the first ones do not depend on their number.

    Raises:
        ValueError: for what is no key.

    Example:
        >>> x, key = jnp.zeros(2), jax.random.key(0)
        >>> four = variations(noise(), key, x, 4)
        >>> four.shape, bool((four[:2] == variations(noise(), key, x, 2)).all())
        ((4, 2), True)
    """
    checks.one_key(key)
    return _variations(augment, key, x, count)


@ft.partial(jax.jit, static_argnums=(0, 3))
def _variations(augment, key, x, count):
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))
    return jax.vmap(augment, (0, None))(keys, x)


@ft.cache
def compose(*augments: Augment) -> Augment:
    """One after the other, each with a key of its own; with none, the sample itself.

    Example:
        >>> augment = compose(lambda key, x: 2 * x, lambda key, x: x + 1)
        >>> augment(jax.random.key(0), 3.0)
        7.0
    """

    def augment(key, x):
        for i, step in enumerate(augments):
            x = step(jax.random.fold_in(key, i), x)
        return x

    return augment


def crop(area: Any = (0.2, 1.0)) -> Augment:
    """A random part of an image, of its own proportions, enlarged to its size.

    Args:
        area: smallest and largest share of the image.

    Example:
        >>> ramp = jnp.linspace(0.0, 1.0, 16)[None, :, None]
        >>> part = jax.jit(crop((0.25, 0.25)))(jax.random.key(0), ramp)
        >>> part.shape, round(float(part.max() - part.min()), 1)  # half of each side
        ((1, 16, 1), 0.5)
    """
    area = tuple(map(float, checks.several(area)))
    if len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
        raise ValueError(f"area must be 0 < smallest <= largest <= 1, got {area}")
    return _crop(area)


@ft.cache
def _crop(area: tuple[float, ...]) -> Augment:

    def augment(key, x):
        for_area, for_corner = jax.random.split(key)
        share = jax.random.uniform(for_area, (), x.dtype, area[0], area[1])
        scale = 1 / jnp.sqrt(share)
        size = jnp.asarray(x.shape[:2], x.dtype)
        at = jax.random.uniform(for_corner, (2,), x.dtype)
        shift = at * size * (1 - scale)
        scales = jnp.broadcast_to(scale, (2,))
        return jax.image.scale_and_translate(
            x, x.shape, (0, 1), scales, shift, "linear", antialias=False
        )

    return augment


@ft.cache
def flip() -> Augment:
    """Left and right, in every second case.

    Example:
        >>> image = jnp.array([[[1.0], [2.0]]])
        >>> keys = jax.random.split(jax.random.key(0), 16)
        >>> sorted({tuple(flip()(key, image).ravel().tolist()) for key in keys})
        [(1.0, 2.0), (2.0, 1.0)]
    """
    return lambda key, x: jnp.where(jax.random.bernoulli(key), x[:, ::-1], x)


@ft.cache
def brightness(most: float | int = 0.5) -> Augment:
    """All values times one random factor between 1 - most and 1 + most.

    Example:
        >>> new = brightness()(jax.random.key(0), jnp.array([0.2, 0.4]))
        >>> bool(0.1 <= new[0] <= 0.3), round(float(new[1] / new[0]), 3)
        (True, 2.0)
    """
    if not 0 <= most <= 1:
        raise ValueError(f"most must be in [0, 1], got {most}")

    def augment(key, x):
        factor = jax.random.uniform(key, (), x.dtype, 1 - most, 1 + most)
        return jnp.clip(x * factor, 0, 1)

    return augment


@ft.cache
def hue(most: float | int = 0.3) -> Augment:
    """Colours turned about grey, by up to so much of a whole turn, either way.

    A third of a turn makes red green; brightness, the mean of the channels, stays.

    Example:
        >>> new = hue()(jax.random.key(0), jnp.array([0.7, 0.5, 0.3]))
        >>> round(float(new.mean()), 3), bool(new[0] == 0.7)
        (0.5, False)
    """
    if not 0 <= most <= 0.5:
        raise ValueError(f"most must be in [0, 0.5], got {most}")

    def augment(key, x):
        if x.shape[-1] != 3:
            raise ValueError(f"hue is of three channels, got {x.shape[-1]}")
        angle = 2 * jnp.pi * jax.random.uniform(key, (), x.dtype, -most, most)
        across = jnp.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], x.dtype) / 3**0.5
        turn = jnp.eye(3, dtype=x.dtype) + jnp.sin(angle) * across
        turn += (1 - jnp.cos(angle)) * (across @ across)  # Rodrigues' formula
        return jnp.clip(x @ turn.T, 0, 1)

    return augment


def noise(scale: Any = 0.1) -> Augment:
    """Gaussian noise, for any array; nothing is clipped.

    Args:
        scale: standard deviation, a number or one for each value of the last axis.

    Example:
        >>> new = noise((0.0, 0.1))(jax.random.key(0), jnp.zeros((3, 2)))
        >>> new[:, 0].tolist(), bool((new[:, 1] == 0).any())
        ([0.0, 0.0, 0.0], False)
    """
    scales = tuple(map(float, checks.several(scale)))
    return _noise(scales if np.iterable(scale) else scales[0])


@ft.cache
def _noise(scale: float | tuple[float, ...]) -> Augment:

    def augment(key, x):
        return x + jnp.asarray(scale, x.dtype) * jax.random.normal(
            key, x.shape, x.dtype
        )

    return augment


@ft.cache
def standard(shape: tuple[int, ...]) -> Augment:
    """Crop, flip and brightness for images, noise for anything else.

    Example:
        >>> standard((2,)) is noise()
        True
        >>> image = jnp.zeros((8, 8, 3))
        >>> jax.eval_shape(standard(image.shape), jax.random.key(0), image).shape
        (8, 8, 3)
    """
    return compose(crop(), flip(), brightness()) if len(shape) == 3 else noise()
