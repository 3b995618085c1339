"""Gradients at examples, and what their mean has to do with expanded weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import weights
from sparsejax.models import convolve

pytestmark = pytest.mark.usefixtures("float64")


def net(params, x):
    h = checkpoint_name(jax.nn.relu(convolve(x, params[0])), "low")
    h = checkpoint_name(jax.nn.relu(convolve(h, params[1]) + 0.1), "high")
    return jax.nn.softmax(h.sum((0, 1)))


@pytest.fixture(scope="module")
def params(float64):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape))

    return draw(2, 2, 1, 3), draw(2, 2, 3, 2)


def slow(params, x):
    """Of the middle of "high" with respect to "low", gate by gate."""
    low = np.maximum(np.asarray(convolve(jnp.asarray(x), params[0])), 0)
    patch = low[1:3, 1:3]
    gate = np.tensordot(patch, np.asarray(params[1]), 3) + 0.1 > 0
    return np.where(gate, params[1], 0)


@pytest.mark.defaults
def test_against_gates_one_by_one(params, rng):
    x = rng.normal(size=(7, 5, 5, 1))
    each = np.stack([slow(params, one) for one in x])

    def ask(**more):
        return weights.gradients(net, params, x, "low", "high", **more)

    found = ask(batch_size=3)
    assert found.corner == found.position == (1, 1)
    np.testing.assert_allclose(found.weights, each.mean(0), atol=1e-12)
    kept = ask(average=False, units=[1])
    np.testing.assert_allclose(kept.weights, each[..., 1:], atol=1e-12)
    factors = weights.factor(np.moveaxis(kept.weights[..., 0], 0, -1), 1, "group")
    assert factors.channels.shape == (1, 3) and factors.maps.shape == (2, 2, 1, 7)


def test_from_input_to_output(params, rng):
    x = rng.normal(size=(3, 5, 5, 1))
    found = weights.gradients(net, params, x, None, None)
    run = jax.jit(jax.vmap(jax.jacobian(lambda x: net(params, x))))
    whole = run(x).mean(0)
    window = found.weights.shape[:2]
    inside = tuple(slice(a, a + n) for a, n in zip(found.corner, window, strict=True))
    wanted = np.moveaxis(np.asarray(whole), 0, -1)[inside]
    np.testing.assert_allclose(found.weights, wanted, atol=1e-12)


def test_gates_that_open_by_chance_scale_expanded_weights(rng):
    """Half of all gates are open on symmetric inputs, whatever the weights are."""
    params = rng.normal(size=(6, 40)), rng.normal(size=(40, 2))

    def fn(params, x):
        return jax.nn.relu(x @ params[0]) @ params[1]

    x = rng.normal(size=(500, 6))
    x = np.concatenate([x, -x])
    found = weights.gradients(fn, params, x, None, None, batch_size=500)
    whole = weights.expand(fn, params, None, None, size=(6,))
    np.testing.assert_allclose(found.weights, whole.weights / 2, atol=1e-10)


def test_what_does_not_fit(params):
    x = np.zeros((2, 5, 5, 1))

    def ask(*ends, **more):
        return weights.gradients(net, params, x, *ends, **more)

    with pytest.raises(ValueError, match="no path leads from 'high' to 'low'"):
        ask("high", "low")
    with pytest.raises(ValueError, match="no activation 'middle'; it names 'low'"):
        ask("middle", None)
    with pytest.raises(ValueError, match="there are no units"):
        ask("low", None, units=[2])
    with pytest.raises(ValueError, match="need examples in batches, got 2, 0 a time"):
        ask("low", None, batch_size=0)
