"""Penalties against relevance by hand, their gradients against differences."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsejax import models
from sparsejax.relevance import _penalties as penalties

pytestmark = pytest.mark.usefixtures("float64")

CLASSES, PIXELS, TARGET = 4, 9, 2
PENALTIES = {
    "squared": penalties.outside_squared,
    "target": lambda *args: penalties.outside_target(*args, target=TARGET),
    "share": lambda *args: penalties.outside_share(*args, target=TARGET),
    "rrr": penalties.rrr,
}
REGION = np.arange(PIXELS) % 3 == 0


def network(seed):
    draw = np.random.default_rng(seed)
    sizes = [(PIXELS, 7), (7, 6), (6, CLASSES)]
    params = {
        f"dense_{i}": {
            "kernel": jnp.asarray(draw.normal(size=size)),
            "bias": jnp.asarray(draw.normal(size=size[1])),
        }
        for i, size in enumerate(sizes)
    }
    return models.mlp((7, 6), CLASSES).apply, params, jnp.asarray(draw.normal(size=9))


def by_hand(params, x):
    """Logits, and their derivatives by the input (pixels, classes), in NumPy."""
    h, jacobian = np.asarray(x), np.eye(PIXELS)
    for i in range(3):
        layer = {k: np.asarray(v) for k, v in params[f"dense_{i}"].items()}
        h, jacobian = h @ layer["kernel"] + layer["bias"], jacobian @ layer["kernel"]
        if i < 2:
            jacobian, h = jacobian * (h > 0), np.maximum(h, 0)
    return h, jacobian


def oracle(name, params, x, region=REGION):
    logits, jacobian = by_hand(params, x)
    relevance = np.asarray(x)[:, None] * jacobian
    if name == "squared":
        centered = relevance - relevance.mean(axis=1, keepdims=True)
        return sum(centered[i, k] ** 2 for i in range(PIXELS) for k in range(CLASSES)
                   if not region[i])  # fmt: skip
    if name == "target":
        return sum(relevance[~region, TARGET] ** 2)
    if name == "share":
        size = np.abs(relevance[:, TARGET])
        return size[~region].sum() / size.sum()
    chance = np.exp(logits) / np.exp(logits).sum()
    # d log p_k / dx = J_k - sum_j p_j J_j
    total = sum(jacobian[:, k] - jacobian @ chance for k in range(CLASSES))
    return (total[~region] ** 2).sum()


@ft.cache
def compiled(name):
    fn, _, _ = network(0)
    return jax.jit(lambda params, x: PENALTIES[name](fn, params, x, REGION))


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.defaults
def test_a_penalty_is_its_formula(name, seed):
    _, params, x = network(seed)
    found = compiled(name)(params, x)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, oracle(name, params, x), rtol=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
def test_gradients_are_differences(name):
    """Through the explanation, for every kernel."""
    fn, params, x = network(0)
    grads = jax.jit(jax.grad(lambda p: PENALTIES[name](fn, p, x, REGION)))(params)
    grads = jax.tree.map(np.asarray, grads)
    draw = np.random.default_rng(1)
    for layer in params:
        way = draw.normal(size=params[layer]["kernel"].shape)
        value = []
        for step in (1e-6, -1e-6):
            kernel = params[layer]["kernel"] + step * way
            moved = {**params, layer: {**params[layer], "kernel": kernel}}
            value.append(oracle(name, moved, x))
        wanted = (value[0] - value[1]) / 2e-6
        found = float((grads[layer]["kernel"] * way).sum())
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-8)


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 99), st.floats(0.1, 10))
def test_logits_that_move_together_cost_nothing_and_only_shares_have_no_unit(
    seed, scale
):
    fn, params, x = network(seed)
    last = params["dense_2"]
    same = np.random.default_rng(seed).normal(size=(6, 1))

    def change(kernel, bias):
        return {**params, "dense_2": {"kernel": kernel,
                                                             "bias": bias}}  # fmt: skip

    def value(name, p):
        return float(PENALTIES[name](fn, p, x, REGION))

    moved = change(last["kernel"] + same, last["bias"])
    for name in ("squared", "rrr"):
        assert value(name, moved) == pytest.approx(value(name, params), rel=1e-9)
    scaled = change(last["kernel"] * scale, last["bias"] * scale)
    for name, power in (("squared", 2), ("target", 2), ("share", 0)):
        wanted = value(name, params) * scale**power
        assert value(name, scaled) == pytest.approx(wanted, rel=1e-9)
    assert 0 <= value("share", params) <= 1


def test_one_logit_leaves_the_others_free():
    """The background decides by what it takes from the other logits."""

    def fn(kernel, x):
        return x @ kernel

    kernel = jnp.zeros((2, 3)).at[0, 1:].set(-5.0)  # pixel 0 is outside
    x, region = jnp.ones(2), jnp.array([False, True])
    assert penalties.outside_target(fn, kernel, x, region, target=0) == 0
    assert penalties.outside_share(fn, kernel, x, region, target=0) == 0
    np.testing.assert_allclose(
        penalties.outside_squared(fn, kernel, x, region), 150 / 9
    )


@pytest.mark.parametrize("name", PENALTIES)
def test_dead_networks_and_blank_images_give_finite_gradients(name):
    fn, params, x = network(0)
    dead = jax.tree.map(jnp.zeros_like, params)
    gradient = jax.jit(jax.grad(lambda p, x: PENALTIES[name](fn, p, x, REGION)))
    for p, image in ((dead, x), (params, jnp.zeros_like(x))):
        grads = gradient(p, image)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("name", PENALTIES)
def test_jit_vmap_and_images_change_nothing(name):
    fn, params, x = network(2)
    xs = jnp.stack([x, -x, x[::-1]])
    regions = jnp.stack([REGION, ~REGION, REGION])

    def image(p, x):
        return fn(p, x.reshape(-1))

    each = jax.jit(jax.vmap(lambda x, r: PENALTIES[name](image, params, x, r)))
    found = each(xs.reshape(3, 3, 3), regions.reshape(3, 3, 3))
    wanted = [oracle(name, params, *pair)
              for pair in zip(xs, np.asarray(regions), strict=True)]  # fmt: skip
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_region_of_another_shape_and_a_batch_are_refused(name):
    fn, params, x = network(0)
    with pytest.raises(ValueError, match=r"region has shape \(3, 3\), but x .* \(9,\)"):
        PENALTIES[name](fn, params, x, REGION.reshape(3, 3))
    with pytest.raises(ValueError, match=r"shapes \[\(2, 4\)\]; expected logits"):
        PENALTIES[name](fn, params, jnp.stack([x, x]), jnp.stack([REGION, REGION]))
