"""Convolutions as products of patches, against XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.models._convolution import convolve


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 2, 1), (7, 2, 3), (1, 2, 0)]
)
@pytest.mark.defaults
def test_convolutions_are_xlas(size, stride, padding, rng):
    x, kernel = rng.normal(size=(2, 9, 8, 3)), rng.normal(size=(size, size, 3, 4))
    x, kernel = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    want = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip

    @jax.jit
    def run(x):
        return convolve(x, kernel, stride, padding)

    found = run(x)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(run(x[0]), found[0], rtol=1e-5, atol=1e-5)
