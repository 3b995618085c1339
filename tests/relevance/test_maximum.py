"""Rules of maxima against closed forms and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparsejax.relevance import Rules, explain
from sparsejax.relevance import _maximum as maximum

pytestmark = pytest.mark.usefixtures("float64")

numbers = st.integers(-6, 6).map(lambda n: n / 2)  # with ties and zeros
vectors = st.integers(2, 5).flatmap(
    lambda n: st.tuples(
        hnp.arrays(float, n, elements=numbers), hnp.arrays(float, n, elements=numbers)
    )
)


compiled = jax.jit(maximum.shares, static_argnums=0)


def contributions(rule, x, baseline=None):
    x = np.asarray(x)
    other = None if baseline is None else np.asarray(baseline)
    step = x if other is None else x - other
    return np.asarray(compiled(rule, x, other)) * step


@pytest.mark.parametrize("rule", ["winner", "cross", "radial", "path"])
@settings(max_examples=60, deadline=None)
@given(pair=vectors)
@pytest.mark.defaults
def test_all_of_the_maximum_is_given_and_nothing_else(rule, pair):
    x, baseline = pair
    if rule == "radial":
        x = np.where(x == 0, 0.25, x)  # at 0 it has no shares to give
    np.testing.assert_allclose(contributions(rule, x).sum(), x.max(), atol=1e-12)
    if rule in ("cross", "path"):
        parts = contributions(rule, x, baseline)
        rise = x.max() - baseline.max()
        np.testing.assert_allclose(parts.sum(), rise, atol=1e-12)
        back = contributions(rule, baseline, x)
        np.testing.assert_allclose(parts, -back, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(pair=vectors)
def test_path_is_integrated_gradients_of_the_maximum(pair):
    x, baseline = pair
    middles = (np.arange(20000) + 0.5) / 20000
    way = baseline + middles[:, None] * (x - baseline)
    wins = np.bincount(way.argmax(1), minlength=len(x)) / len(middles)
    shares = np.asarray(compiled("path", x, baseline))
    # lines that stay equal share nothing: the first has it all, as in argmax
    np.testing.assert_allclose(
        shares * (x - baseline), wins * (x - baseline), atol=2e-3
    )


@settings(max_examples=40, deadline=None)
@given(pair=vectors)
def test_cross_is_the_limit_of_soft_maxima(pair):
    x, baseline = pair
    x = x + 1e-3 * np.arange(len(x))  # without ties the limit is one winner
    baseline = baseline + 1.3e-3 * np.arange(len(x))[::-1]
    if abs(x.max() - baseline.max()) < 1e-9:
        return
    eps = 1e-5
    top = max(x.max(), baseline.max())
    e, e0 = np.exp((x - top) / eps), np.exp((baseline - top) / eps)

    def soft(v):
        return eps * np.log(np.sum(np.exp((v - v.max()) / eps))) + v.max()

    limit = (soft(x) - soft(baseline)) * (e - e0) / (e.sum() - e0.sum())
    np.testing.assert_allclose(contributions("cross", x, baseline), limit, atol=1e-6)


def test_the_briefest_examples():
    x, baseline = [2.0, 1.5], [0.2, 1.0]
    np.testing.assert_allclose(contributions("cross", x, baseline), [1, 0])
    np.testing.assert_allclose(
        contributions("path", x, baseline), [0.6923077, 0.3076923], atol=1e-6
    )
    # radial: 2/3 of max(1, 1/2) to the first, less once the second is there twice
    np.testing.assert_allclose(contributions("radial", [1.0, 0.5]), [2 / 3, 1 / 3])
    np.testing.assert_allclose(contributions("radial", [1.0, 0.5, 0.5])[0], 1 / 2)
    # across the origin the order turns round
    np.testing.assert_allclose(contributions("radial", [1.0, 2.0]) / 2, [1 / 3, 2 / 3])
    parts = contributions("radial", [-1.0, -2.0])
    np.testing.assert_allclose(parts / -1, [2 / 3, 1 / 3])
    # and three answers where all are negative
    np.testing.assert_allclose(contributions("winner", [-1.0, -2.0]), [-1, 0])
    np.testing.assert_allclose(contributions("cross", [-1.0, -2.0]), [-0.5, -0.5])


def test_radial_is_not_the_slope_of_a_maximum_with_a_number():
    """The source guesses that it is: f(a) = max(a, -2) at -1 has slope 1."""
    share = contributions("radial", [-1.0, -2.0])[0] / -1.0
    np.testing.assert_allclose(share, 2 / 3)


def windows(x, size, stride, low, high, dilation):
    """Indices of every window of a padded vector, None outside."""
    n = len(x) + low + high
    count = (n - (size - 1) * dilation - 1) // stride + 1

    def place(i):
        return i - low if 0 <= i - low < len(x) else None

    return [[place(s * stride + k * dilation) for k in range(size)]
            for s in range(count)]  # fmt: skip


@pytest.mark.parametrize("rule", ["winner", "radial", "cross", "path"])
def test_nothing_goes_to_what_pads_a_window(rule):
    """Where all that a window has is negative."""

    def fn(_, x):
        return jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (2,), (1,), [(1, 0)]
        ).sum()  # fmt: skip

    found = explain(
        fn, {}, jnp.array([-1.0, -2.0]), baseline="zero", rules=Rules(maximum=rule)
    )
    np.testing.assert_allclose(found.input.sum(), -2.0)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["winner", "radial", "cross", "path"])
@pytest.mark.parametrize(
    "size, stride, low, high, dilation",
    [(2, 2, 0, 0, 1), (3, 1, 1, 1, 1), (3, 2, 0, 1, 1), (2, 1, 0, 0, 2)],
)
def test_pooling_window_by_window(rule, size, stride, low, high, dilation, rng):
    x, baseline = rng.normal(size=(2, 8)).round(1)
    q = rng.normal(size=20)

    def fn(_, x):
        out = jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (size,), (stride,), [(low, high)],
            window_dilation=(dilation,),
        )  # fmt: skip
        return jnp.asarray(q[: len(out)]) @ out

    expected = np.zeros((2, 8))
    for j, window in enumerate(windows(x, size, stride, low, high, dilation)):
        inside = [i for i in window if i is not None]
        for k, other in enumerate((None, baseline)):
            if rule == "radial" and other is not None:
                continue
            given = None if other is None else other[inside]
            expected[k, inside] += q[j] * contributions(rule, x[inside], given)
    rules = Rules(maximum=rule)
    found = explain(fn, {}, jnp.asarray(x), baseline="zero", rules=rules)
    np.testing.assert_allclose(found.input, expected[0], atol=1e-12)
    if rule != "radial":
        found = explain(fn, {}, jnp.asarray(x), baseline=baseline, rules=rules)
        expected[1] = expected[1] if rule != "winner" else found.input
        np.testing.assert_allclose(found.input, expected[1], atol=1e-12)


def test_ties_go_to_the_first():
    x = jnp.array([1.0, 1.0, 0.0, 1.0])
    for fn in (
        lambda _, x: x.max(),
        lambda _, x: jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (4,), (4,), "VALID"
        )[0],
        lambda _, x: jnp.maximum(jnp.maximum(x[0], x[1]), jnp.maximum(x[2], x[3])),
    ):
        found = explain(fn, {}, x, baseline="zero")
        np.testing.assert_array_equal(found.input, [1, 0, 0, 0])
