"""Metrics against loops in NumPy, scikit-learn and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from sparsejax import relevance

pytestmark = pytest.mark.usefixtures("float64")


def NET(params, x):
    return jnp.tanh(x.ravel() @ params)


def setting(rng, shape=(4, 3), dtype=np.float64):
    x = rng.normal(size=shape).astype(dtype)
    return x, rng.normal(size=(x.size, 2)).astype(dtype)


def curve_by_loop(f, x, base, scores, steps, method):
    """Most relevant first, ties by the lowest index."""
    order = sorted(range(scores.size), key=lambda i: (-scores.ravel()[i], i))
    flat = (scores.size, -1)
    start, end = (x, base) if method == "deletion" else (base, x)
    fractions, outputs = [], []
    for i in range(steps + 1):
        count = round(i * scores.size / steps)
        now = start.reshape(flat).copy()
        now[order[:count]] = end.reshape(flat)[order[:count]]
        fractions.append(count / scores.size)
        outputs.append(f(now.reshape(x.shape)))
    return fractions, outputs


@pytest.mark.parametrize("method", ["deletion", "insertion"])
@pytest.mark.parametrize("steps", [1, 12])
@pytest.mark.parametrize("axes", [2, 1])
@pytest.mark.defaults
def test_curves_by_a_loop(method, steps, axes, rng):
    x, kernel = setting(rng)
    base = rng.normal(size=x.shape)
    scores = rng.integers(-2, 3, size=x.shape[:axes]).astype(float)  # with ties
    scores[scores == 0] *= -1  # -0 ties with 0
    metric = getattr(relevance, method)

    def one(kernel, x, scores, **given):
        return metric(
            NET, kernel, x, scores, target=1, baseline=base, steps=steps, **given
        )

    run = jax.jit(one, static_argnames="batch_size")
    found = run(kernel, x, scores)

    def f(x):
        return np.tanh(x.ravel() @ kernel)[1]

    fractions, outputs = curve_by_loop(f, x, base, scores, steps, method)
    np.testing.assert_allclose(found.fraction, fractions, rtol=1e-12)
    np.testing.assert_allclose(found.output, outputs, rtol=1e-10)
    area = np.trapezoid(outputs, fractions)
    np.testing.assert_allclose(found.area(), area, rtol=1e-10)
    again = run(kernel, x, scores, batch_size=3)
    np.testing.assert_allclose(again.output, outputs, rtol=1e-10)


def test_curves_of_many_examples(rng):
    _, kernel = setting(rng)
    examples, scores = rng.normal(size=(2, 5, 4, 3))

    def run(x, scores):
        return relevance.deletion(NET, kernel, x, scores, target=0)

    together = jax.jit(jax.vmap(run))(examples, scores)
    for i in range(5):
        alone = run(examples[i], scores[i])
        np.testing.assert_allclose(together.output[i], alone.output, rtol=1e-9)
        np.testing.assert_allclose(together.area()[i], alone.area(), rtol=1e-9)


def test_a_true_explanation_deletes_faster(rng):
    weights, x = rng.normal(size=30), np.ones(30)

    def fn(params, x):
        return params @ x

    def area(scores):
        return relevance.deletion(fn, weights, x, scores).area()

    assert area(weights) < area(rng.permutation(weights)) < area(-weights)

    def area(scores):
        return relevance.insertion(fn, weights, x, scores).area()

    assert area(weights) > area(rng.permutation(weights)) > area(-weights)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.booleans()), min_size=12, max_size=12
    ).filter(lambda pairs: len({inside for _, inside in pairs}) == 2)
)
def test_auc_is_scikit_learns(pairs):
    scores, inside = (
        np.array([p[0] for p in pairs], float),
        np.array([p[1] for p in pairs]),
    )
    with jax.enable_x64(True):
        found = relevance.localization_auc(scores, inside)
    np.testing.assert_allclose(found, roc_auc_score(inside, scores), rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4)), min_size=9, max_size=9)
)
def test_rank_correlation_is_scipys(pairs):
    a, b = np.array(pairs, float).T
    with jax.enable_x64(True):
        found = relevance.rank_correlation(a, b)
    if min(np.ptp(a), np.ptp(b)) == 0:
        assert np.isnan(found)
    else:
        np.testing.assert_allclose(found, spearmanr(a, b).statistic, atol=1e-12)


def test_localisation_by_hand(rng):
    scores = np.array([[3.0, -9.0], [1.0, 4.0]])
    region = np.array([[True, True], [False, False]])
    assert relevance.localization(scores, region) == 3 / 8
    assert relevance.localization(scores, ~region) == 5 / 8
    assert relevance.pointing_game(scores, region) == 0
    assert relevance.pointing_game(scores, ~region) == 1
    assert relevance.pointing_game(abs(scores), region) == 1
    tied = np.array([2.0, 2.0])
    assert relevance.pointing_game(tied, np.array([True, False])) == 1
    assert relevance.pointing_game(tied, np.array([False, True])) == 0


REGIONAL = [
    relevance.pointing_game, relevance.localization, relevance.localization_auc
]  # fmt: skip


@pytest.mark.parametrize("metric", REGIONAL)
def test_regions_of_places_and_of_many_examples(metric, rng):
    scores, region = rng.normal(size=(5, 4, 3, 2)), rng.random((5, 4, 3)) < 0.5
    together = jax.jit(jax.vmap(metric))(scores, region)
    whole = np.broadcast_to(region[..., None], scores.shape)
    alone = [metric(*pair) for pair in zip(scores, whole, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_metrics_in_float32(rng):
    """Of a large image: the counts must not round."""
    with jax.enable_x64(False):
        scores = rng.integers(0, 1000, size=(224, 224, 3)).astype(np.float32)
        region = rng.random((224, 224)) < 0.3
        found = jax.jit(relevance.localization_auc)(scores, region)
        whole = np.broadcast_to(region[..., None], scores.shape)
        wanted = roc_auc_score(whole.ravel(), scores.ravel())
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
        other = scores + rng.integers(0, 1000, size=scores.shape).astype(np.float32)
        found = jax.jit(relevance.rank_correlation)(scores, other)
        wanted = spearmanr(scores.ravel(), other.ravel()).statistic
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_what_regions_are_refused(rng):
    scores, region = rng.normal(size=(4, 3)), np.eye(4, 3, dtype=bool)
    for metric in REGIONAL:
        with pytest.raises(ValueError, match=r"region has shape \(3, 4\), which is"):
            metric(scores, region.T)
        with pytest.raises(ValueError, match="not finite in 'relevance'"):
            metric(scores * np.nan, region)
    with pytest.raises(ValueError, match="no relevance is positive"):
        relevance.localization(-abs(scores), region)
    for region in (np.zeros((4, 3), bool), np.ones((4, 3), bool)):
        with pytest.raises(ValueError, match=r"region has \d+ of 12 places"):
            relevance.localization_auc(scores, region)
    assert np.isnan(jax.jit(relevance.localization_auc)(scores, region))
    assert np.isnan(jax.jit(relevance.localization)(-abs(scores), region))
    with pytest.raises(ValueError, match=r"maps have shapes \(4, 3\) and \(3, 4\)"):
        relevance.rank_correlation(scores, scores.T)


BAD = {
    "steps": ({"steps": 0}, "steps must be at least 1"),
    "shape": (
        {"relevance": np.ones(3)},
        r"relevance has shape \(3,\), which is neither",
    ),
    "baseline": ({"baseline": np.ones(4)}, r"baseline has shape \(4,\); it can be"),
    "NaN": ({"relevance": np.full((4, 3), np.nan)}, "not finite in 'relevance'"),
    "inf": ({"baseline": np.inf}, "not finite in 'x'"),
    "target": ({"target": 2}, "target 2 is none of 2 outputs"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("method", [relevance.deletion, relevance.insertion])
def test_what_is_refused(method, bad, rng):
    x, kernel = setting(rng)
    options, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        method(NET, kernel, x, **{"relevance": x, "target": 0, **options})
