"""Back through a first layer of few channels: CPUs have a way of their own."""

import itertools as it

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import relevance

LAYOUTS = (
    ("NHWC", "HWIO", "NHWC"),
    ("NCHW", "OIHW", "NCHW"),
    ("HWNC", "IHWO", "CNHW"),
)
PADDINGS = ("SAME", "VALID", ((5, 0), (0, 7)), ((-1, 0), (0, -1)))
CASES = [
    (size, window, strides, spread)
    for size, window in (((7, 9), (3, 3)), ((8, 10), (2, 5)))
    for strides, spread in (((1, 1), (1, 1)), ((2, 3), (1, 1)), ((2, 1), (2, 1)))
]


@pytest.mark.parametrize(
    ("layout", "padding"), [*it.product(LAYOUTS, PADDINGS)], ids=str
)
def test_the_way_back_is_the_transpose(layout, padding, rng, float64):
    cases = []
    for size, window, strides, spread in CASES:
        x, kernel = rng.normal(size=(2, *size, 3)), rng.normal(size=(*window, 3, 4))
        x = jnp.asarray(x.transpose(["NHWC".index(c) for c in layout[0]]))
        kernel = kernel.transpose(["HWIO".index(c) for c in layout[1]])

        def fn(kernel, x, strides=strides, spread=spread):
            return jax.lax.conv_general_dilated(
                x, kernel, strides, padding, None, spread, layout
            )

        out = jax.eval_shape(fn, kernel, x)
        cases.append(
            (fn, jnp.asarray(kernel), x, jnp.asarray(rng.normal(size=out.shape)))
        )

    @jax.jit
    def run(arrays):
        pairs = []
        for (fn, *_), (kernel, x, weights) in zip(cases, arrays, strict=True):
            result = relevance.explain(fn, kernel, x, target=weights)
            (slopes,) = jax.vjp(lambda x, fn=fn, k=kernel: fn(k, x), x)[1](weights)
            pairs.append((result.multiplier, slopes))
        return pairs

    for found, slopes in run([case[1:] for case in cases]):
        np.testing.assert_allclose(found, slopes, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("units", [4, 32])
def test_kernels_of_fewer_digits_than_what_comes_back(units):
    def fn(kernel, x):
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUTS[0],
            preferred_element_type=jnp.float32,
        )  # fmt: skip

    x, kernel = (
        jnp.ones((1, 4, 5, 2), "bfloat16"),
        jnp.ones((3, 3, 2, units), "bfloat16"),
    )
    weights = jnp.ones((1, 4, 5, units), jnp.float32)
    found = relevance.explain(fn, kernel, x, target=weights).multiplier
    (slopes,) = jax.vjp(lambda x: fn(kernel, x), x)[1](weights)
    assert found.dtype == slopes.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found.astype("f4"), slopes.astype("f4"))
