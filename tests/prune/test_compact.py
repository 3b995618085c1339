"""Folding idle units away leaves the function equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import models, prune


def sparse(model, x, density, seed):
    """A model's parameters with random kernels removed and random biases."""
    params = model.init(jax.random.key(seed), x)
    masks = sj.masks.ones(model.apply, params, x)
    drawn = sj.masks.bernoulli(jax.random.key(seed + 100), masks.weights, density)
    noise = np.random.default_rng(seed)
    shift = lambda p, m: (
        p * m if m.ndim else p + jnp.asarray(noise.normal(size=p.shape), p.dtype)
    )
    return jax.tree.map(shift, params, drawn)


def widths(params):
    return tuple(layer["kernel"].shape[-1] for layer in params.values())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("density", [0.04, 0.15, 0.4])
def test_mlp_is_equal_and_has_no_idle_units_left(seed, density, rng):
    x = jnp.asarray(rng.normal(size=(50, 12)), jnp.float32)
    model = models.mlp((9, 8, 7, 4))
    params = sparse(model, x, density, seed)
    small, kept = prune.compact(params)
    narrow = models.mlp(widths(small))
    np.testing.assert_allclose(
        narrow.apply(small, x), model.apply(params, x), rtol=1e-4, atol=1e-5
    )
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
    model = models.mlp((9, 8, 4))
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
    layer = lambda kernel, bias: {
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


def test_foreign_layers_are_refused():
    params = {"norm_0": {"scale": jnp.ones(3), "bias": jnp.ones(3)}}
    with pytest.raises(ValueError, match="'norm_0'.*not one of models.mlp"):
        prune.compact(params)
