"""Derivatives of convolutions by products, against XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import models, relevance
from sparsejax.models import _convolution
from sparsejax.models._convolution import convolve


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 2, 1), (7, 2, 3), (1, 2, 0)]
)
def test_convolutions_are_xlas(size, stride, padding, rng):
    x, kernel = rng.normal(size=(2, 9, 8, 3)), rng.normal(size=(size, size, 3, 4))
    x, kernel = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    want = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    found = convolve(x, kernel, stride, padding)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(convolve(x[0], kernel, stride, padding), found[0])


@pytest.mark.parametrize(
    ("shape", "size", "units", "stride"),
    [
        ((2, 9, 8, 3), (3, 3), 6, 1), ((7, 11, 1), (3, 5), 12, 1),
        ((2, 1, 4, 3, 2), (4, 2), 6, 1), ((2, 9, 8, 5), (3, 3), 9, 1),
        ((7, 11, 6), (2, 7), 12, 1), ((2, 1, 4, 3, 6), (4, 2), 9, 1),
        ((2, 9, 8, 3), (3, 3), 6, 2), ((2, 9, 8, 3), (1, 1), 4, 1),
    ],
)  # fmt: skip
def test_derivatives_are_those_of_xla(shape, size, units, stride, rng):
    def ours(x, kernel):
        return convolve(x, kernel, stride)

    def xla(x, kernel):
        return _convolution._by_xla(x, kernel, stride)

    x, kernel = rng.normal(size=shape), rng.normal(size=(*size, shape[-1], units))
    pair = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    moves = jax.tree.map(jnp.cos, pair)
    want, slope = jax.jvp(xla, pair, moves)
    y, forward = jax.jvp(ours, pair, moves)
    y_back, back = jax.vjp(ours, *pair)
    close = {"rtol": 1e-4, "atol": 1e-4}
    for value in (ours(*pair), y, y_back):
        np.testing.assert_allclose(value, want, **close)
    np.testing.assert_allclose(forward, slope, **close)
    for found, theirs in zip(back(y), jax.vjp(xla, *pair)[1](y), strict=True):
        np.testing.assert_allclose(found, theirs, **close)


@pytest.mark.parametrize(
    ("channels", "units", "matrix"),
    [
        (2, 6, "36,24"),  # 3 rows of a window of 6; 4 places of 6 units
        (3, 9, "54,36"),
        (9, 10, "27,30"),  # 3 columns of 9 channels; 3 rows of 10 units
    ],
)
def test_the_product_that_derives(channels, units, matrix):
    x, kernel = jnp.ones((1, 6, 10, channels)), jnp.ones((3, 3, channels, units))
    program = jax.make_jaxpr(jax.jacfwd(convolve, argnums=1))(x, kernel)
    assert f",{matrix}]" in str(program) or f"[{matrix}]" in str(program)


def test_few_units_of_no_images(rng):
    x, kernel = jnp.ones((0, 5, 5, 2)), jnp.ones((3, 2, 2, 6))
    _, back = jax.vjp(convolve, x, kernel)
    shapes = [g.shape for g in back(jnp.ones((0, 3, 4, 6)))]
    assert (
        shapes == [x.shape, kernel.shape] and not back(jnp.ones((0, 3, 4, 6)))[1].any()
    )


@pytest.mark.parametrize(("size", "widths"), [(6, (6,)), (7, (6,)), (7, (10, 9))])
def test_values_beside_derivatives_are_known_as_convolutions(size, widths, rng):
    """Of a value with a gradient; the bias too, whether tiles are whole or cut."""
    model = models.convnet(widths, 3)
    x = jnp.asarray(rng.random((size, size, 1)), jnp.float32)
    params = model.init(jax.random.key(0), x[None])
    params["conv_0"]["bias"] = jnp.linspace(-0.2, 0.2, widths[0])
    rules = relevance.Rules(kinds={"conv": relevance.gamma()})

    def value(params, x):
        return model.apply(params, x[None])[0, :1]

    def beside_a_gradient(params, x):
        return jax.value_and_grad(lambda x: value(params, x)[0])(x)[0][None]

    @jax.jit
    def shares():
        return [
            relevance.explain(
                f, params, x, target=0, baseline="zero", rules=rules
            ).input
            for f in (value, beside_a_gradient)
        ]

    want, found = shares()
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)
