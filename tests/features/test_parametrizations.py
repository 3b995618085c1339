"""Frequencies against sums of waves, one by one."""

import itertools as it

import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import features

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("float64")]

SIZES = [(6, 2), (7, 1), (4, 6, 3), (5, 4, 1), (4, 5, 2), (1, 3, 1)]


def waves(state, size, decay):
    """The image as a sum of cosines and sines."""
    *places, channels = size
    image = np.zeros(size)
    half = places[-1] // 2 + 1
    for at in it.product(*map(range, (*places[:-1], half))):
        cycles = [min(k, n - k) / n for k, n in zip(at, places)]
        divisor = max(np.linalg.norm(cycles), 1 / max(places)) ** decay
        alone = at[-1] == 0 or 2 * at[-1] == places[-1]
        for place in it.product(*map(range, places)):
            angle = 2 * np.pi * sum(k * p / n for k, p, n in zip(at, place, places))
            real, imaginary = state[at][:, 0], state[at][:, 1]
            wave = real * np.cos(angle) - imaginary * np.sin(angle)
            image[place] += (1 if alone else 2) * wave / divisor
    return image / np.sqrt(np.prod(places)) / 4


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_fourier_is_a_sum_of_waves(size, decay, getkey):
    make = features.fourier(decay, sd=1.0)
    state = make.init(getkey(), size, jnp.float64)
    found = make.image(state, size)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, waves(state, size, decay), atol=1e-12)


def test_numpy_agrees(getkey):
    size = (9, 8, 3)
    make = features.fourier(sd=1.0)
    state = np.asarray(make.init(getkey(), size, jnp.float64))
    y, x = np.fft.fftfreq(9)[:, None], np.fft.rfftfreq(8)[None]
    scale = 1 / np.maximum(np.hypot(y, x), 1 / 9)
    spectrum = (state[..., 0] + 1j * state[..., 1]) * scale[..., None]
    wanted = np.fft.irfft2(spectrum, (9, 8), (0, 1), norm="ortho") / 4
    np.testing.assert_allclose(make.image(state, size), wanted, atol=1e-12)


def test_pixels_are_the_image(getkey):
    make = features.pixels(0.5)
    state = make.init(getkey(), (30, 40, 2), jnp.float32)
    assert state.shape == (30, 40, 2) and state.dtype == jnp.float32
    assert make.image(state, (30, 40, 2)) is state
    assert abs(state.std() - 0.5) < 0.05


def test_choices_are_the_same_object_so_that_they_compile_once():
    assert features.fourier() is features.fourier()
    assert features.channel("h", 3) is features.channel("h", 3)
    assert features.standard((28, 28)) is features.standard((28, 28))
    assert features.pixels() is features.pixels()
