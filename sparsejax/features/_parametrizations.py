"""What is optimised instead of an image's values.

Steps of the same length in frequencies, divided by the frequency, move what is large
first: pictures come out smooth and whole. Steps in pixels give the noise that networks
are sensitive to.

Everything is for one image of shape (*places, channels), with one or two axes of
places. Values are unbounded, around 0: `render` brings them between bounds.

Paper: Olah et al., "Feature Visualization", Distill, 2017.
"""

import functools as ft
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sparsejax import checks


class Parametrization(NamedTuple):
    """Pure functions between what is optimised and an image.

    Attributes:
        init: `init(key, size, dtype) -> state`, a tree of arrays; `size` is the shape
            of the image, (*places, channels).
        image: `image(state, size) -> image`.
    """

    init: Callable
    image: Callable


@ft.cache
def fourier(decay: float = 1.0, sd: float = 0.01) -> Parametrization:
    """Frequencies, each divided by its size to the power of `decay`.

    image = 1/4 irfft(z / max(f, 1/n)^decay), a unitary transform; n is the longest
    side, f the frequency in cycles a pixel. What is optimised is z, its real and
    imaginary parts along a last axis.

    Args:
        decay: 0 for white noise, 1 for the spectrum of photographs.
        sd: of the parts at the start.

    Example:
        >>> make = fourier()
        >>> state = make.init(jax.random.key(0), (8, 9, 3), jnp.float32)
        >>> state.shape, make.image(state, (8, 9, 3)).shape
        ((8, 5, 3, 2), (8, 9, 3))
    """

    def init(key, size, dtype):
        checks.one_key(key)
        *places, channels = size
        shape = *places[:-1], places[-1] // 2 + 1, channels, 2
        return sd * jax.random.normal(key, shape, dtype)

    def image(state, size):
        places = size[:-1]
        scale = jnp.asarray(_sizes(places) ** -decay, state.dtype)
        parts = state * scale[..., None, None]
        spectrum = jax.lax.complex(parts[..., 0], parts[..., 1])
        axes = range(len(places))
        return jnp.fft.irfftn(spectrum, places, tuple(axes), norm="ortho") / 4

    return Parametrization(init, image)


@ft.cache
def pixels(sd: float = 0.01) -> Parametrization:
    """The image's own values; `sd` is their deviation at the start.

    Example:
        >>> make = pixels()
        >>> state = make.init(jax.random.key(0), (8, 9, 3), jnp.float32)
        >>> bool((make.image(state, (8, 9, 3)) == state).all())
        True
    """

    def init(key, size, dtype):
        checks.one_key(key)
        return sd * jax.random.normal(key, size, dtype)

    return Parametrization(init, lambda state, size: state)


def _sizes(places: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """The size of every frequency of a real transform; of the lowest ones 1/n."""
    *rest, last = places
    axes = [*(np.fft.fftfreq(n) for n in rest), np.fft.rfftfreq(last)]
    squares = sum(grid**2 for grid in np.meshgrid(*axes, indexing="ij"))
    return np.maximum(np.sqrt(squares), 1 / max(places))
