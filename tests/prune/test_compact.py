"""Folding idle units away leaves the function equal."""

import functools as ft

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


def smaller(fn, params, x):
    """The parameters without idle units, and which units stay."""
    small = prune.compact(fn, params, None, x)
    return small.params, small.report.kept


def widths(params):
    return tuple(layer["kernel"].shape[-1] for layer in params.values())


def by_numpy(params, x):
    *hidden, (kernel, bias) = [(p["kernel"], p["bias"]) for p in params.values()]
    for w, b in hidden:
        x = np.maximum(x @ np.asarray(w) + np.asarray(b), 0)
    return x @ np.asarray(kernel) + np.asarray(bias)


MLP = models.mlp((9, 8, 7), 4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("density", [0.04, 0.15, 0.4])
def test_mlp_is_equal_and_has_no_idle_units_left(seed, density, rng):
    x = rng.normal(size=(50, 12)).astype(np.float32)
    params = sparse(MLP, x, density, seed)
    small, kept = smaller(MLP.apply, params, x)
    expected = by_numpy(params, x)
    np.testing.assert_allclose(by_numpy(small, x), expected, rtol=1e-4, atol=1e-5)
    if seed == 0:  # the model of that width is the same function
        *hidden, outputs = widths(small)
        out = models.mlp(hidden, outputs).apply(small, jnp.asarray(x))
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    assert [len(kept[f"hidden_{i}"]) for i in range(3)] == list(widths(small)[:-1])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("density", [0.05, 0.2])
def test_convnet_is_equal(seed, density, rng):
    x = jnp.asarray(rng.normal(size=(5, 10, 9, 2)), jnp.float32)
    model = models.convnet((4, 5, 3), 6)
    params = sparse(model, x, density, seed)
    small, _ = smaller(model.apply, params, x)
    *channels, outputs = widths(small)
    narrow = models.convnet(channels, outputs)
    np.testing.assert_allclose(
        narrow.apply(small, x), model.apply(params, x), rtol=1e-4, atol=1e-4
    )


def test_constant_units_are_constant_and_unread_ones_unread(rng):
    x = jnp.asarray(rng.normal(size=(50, 12)), jnp.float32)
    model = models.mlp((9, 8), 4)
    params = sparse(model, x, 0.15, 3)
    found = prune.idle(model.apply, params, None, x)
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
    model, x = models.mlp((2, 2), 1), jnp.ones((2, 1), jnp.float32)
    found = prune.idle(model.apply, params, None, x)
    assert found["hidden_0"].constant.tolist() == [False, True]
    assert found["hidden_0"].unread.tolist() == [True, False]
    assert found["hidden_1"].constant.tolist() == [False, True]
    assert found["hidden_1"].unread.tolist() == [True, False]
    small, kept = smaller(model.apply, params, x)
    assert all(len(units) == 0 for units in kept.values())
    assert small["dense_2"]["bias"].tolist() == [51.0]  # 1 + 10 * relu(2 * 3 - 1)
