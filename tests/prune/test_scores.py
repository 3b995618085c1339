"""Scores against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import models, prune

PARAMS = {"a": jnp.array([[-3.0, 0.5], [0.0, 2.0]]), "b": (jnp.array([-1.0]),)}


def assert_tree(got, a, b):
    assert jax.tree.structure(got) == jax.tree.structure(PARAMS)
    np.testing.assert_array_equal(got["a"], a)
    np.testing.assert_array_equal(got["b"][0], b)


def test_magnitude_is_the_absolute_value():
    assert_tree(prune.magnitude(PARAMS), [[3, 0.5], [0, 2]], [1])


def test_snip_is_the_absolute_product_with_the_gradient():
    grads = {"a": jnp.array([[2.0, -4.0], [5.0, 0.0]]), "b": (jnp.array([-0.5]),)}
    assert_tree(prune.snip(PARAMS, grads), [[6, 2], [0, 0]], [0.5])


def test_random_is_uniform_and_repeats_with_its_key():
    params = {"a": jnp.zeros((30, 40)), "b": {"c": jnp.zeros((30, 40))}}
    one, again, other = (prune.random(jax.random.key(i), params) for i in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    values = np.stack([one["a"], one["b"]["c"], other["a"]]).reshape(3, -1)
    assert (np.abs(np.corrcoef(values) - np.eye(3)) < 5 / np.sqrt(1200)).all()
    deciles = np.histogram(values, np.linspace(0, 1, 11))[0]
    assert np.abs(deciles - 360).max() < 5 * np.sqrt(360)


@pytest.mark.parametrize(
    "model, shape",
    [(models.mlp((7, 6, 2)), (4,)), (models.convnet((3, 4), 2), (6, 7, 2))],
)
def test_activation_std_is_that_of_a_unit_over_examples_and_places(model, shape, rng):
    x = rng.normal(size=(20, *shape)).astype(np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    params = jax.tree.map(lambda p: rng.normal(size=p.shape).astype("f4"), shapes)
    first = next(iter(params.values()))
    first["kernel"][..., 1], first["bias"][1] = 0, 5  # a constant unit
    run = jax.jit(
        lambda p, x: (
            prune.activation_std(model.apply, p, x),
            sj.activations(model.apply)(p, x)[1],
        )
    )
    scores, acts = jax.device_get(run(params, x))
    assert list(scores) == ["hidden_0", "hidden_1"]
    for name, h in acts.items():
        h = h.astype(np.float64).reshape(-1, h.shape[-1])
        expected = np.sqrt(((h - h.mean(axis=0)) ** 2).mean(axis=0))
        np.testing.assert_allclose(scores[name], expected, rtol=1e-4, atol=1e-6)
    nodes = sj.masks.ones(model.apply, params, x).nodes
    kept = jax.device_get(prune.remove(scores, nodes, 0.3))
    assert kept["hidden_0"][1] == 0
    for name, score in scores.items():
        removed = np.flatnonzero(kept[name] == 0)
        assert set(removed) == set(np.argsort(score)[: round(0.3 * len(score))])
