"""Scores against their definitions."""

import equinox as eqx
import flax.nnx as nnx
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
    [(models.mlp((7, 6), 2), (4,)), (models.convnet((3, 4), 2), (6, 7, 2))],
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


def mixed():
    """A tree of all that JAX takes for a leaf."""
    return {
        "bias": np.float32([1, -2]),
        "count": jnp.uint32(3),
        "flag": jnp.array([True, False]),
        "half": jnp.array([[1.0, -2.0]], jnp.bfloat16),
        "ids": jnp.array([[-128, 127]], jnp.int8),
        "key": jax.random.key(0),
        "keys": jax.random.split(jax.random.key(1), 3),
        "kernel": jnp.array([[-3.0, 0.5], [1e-40, 2.0]]),
        "none": None,
        "number": 2.5,
        "phase": jnp.array([3 + 4j]),
    }


def weights_of(tree):
    """Masks of what may be pruned: floating kernels."""

    def mask(path, leaf):
        return np.ones(np.shape(leaf) if path == "kernel" else ())

    return sj.trees.map_with_path(mask, tree)


def gradients(tree):
    def real(leaf):
        return jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.inexact)

    return jax.tree.map(lambda leaf: leaf if real(leaf) else np.zeros(3), tree)


@pytest.mark.parametrize(
    "score",
    [prune.magnitude, lambda t: prune.random(jax.random.key(0), t),
     lambda t: prune.snip(t, gradients(t))],
    ids=["magnitude", "random", "snip"],
)  # fmt: skip
def test_leaves_of_all_kinds_have_scores_or_none(score):
    tree = mixed()
    scores = score(tree)
    assert jax.tree.structure(scores) == jax.tree.structure(tree)
    assert scores["key"].shape == () and scores["kernel"].shape == (2, 2)
    new = prune.remove(scores, weights_of(tree), 0.25)
    assert {k: v.sum() for k, v in new.items() if k != "none"} == {
        k: 3.0 if k == "kernel" else 1.0 for k in tree if k != "none"
    }


def test_magnitudes_of_all_kinds():
    found = prune.magnitude(mixed())
    assert found["ids"].tolist() == [[128, 127]] and found["phase"].tolist() == [5]
    assert found["half"].tolist() == [[1, 2]] and found["flag"].tolist() == [
        True,
        False,
    ]
    assert np.asarray(found["kernel"])[1, 0] == np.float32(1e-40)  # not flushed
    assert found["number"] == 2.5 and found["count"] == 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_small_products_do_not_tie(dtype):
    """In float16 w g would be zero from 3e-8 on."""
    w, g = jnp.array([1e-4, 2e-4, 1.5e-4], dtype), jnp.full(3, 1e-5, dtype)
    scores = prune.snip({"w": w}, {"w": g})
    new = prune.remove(scores, {"w": jnp.ones(3)}, 2 / 3)
    assert new["w"].tolist() == [0, 1, 0]


class Tensor:
    """An array of another library."""

    shape, dtype, ndim = (2,), "torch.float32", 1


@pytest.mark.parametrize(
    "leaf", [len, "text", Tensor(), np.array([None])], ids=["f", "str", "tensor", "o"]
)
@pytest.mark.parametrize(
    "score", [prune.magnitude, lambda t: prune.random(jax.random.key(0), t),
              lambda t: prune.snip(t, t)], ids=["magnitude", "random", "snip"]
)  # fmt: skip
def test_leaves_that_are_no_arrays_are_named(score, leaf):
    tree = {"w": jnp.ones(2), "layer": {"activation": leaf}}
    message = (
        r"params has leaves that are not arrays \('layer/activation'\); params, static "
        r"= eqx.partition\(model, eqx.is_array\), and close over static"
    )
    with pytest.raises(ValueError, match=message):
        score(tree)


def test_models_of_equinox_and_nnx():
    model = eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"\('activation', 'final_activation'\)"):
        prune.magnitude(model)
    params, _ = eqx.partition(model, eqx.is_array)
    assert len(jax.tree.leaves(prune.magnitude(params))) == 4
    state = nnx.state(nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    assert [leaf.shape for leaf in jax.tree.leaves(prune.magnitude(state))] == [(), ()]


def test_wrong_arguments_of_scores():
    params = {"w": jnp.ones(2)}
    for key, message in (
        (jax.random.PRNGKey(0), "not jax.random.PRNGKey"),
        (0, "key must come from jax.random.key, got the int 0"),
        (jax.random.split(jax.random.key(0)), "key must be one key"),
    ):
        with pytest.raises(ValueError, match=message):
            prune.random(key, params)
    with pytest.raises(ValueError, match="grads must have the structure of params"):
        prune.snip(params, {"v": jnp.ones(2)})
    with pytest.raises(ValueError, match="gradient of 'w' is a .*Tensor"):
        prune.snip(params, {"w": Tensor()})
    assert prune.random(jax.random.key(0), {}) == {}


def test_one_name_or_a_generator_of_names():
    model, x = models.mlp((3,), 2), jnp.arange(8.0).reshape(4, 2)
    params = model.init(jax.random.key(0), x)
    whole = prune.activation_std(model.apply, params, x)
    for names in ("hidden_0", (name for name in ["hidden_0"]), ["hidden_0"]):
        found = prune.activation_std(model.apply, params, x, names=names)
        np.testing.assert_array_equal(found["hidden_0"], whole["hidden_0"])
