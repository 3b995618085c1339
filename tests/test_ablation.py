"""What takes the place of removed units: exact, differentiable, compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax.masks import Masks

UNITS = 4
WEIGHTS = {"a": jnp.ones(()), "b": jnp.ones(()), "c": jnp.ones(())}


def fn(p, x):
    h = checkpoint_name(jnp.tanh(x @ p["a"]), "h")
    return h @ p["b"] + p["c"]


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    p = {"a": draw(3, UNITS), "b": draw(UNITS, 2), "c": draw(2)}
    return p, draw(5, 3), draw(5, 3)


def act(p, x):
    return sj.activations(fn, "h")(p, x)[1]["h"]


def ablated(p, mask, x, value):
    return sj.masked(fn, ablate={"h": value})(p, Masks(WEIGHTS, {"h": mask}), x)


MASK = jnp.array([1.0, 0.0, 0.0, 1.0])
ONES, ZEROS = jnp.ones(UNITS), jnp.zeros(UNITS)


def test_exact_at_one_and_at_zero(arrays):
    p, x, other = arrays
    resampled = act(p, other)
    np.testing.assert_array_equal(ablated(p, ONES, x, resampled), fn(p, x))
    np.testing.assert_array_equal(ablated(p, ZEROS, x, resampled), fn(p, other))
    far = jnp.full(UNITS, 1e30)  # h + m * (far - h) would be neither
    np.testing.assert_array_equal(ablated(p, ONES, x, far), fn(p, x))
    gone = ablated(p, ZEROS, x, ZEROS)
    np.testing.assert_array_equal(gone, jnp.broadcast_to(p["c"], gone.shape))


def test_every_kind_of_value_equals_the_edit(arrays):
    p, x, other = arrays
    mean = act(p, other).mean(0)
    places = jnp.arange(5.0)[:, None] * ONES
    values = {
        "mean": (mean, mean),
        "for each place": (places, places),
        "for every unit the same": (jnp.full(1, 0.3), 0.3),
        "number": (0.3, 0.3),
        "whole activation": (act(p, other), act(p, other)),
        "function": (lambda h: h.mean(0), act(p, x).mean(0)),
        "function of nothing": (lambda h: 2, 2.0),
        "none": (None, 0.0),
    }
    for kind, (value, plain) in values.items():
        found = ablated(p, MASK, x, value)
        edit = {"h": lambda h, plain=plain: jnp.where(MASK == 1, h, plain)}
        expected = sj.edit(fn, edit)(p, x)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=kind)
        assert np.abs(found - fn(p, x)).max() > 1e-2
    masks = Masks(WEIGHTS, {"h": MASK})
    for choose, value in ((lambda name: mean, mean), (lambda name: None, None)):
        by_name = sj.masked(fn, ablate=choose)(p, masks, x)
        np.testing.assert_array_equal(by_name, ablated(p, MASK, x, value))


def test_the_gradient_to_a_mask_is_attribution_patching(arrays):
    p, x, other = arrays
    value, h = act(p, other), act(p, x)

    def loss(out):
        return jnp.sin(out).sum()

    found = jax.grad(lambda m: loss(ablated(p, m, x, value)))(ONES)
    slope = jax.grad(lambda h: loss(h @ p["b"] + p["c"]))(h)
    np.testing.assert_allclose(found, ((h - value) * slope).sum(0), rtol=1e-5)
    # to a value of a removed unit: what it does; to that of a kept one: nothing
    back = jax.grad(lambda v: ablated(p, MASK, x, v).sum())(value)
    expected = jnp.broadcast_to((1 - MASK) * p["b"].sum(1), back.shape)
    np.testing.assert_allclose(back, expected, rtol=1e-6)


def test_means_of_the_batch_pass_gradients_on(arrays):
    """Units that are removed are read by the mean that takes their place."""
    p, x, _ = arrays

    def hand(p):
        h = jnp.tanh(x @ p["a"])
        h = h * MASK + h.mean(0) * (1 - MASK)
        return (h @ p["b"] + p["c"]).sum()

    found = jax.grad(lambda p: ablated(p, MASK, x, lambda h: h.mean(0)).sum())(p)
    for k, expected in jax.grad(hand)(p).items():
        np.testing.assert_allclose(found[k], expected, rtol=1e-5, atol=1e-6)


def test_derivatives_of_blending_are_those_of_the_formula():
    rng = np.random.default_rng(1)
    value, other = (jnp.asarray(rng.normal(size=(2, 3)), jnp.float32) for _ in "ab")

    def formula(value, mask, other):
        return value * mask + other * (1 - mask)

    def slopes(f, *arguments):
        def loss(*a):
            return (jnp.sin(f(*a)) ** 2).sum()

        return [of(loss, (0, 1, 2))(*arguments) for of in (jax.grad, jax.hessian)]

    both = jax.jit(lambda *a: [slopes(f, *a) for f in (sj.masks.blend, formula)])
    for mask in (jnp.array([0.0, 1.0, 0.3]), jnp.ones((2, 1))):
        found, expected = map(jax.tree.leaves, both(value, mask, other[:1]))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    broken = jnp.array([jnp.nan, 1.0])
    mask = jnp.array([0.0, 1.0])
    assert sj.masks.blend(broken, mask, 2 + mask).tolist() == [2, 1]
    assert sj.masks.blend(mask, mask[::-1], broken[::-1]).tolist()[0] == 0


def test_what_is_replaced_has_no_gradient_even_where_it_is_infinite():
    def log(p, x):
        return checkpoint_name(jnp.log(p * x), "log").sum()

    p, x = jnp.array([0.0, 2.0]), jnp.ones(2)
    masks = Masks(jnp.ones(()), {"log": jnp.array([0.0, 1.0])})
    apply = sj.masked(log, ablate={"log": jnp.array([5.0, 7.0])})
    value, slope = jax.value_and_grad(apply)(p, masks, x)
    np.testing.assert_allclose(value, 5 + np.log(2), rtol=1e-6)
    np.testing.assert_allclose(slope, [0, 0.5])


def test_new_values_need_no_new_program(arrays):
    p, x, other = arrays
    traces = []

    @jax.jit
    def run(mask, value):
        traces.append(1)
        return ablated(p, mask, x, value)

    value = act(p, other)
    for scale in (1.0, 2.0, 3.0):
        run(MASK, scale * value)
    assert len(traces) == 1
    many = jax.vmap(run)(jnp.stack([ONES, ZEROS]), jnp.stack([value, value]))
    np.testing.assert_allclose(many[1], fn(p, other), rtol=1e-5, atol=1e-6)


def test_removed_nodes_are_the_mean_over_examples(arrays):
    p, x, _ = arrays
    found = fn(sj.prune.remove_nodes(fn, p, {"h": MASK}, x), x)
    mean = act(p, x).mean(0)
    np.testing.assert_allclose(found, ablated(p, MASK, x, mean), rtol=1e-5, atol=1e-6)
    # several places before a dense layer: a mean for each
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(6, 5, 3)), jnp.float32)
    p = p | {"b": jnp.asarray(rng.normal(size=(5, UNITS, 2)), jnp.float32)}

    def flat(p, x):
        h = checkpoint_name(jnp.tanh(x @ p["a"]), "h")
        return h.reshape(*h.shape[:-2], -1) @ p["b"].reshape(-1, 2) + p["c"]

    mean = sj.activations(flat)(p, x)[1]["h"].mean(0)
    masks = Masks(WEIGHTS, {"h": MASK})
    expected = sj.masked(flat, ablate={"h": mean})(p, masks, x)
    found = flat(sj.prune.remove_nodes(flat, p, {"h": MASK}, x), x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(found - flat(p, x)).max() > 1e-2


def test_removed_nodes_of_unrolled_loops():
    def looped(p, x):
        def layer(h, p):
            h = checkpoint_name(jnp.tanh(h @ p["a"]), "h")
            return h @ p["b"] + p["c"], None

        return jax.lax.scan(layer, x, p)[0]

    rng = np.random.default_rng(3)
    shapes = {"a": (2, 3, UNITS), "b": (2, UNITS, 3), "c": (2, 3)}
    p = {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}
    x = jnp.asarray(rng.normal(size=(5, 3)), jnp.float32)
    mean = {
        k: h.mean(1, keepdims=True) for k, h in sj.activations(looped)(p, x)[1].items()
    }
    assert mean["h"].shape == (2, 1, UNITS)
    kept = Masks(WEIGHTS, {"h": jnp.stack([ONES, MASK])})
    expected = sj.masked(looped, ablate=mean)(p, kept, x)
    written = sj.unrolled(looped)
    small = sj.prune.remove_nodes(written, p, {"h[1]": MASK}, x)
    np.testing.assert_allclose(looped(small, x), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(expected - looped(p, x)).max() > 1e-2
    with pytest.raises(
        ValueError, match=r"'h' at .* loop of 2 steps; pass sj.unrolled"
    ):
        sj.prune.remove_nodes(looped, p, {"h": MASK}, x)


def test_bad_values(arrays):
    p, x, _ = arrays
    bad = {
        r"ablate\['h'\] has shape \(7,\), but .* \(5, 4\); expected one": jnp.ones(7),
        r"ablate\['h'\] is not finite.*leave out the examples": ONES * jnp.nan,
        r"ablate\['h'\] is .*'mean'.*; expected an array": "mean",
        r"ablate\['h'\] returned an array of shape \(3,\)": lambda h: jnp.ones(3),
        r"ablate\['h'\] returned an array of shape \(1, 5, 4\)": lambda h: h[None],
    }
    for says, value in bad.items():
        with pytest.raises(ValueError, match=says):
            ablated(p, MASK, x, value)
    masks = Masks(WEIGHTS, {"h": MASK})
    with pytest.raises(ValueError, match="no activation 'g'; it names 'h'"):
        sj.masked(fn, ablate={"g": ONES})(p, masks, x)
    with pytest.raises(
        ValueError, match="ablate is float32 of .*; expected {name: array"
    ):
        sj.masked(fn, ablate=ONES)(p, masks, x)
