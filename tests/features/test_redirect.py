"""Redirected ReLUs: the same values, and a way back where there was none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import features, lift

pytestmark = pytest.mark.usefixtures("float64")

FORMS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "maximum": lambda x: jnp.maximum(x, 0.0),
    "left": lambda x: jnp.maximum(0.0, x),
    "zeros": lambda x: jnp.maximum(x, jnp.zeros_like(x)),
    "clip": lambda x: jnp.clip(x, 0.0),
    "jit": jax.jit(lambda x: jax.nn.relu(x)),
    "remat": jax.checkpoint(jax.nn.relu),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_dead_layer_passes_what_pushes_up(form, rng):
    weights = rng.normal(size=4)

    def fn(x):
        return weights @ FORMS[form](x)

    dead, alive = -rng.uniform(1, 2, 4), np.array([-1.0, 2.0, -3.0, 4.0])
    for x in (dead, alive):
        assert features.redirected(fn, 1.0)(x) == fn(x)

    def slope(on, x):
        return jax.grad(features.redirected(fn, on))(x)

    np.testing.assert_array_equal(slope(1.0, dead), np.maximum(weights, 0))
    np.testing.assert_array_equal(slope(0.0, dead), np.zeros(4))
    for on in (0.0, 1.0):
        np.testing.assert_array_equal(slope(on, alive), jax.grad(fn)(alive))


def test_other_maxima_keep_their_rules(rng):
    def fn(x):
        return (jnp.maximum(x[:2], x[2:]) * jax.nn.softmax(x[:2])).sum()

    x = rng.normal(size=4)
    found = jax.grad(features.redirected(fn, 1.0))(x)
    np.testing.assert_allclose(found, jax.grad(fn)(x), rtol=1e-12)


def test_each_example_of_a_vmap_is_its_own():
    def fn(x):
        return jax.nn.relu(x).sum()

    x = np.array([[-1.0, -2.0], [1.0, -1.0]])
    found = jax.vmap(jax.grad(features.redirected(fn, 1.0)))(x)
    assert found.tolist() == [[1.0, 1.0], [1.0, 0.0]]


def test_names_are_still_there(rng):
    @jax.jit
    def fn(params, x):
        return checkpoint_name(jax.nn.relu(params @ x), "hidden").sum()

    params, x = rng.normal(size=(3, 2)), rng.normal(size=2)
    _, acts = lift.activations(features.redirected(fn, 1.0))(params, x)
    np.testing.assert_allclose(acts["hidden"], np.maximum(params @ x, 0))
