"""Metrics and ablations, against NumPy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from scipy import optimize, special

from sparsejax import circuits, masked, masks

RNG = np.random.default_rng(0)
PARAMS = {
    "a": jnp.asarray(RNG.normal(size=(3, 6)), jnp.float32),
    "b": jnp.asarray(RNG.normal(size=(4, 2)), jnp.float32),
}
X = jnp.asarray(RNG.normal(size=(8, 5, 3)), jnp.float32)  # examples, positions, inputs
Y = jnp.asarray([0, 1, 1, 0, 1, 0, 1, 1])
NODES = {"z": jnp.ones((2, 1)), "h": jnp.ones(4)}


def fn(params, x):
    z = checkpoint_name((x @ params["a"]).reshape(*x.shape[:2], 2, 3), "z")
    h = checkpoint_name(jax.nn.relu(z.sum(-2) @ jnp.ones((3, 4)) - z[..., :1, 0]), "h")
    return h.mean(1) @ params["b"]


def softmax(z):
    return special.log_softmax(np.asarray(z, np.float64), axis=-1)


def off(**kept):
    return {name: jnp.asarray(kept.get(name, NODES[name])) for name in NODES}


SOME = off(h=[1.0, 0, 0, 1], z=[[1.0], [0.0]])


def test_metrics():
    full = fn(PARAMS, X)
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    part = masked(fn)(PARAMS, masks.Masks(ones, SOME), X)
    p, q = softmax(full), softmax(part)
    pairs = jnp.stack([Y, 1 - Y], -1)
    expected = {
        "kl": (np.exp(p) * (p - q)).sum(-1).mean(),
        "cross_entropy": -q[np.arange(8), Y].mean(),
        "logit_difference": (part[np.arange(8), 1 - Y] - part[np.arange(8), Y]).mean(),
    }
    for metric, value in expected.items():
        labels = pairs if metric == "logit_difference" else Y
        loss = circuits.task(fn, PARAMS, X, labels, metric=metric)
        assert np.isclose(loss(SOME), value, rtol=1e-5), metric
        assert (loss.metric, loss.ablation) == (metric, "zero")

    def worst(outputs, reference, y):
        return jnp.abs(outputs - reference).max()

    loss = circuits.task(fn, PARAMS, X, metric=worst)
    assert np.isclose(loss(SOME), np.abs(part - full).max(), rtol=1e-5)
    assert loss(NODES) == 0 and loss.metric == "worst"


def test_means_of_all_of_positions_and_of_classes():
    z = np.asarray((X @ PARAMS["a"]).reshape(8, 5, 2, 3))
    everything = circuits.means(fn, PARAMS, X, NODES)
    assert [*everything] == [*NODES]  # as they were given, not sorted
    assert everything["h"].shape == (4,)
    np.testing.assert_allclose(everything["z"], z.mean((0, 1)), rtol=1e-4, atol=1e-6)
    places = circuits.means(fn, PARAMS, X, NODES, over="positions")["z"]
    np.testing.assert_allclose(places, z.mean(0), rtol=1e-4, atol=1e-6)
    classes = circuits.means(fn, PARAMS, X, NODES, over=Y)["z"]
    expected = np.stack([z[Y == y].mean((0, 1), keepdims=True)[0] for y in Y])
    np.testing.assert_allclose(classes, expected, rtol=1e-4, atol=1e-6)
    other = circuits.means(fn, PARAMS, X, NODES, over=Y, at=[1, 0])["z"]
    np.testing.assert_allclose(other, classes[1::-1], rtol=1e-6)


def test_ablated_everywhere_an_activation_is_its_mean():
    """What was released reproduces what was ablated by."""
    values = circuits.means(fn, PARAMS, X, NODES)
    loss = circuits.task(fn, PARAMS, X, metric=lambda o, r, y: o.std(0).sum(),
                         ablate=values)  # fmt: skip
    assert loss(off(h=np.zeros(4, "f4"))) < 1e-5 < loss(NODES)
    out = loss.run(off(h=np.zeros(4, "f4")), values)
    np.testing.assert_allclose(out[0], values["h"] @ PARAMS["b"], rtol=1e-5)


def test_resampling_everything_is_the_other_input():
    other = X[::-1]
    values = circuits.resampled(fn, PARAMS, other, NODES)
    loss = circuits.task(fn, PARAMS, X, ablate=values, ablation="resample")
    out = loss.run(off(h=np.zeros(4, "f4")), values)
    np.testing.assert_allclose(out, fn(PARAMS, other), rtol=1e-4, atol=1e-6)
    assert loss.ablation == "resample"


def test_optimal_ablation_of_a_last_layer_is_the_convex_optimum():
    keep = off(h=[0.0, 1.0, 0.0, 1.0])
    start = {"h": circuits.means(fn, PARAMS, X, NODES)["h"]}
    loss = circuits.task(fn, PARAMS, X, Y, metric="cross_entropy", ablate=start)
    best = circuits.optimal(lambda v: loss(keep, v), start, steps=400,
                            learning_rate=0.05)  # fmt: skip
    z = np.asarray((X @ PARAMS["a"]).reshape(8, 5, 2, 3), np.float64)
    h = np.maximum(z.sum(-2) @ np.ones((3, 4)) - z[..., :1, 0], 0).mean(1)
    b = np.asarray(PARAMS["b"], np.float64)

    def convex(values):
        kept = h.copy()
        kept[:, [0, 2]] = values
        return -softmax(kept @ b)[np.arange(8), np.asarray(Y)].mean()

    lowest = optimize.minimize(convex, np.zeros(2)).fun
    assert lowest <= loss(keep, best) + 1e-6 < lowest + 1e-4
    assert loss(keep, best) <= loss(keep)
    again = circuits.optimal(lambda v: loss(keep, v), best, steps=3, learning_rate=5.0)
    assert loss(keep, again) <= loss(keep, best)  # the best of all steps


def test_what_does_not_fit_is_refused_in_a_line():
    nodes = NODES
    loss = circuits.task(
        fn, PARAMS, X[:4], ablate=circuits.resampled(fn, PARAMS, X, nodes)
    )
    for call, message in {
        lambda: loss(NODES): r"shape \(8, 5, 2, 3\), but the activation 'z'",
        lambda: circuits.task(fn, PARAMS, X, metric="loss"): "unknown metric 'loss'",
        lambda: circuits.task(fn, PARAMS, X, metric="cross_entropy"): "needs labels",
        lambda: circuits.means(fn, PARAMS, X, {"y": jnp.ones(3)}): "no activation 'y'",
        lambda: circuits.means(fn, PARAMS, X, {"h": jnp.ones(3)}): r"nodes\['h'\] has",
        lambda: circuits.means(fn, PARAMS, X, nodes, over="place"): "or labels",
        lambda: circuits.means(fn, PARAMS, X, nodes, over=Y[:3]): "of 3 examples",
        lambda: circuits.means(fn, PARAMS, X, nodes, over=Y, at=[2]): r"classes \[2\]",
        lambda: circuits.optimal(lambda v: v["h"].sum() * jnp.nan, {"h": jnp.ones(2)}):
            "NaN at the values",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


WIDE = jax.random.normal(jax.random.key(4), (6, 5))


def wide(params, x):
    return checkpoint_name(x * params, "h")


@pytest.mark.parametrize("shape", [(5,), (1, 5), (1,)])
def test_a_mask_with_ones_in_front_has_the_mean_of_its_units(shape):
    """The mean of an activation over nothing would be the activation: no ablation."""
    found = circuits.means(wide, jnp.ones(5), WIDE, {"h": jnp.ones(shape)})["h"]
    np.testing.assert_allclose(found, WIDE.mean(0), rtol=1e-6)


@pytest.mark.parametrize("x, shape", [(WIDE, (6, 5)), (WIDE, (6, 1)), (WIDE[0], (5,))])
def test_no_axis_to_average_over_is_refused(x, shape):
    with pytest.raises(ValueError, match="'h' of shape .* no axis is left to average"):
        circuits.means(wide, jnp.ones(5), x, {"h": jnp.ones(shape)})


def test_heads_of_all_positions_have_the_mean_of_heads():
    x = jax.random.normal(jax.random.key(5), (3, 4, 2, 5))
    means = circuits.means(wide, jnp.ones(5), x, {"h": jnp.ones((1, 2, 1))})["h"]
    np.testing.assert_allclose(means, x.mean((0, 1)), rtol=1e-5, atol=1e-6)
    own = circuits.means(
        wide, jnp.ones(5), x, {"h": jnp.ones((1, 2, 1))}, over="positions"
    )["h"]
    np.testing.assert_allclose(own, x.mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("x", [WIDE[:, :1], WIDE[:, 0]])
def test_kl_needs_classes(x):
    loss = circuits.task(wide, jnp.ones(x.shape[-1]), x)
    with pytest.raises(ValueError, match="kl compares classes, and the outputs have"):
        loss({"h": jnp.ones(x.shape[-1])})


def test_what_ablates_by_itself_takes_no_values():
    def apply(params, nodes, x):
        return x * nodes["h"]

    with pytest.raises(ValueError, match="apply= ablates by itself"):
        circuits.task(wide, jnp.ones(5), WIDE, apply=apply, ablate={"h": jnp.ones(5)})
    loss = circuits.task(wide, jnp.ones(5), WIDE, apply=apply)
    assert loss.ablation == "that of apply"
    with pytest.raises(ValueError, match="ablates by itself"):
        loss({"h": jnp.ones(5)}, {"h": jnp.ones(5)})


def test_tables_have_no_gradient():
    nodes = {"h": jnp.ones(2)}
    loss = circuits.from_table(np.arange(4.0), nodes)
    with pytest.raises(ValueError, match="a table of losses has no gradient"):
        circuits.attribution(loss, nodes)


def test_scores_that_are_not_numbers_have_no_auroc():
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        circuits.auroc(np.array([np.nan, 1.0]), np.array([True, False]))
