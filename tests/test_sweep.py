"""Sweeps against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj


def fn(params, x):
    h = checkpoint_name(jnp.tanh(x @ params["a"]), "hidden_0")
    return h @ params["b"]


@pytest.fixture
def loss(rng):
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    params, x, y = {"a": draw(3, 6), "b": draw(6, 2)}, draw(8, 3), draw(8, 2)
    weights = sj.masks.ones(fn, params, x).weights
    apply = sj.masked(fn)

    def loss(nodes):
        return jnp.mean((apply(params, sj.masks.Masks(weights, nodes), x) - y) ** 2)

    return loss


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_all_subsets_equal_a_loop_whatever_the_batch(loss, batch_size):
    masks = {"hidden_0": sj.masks.subsets(6)}
    values = sj.sweep.evaluate(loss, masks, batch_size=batch_size, progress=False)
    one = jax.jit(loss)
    loop = [one({"hidden_0": row}) for row in masks["hidden_0"]]
    np.testing.assert_allclose(values, np.array(loop), rtol=1e-5)


def test_generated_masks_are_the_same_whatever_the_batch(loss):
    key = jax.random.key(3)
    make = lambda index: {
        "hidden_0": sj.masks.bernoulli(jax.random.fold_in(key, index), jnp.ones(6), 0.5)
    }
    both = lambda nodes: {"mask": nodes["hidden_0"], "loss": loss(nodes)}
    run = lambda n: sj.sweep.evaluate(
        both, make, count=50, batch_size=n, progress=False
    )
    few, many = run(3), run(50)
    np.testing.assert_array_equal(few["mask"], many["mask"])
    np.testing.assert_allclose(few["loss"], many["loss"], rtol=1e-6)
    assert 0.3 < few["mask"].mean() < 0.7


def test_values_and_gradients_with_respect_to_masks(loss):
    masks = {"hidden_0": sj.masks.subsets(6)}
    values, grads = sj.sweep.evaluate(
        jax.value_and_grad(loss), masks, batch_size=10, progress=False
    )
    np.testing.assert_allclose(values[9], loss({"hidden_0": masks["hidden_0"][9]}))
    row = jax.grad(loss)({"hidden_0": masks["hidden_0"][9]})
    np.testing.assert_allclose(
        grads["hidden_0"][9], row["hidden_0"], rtol=1e-5, atol=1e-6
    )


def test_bad_input(loss):
    with pytest.raises(ValueError, match="pass count="):
        sj.sweep.evaluate(loss, lambda i: {"hidden_0": jnp.ones(6)})
    with pytest.raises(ValueError, match="different lengths: {'a': .2,., 'b': .3,.}"):
        sj.sweep.evaluate(lambda m: m, {"a": jnp.ones(2), "b": jnp.ones(3)})
    with pytest.raises(ValueError, match="count is 3, but there are 2"):
        sj.sweep.evaluate(lambda m: m, jnp.ones((2, 4)), count=3)
    with pytest.raises(ValueError, match="cannot evaluate 0 masks"):
        sj.sweep.evaluate(lambda m: m, jnp.ones((0, 4)))
