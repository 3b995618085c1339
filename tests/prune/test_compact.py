"""Folding idle units away leaves the function equal."""

import functools as ft

import equinox as eqx
import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import models, prune


@ft.partial(jax.jit, static_argnums=(0, 2))
def draw(model, x, density, seed):
    params = model.init(jax.random.key(seed), x)
    masks = sj.masks.ones(model.apply, params, x)
    drawn = sj.masks.bernoulli(jax.random.key(seed + 100), masks.weights, density)
    return params, drawn


def sparse(model, x, density, seed):
    """A model's parameters with random kernels removed and random biases."""
    params, drawn = draw(model, x, density, seed)
    noise = np.random.default_rng(seed)

    def shift(p, m):
        return p * m if m.ndim else p + jnp.asarray(noise.normal(size=p.shape), p.dtype)

    return jax.tree.map(shift, params, drawn)


def widths(params):
    return tuple(layer["kernel"].shape[-1] for layer in params.values())


def by_numpy(params, x):
    *hidden, (kernel, bias) = [(p["kernel"], p["bias"]) for p in params.values()]
    for w, b in hidden:
        x = np.maximum(x @ np.asarray(w) + np.asarray(b), 0)
    return x @ np.asarray(kernel) + np.asarray(bias)


MLP = models.mlp((9, 8, 7), 4)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("density", [0.04, 0.15, 0.4])
def test_mlp_is_equal_and_has_no_idle_units_left(seed, density, rng):
    x = rng.normal(size=(50, 12)).astype(np.float32)
    params = sparse(MLP, x, density, seed)
    small, kept = prune.compact(params)
    expected = by_numpy(params, x)
    np.testing.assert_allclose(by_numpy(small, x), expected, rtol=1e-4, atol=1e-5)
    if seed == 0:  # the model of that width is the same function
        *hidden, outputs = widths(small)
        out = models.mlp(hidden, outputs).apply(small, jnp.asarray(x))
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    assert [len(kept[f"hidden_{i}"]) for i in range(3)] == list(widths(small)[:-1])
    for units in prune.idle(small).values():
        assert not units.unread.any()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("density", [0.05, 0.2])
def test_convnet_is_equal(seed, density, rng):
    x = jnp.asarray(rng.normal(size=(5, 10, 9, 2)), jnp.float32)
    model = models.convnet((4, 5, 3), 6)
    params = sparse(model, x, density, seed)
    small, _ = prune.compact(params)
    *channels, outputs = widths(small)
    narrow = models.convnet(channels, outputs)
    np.testing.assert_allclose(
        narrow.apply(small, x), model.apply(params, x), rtol=1e-4, atol=1e-4
    )


def test_constant_units_are_constant_and_unread_ones_unread(rng):
    x = jnp.asarray(rng.normal(size=(50, 12)), jnp.float32)
    model = models.mlp((9, 8), 4)
    params = sparse(model, x, 0.15, 3)
    found = prune.idle(params)
    assert any(f.constant.any() for f in found.values())
    assert any(f.unread.any() for f in found.values())
    _, acts = sj.activations(model.apply)(params, x)
    spread = {name: np.ptp(h, axis=0) for name, h in acts.items()}
    for name, units in found.items():
        assert (spread[name][units.constant] == 0).all()
        shift = 7 * units.unread.astype(np.float32)
        flip = sj.edit(model.apply, {name: lambda h, shift=shift: h + shift})
        np.testing.assert_array_equal(flip(params, x), model.apply(params, x))


def test_chains_of_idle_units_by_hand():
    # 1 -> a, b; a -> c (b has no input); c -> nothing, d constant through b.
    def layer(kernel, bias):
        return {
            "kernel": jnp.array(kernel, jnp.float32),
            "bias": jnp.array(bias, jnp.float32),
        }

    params = {
        "dense_0": layer([[1, 0]], [0, 3]),
        "dense_1": layer([[1, 0], [0, 2]], [0, -1]),
        "dense_2": layer([[0], [10]], [1]),
    }
    found = prune.idle(params)
    assert found["hidden_0"].constant.tolist() == [False, True]
    assert found["hidden_0"].unread.tolist() == [True, False]
    assert found["hidden_1"].constant.tolist() == [False, True]
    assert found["hidden_1"].unread.tolist() == [True, False]
    small, kept = prune.compact(params)
    assert all(len(units) == 0 for units in kept.values())
    assert small["dense_2"]["bias"].tolist() == [51.0]  # 1 + 10 * relu(2 * 3 - 1)


def dense(inputs, outputs, **leaves):
    return {"kernel": jnp.ones((inputs, outputs)), "bias": jnp.ones(outputs), **leaves}


STACKED = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), {"dense_0": dense(2, 3)})


@pytest.mark.parametrize(
    "params, problem",
    [
        ({"norm_0": {"scale": jnp.ones(3)}}, "there is 'norm_0'"),
        (eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0)), "this is a equinox.*MLP"),
        (nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0))), "there is 'bias', 'kernel'"),
        ({"params": {"dense_0": dense(2, 3)}}, "there is 'params'"),
        (jnp.ones((2, 3)), r"this is float32 of shape \(2, 3\)"),
        (None, "this is None"),
        ([dense(2, 3)], "this is a list of 1"),
        ({}, "there is no 'dense_0'"),
        ({0: dense(2, 3)}, "there is 0"),
        ({"dense_1": dense(2, 3)}, "there is 'dense_1'"),
        ({"dense_0": dense(2, 3), "dense_00": dense(3, 3)}, "there is 'dense_00'"),
        ({"conv_0": {"kernel": jnp.ones((3, 3, 1, 2)), "bias": jnp.ones(2)}},
         "there is no 'dense_0'"),
        ({"dense_0": jnp.ones(3)}, r"'dense_0' is float32 of shape \(3,\)"),
        ({"dense_0": {"kernel": jnp.ones((2, 3))}}, "'dense_0' is a dict of 'kernel'"),
        ({"dense_0": dense(2, 3, scale=1)}, "is a dict of 'kernel', 'bias', 'scale'"),
        ({"dense_0": dense(2, 3, kernel=None)}, "'dense_0' has None"),
        ({"dense_0": dense(2, 3, kernel=len)}, "'dense_0' has a builtins"),
        ({"dense_0": dense(2, 3, bias=jnp.ones(2))},
         r"'dense_0' has shapes \(2, 3\) and \(2,\)\."),
        (STACKED, r"'dense_0' has shapes \(2, 2, 3\) and \(2, 3\); pass one network"),
        ({"conv_0": dense(2, 3), "dense_0": dense(3, 1)}, "'conv_0' has shapes"),
        ({"dense_0": dense(2, 3), "dense_1": dense(4, 1)},
         "'dense_1' reads 4 units, after a layer of 3"),
        ({"conv_0": {"kernel": jnp.ones((3, 3, 1, 2)), "bias": jnp.ones(2)},
          "dense_0": dense(7, 2)}, "'dense_0' reads 7 units, after a layer of 2"),
    ],
)  # fmt: skip
def test_other_networks_are_refused_in_one_line(params, problem):
    for call in (prune.compact, prune.idle):
        with pytest.raises(ValueError, match=problem) as error:
            call(params)
        text = str(error.value)
        assert "models.mlp and models.convnet" in text and "remove_nodes" in text
        assert "\n" not in text and len(text) < 500


def test_compacting_needs_values():
    params = {"dense_0": dense(2, 3), "dense_1": dense(3, 1)}
    with pytest.raises(ValueError, match="'dense_0' has float32.* jit or vmap traces"):
        jax.jit(lambda p: prune.compact(p)[0])(params)


def test_constants_alone_are_folded():
    """A weight that is infinite where nothing is constant stays where it is."""
    params = {"dense_0": dense(2, 3), "dense_1": dense(3, 1)}
    params["dense_1"]["kernel"] = jnp.array([[jnp.inf], [1.0], [2.0]])
    params["dense_0"]["kernel"] = jnp.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    small, kept = prune.compact(params)
    assert small["dense_1"]["bias"].tolist() == [3.0] and kept["hidden_0"].size == 2
