"""Statistics of removal against brute force, samples against exact distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import sparsejax as sj
from sparsejax import hypercube, removal


def direct(values, width, at, weights=None):
    """The kernel density as it is defined."""
    z = (np.asarray(at)[:, None] - values) / width
    kernel = np.exp(-(z**2) / 2) / (width * np.sqrt(2 * np.pi))
    return np.average(kernel, axis=1, weights=weights)


@pytest.mark.parametrize("weighted", [False, True])
def test_density_is_the_direct_sum(weighted, rng):
    values = np.concatenate([rng.normal(size=400), 0.3 + 0.01 * rng.random(300)])
    weights = rng.random(700) ** 3 if weighted else None
    for width in (0.003, 0.03, 0.4):
        at = rng.uniform(-4, 4, 1500)  # more than one chunk, in any order
        got = removal.kde(values, width, at, weights)
        expected = direct(values, width, at, weights)
        assert abs(got - expected).max() < 1e-4 * expected.max()


@pytest.mark.parametrize("offset", np.linspace(0, 0.02, 6))
def test_density_of_one_value_is_a_gaussian_wherever_it_falls_in_a_cell(offset):
    at = np.linspace(-0.2, 0.2, 301)
    got = removal.kde(np.array([offset * 0.03]), 0.03, at)
    expected = stats.norm(offset * 0.03, 0.03).pdf(at)
    assert abs(got - expected).max() < 1e-4 * expected.max()


def test_density_of_rows_is_that_of_all_values_with_the_weight_of_their_row(rng):
    values, weights = rng.normal(size=(30_000, 5)), rng.random(30_000)
    at = np.linspace(-3, 3, 50)
    got = removal.kde(values.astype(np.float32), 0.1, at, weights)
    flat = removal.kde(values.reshape(-1), 0.1, at, np.repeat(weights, 5))
    np.testing.assert_allclose(got, flat, rtol=1e-4)
    few, some = at[::10], values[:500]
    got = removal.kde(some, 0.1, few, weights[:500])
    expected = direct(some.reshape(-1), 0.1, few, np.repeat(weights[:500], 5))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_density_integrates_to_one_and_ignores_what_is_far(rng):
    values = rng.normal(size=1000)
    at = np.linspace(-6, 6, 2001)
    inside = removal.kde(values, 0.1, at)
    assert abs(np.trapezoid(inside, at) - 1) < 1e-6
    with_far = removal.kde(np.append(values, [1e300, -1e300]), 0.1, at)
    np.testing.assert_allclose(with_far, inside * 1000 / 1002, atol=1e-12)


def test_moments_are_numpys(rng):
    values, counts = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    got = removal.moments(values)
    np.testing.assert_allclose(got, (values.mean(), values.std()), rtol=1e-12)
    repeated = np.repeat(values, counts, axis=0)
    got = removal.moments(values, counts)
    np.testing.assert_allclose(got, (repeated.mean(), repeated.std()), rtol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_log_normal_is_scipys(ties, rng):
    values = rng.lognormal(size=200) ** 1.3
    values = values.round(1) + 0.1 if ties else values
    counts = rng.integers(0, 5, 200)
    for weights in (None, counts):
        sample = values if weights is None else np.repeat(values, counts)
        logs = np.log(sample)
        got = removal.fit_log_normal(values, weights)
        norm = stats.norm(logs.mean(), logs.std())
        expected = (
            logs.mean(),
            logs.std(),
            stats.skew(logs),
            stats.kurtosis(logs),
            stats.kstest(logs, norm.cdf).statistic,
        )
        np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_log_normal_of_a_sample_approaches_that_of_the_exact_distribution(rng):
    n, keep_prob = 10, 0.3
    values = np.exp(rng.normal(size=1 << n))
    weights = hypercube.probabilities(n, keep_prob)
    exact = removal.fit_log_normal(values, weights)
    drawn = rng.choice(1 << n, 40_000, p=weights)
    np.testing.assert_allclose(removal.fit_log_normal(values[drawn]), exact, atol=0.05)
    mean = hypercube.mean(np.log(values), keep_prob)
    np.testing.assert_allclose(exact.mean, mean, rtol=1e-10)


def test_equal_values_fit_exactly():
    got = removal.fit_log_normal(np.full(7, 0.1))
    assert got[:2] == (np.log(0.1), 0.0) and got.distance == 0
    assert np.isnan(got.skew) and np.isnan(got.kurtosis)
    one = removal.fit_log_normal(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
    assert one[:2] == (np.log(3.0), 0.0)


def test_log_gradients_are_gradients_of_the_log():
    def loss(m):
        return jnp.exp(-m.sum()) + m[0] ** 2 + 0.5

    masks = sj.masks.subsets(4)
    losses, gradients = jax.vmap(jax.value_and_grad(loss))(masks)
    expected = jax.vmap(jax.grad(lambda m: jnp.log(loss(m))))(masks)
    got = removal.log_gradients(losses, gradients)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_by_state_pools_and_splits_by_node(weighted, rng):
    gradients = rng.normal(size=(300, 6)) * np.arange(1, 7)
    masks = (rng.random((300, 6)) < 0.3).astype(np.float32)
    counts = rng.integers(0, 4, 300) if weighted else np.ones(300, int)
    got = removal.by_state(gradients, masks, counts if weighted else None)
    g, m = (np.repeat(a, counts, axis=0) for a in (gradients, masks))
    for state, pooled, nodes in [
        (1, got.on, got.on_nodes),
        (0, got.off, got.off_nodes),
    ]:
        chosen = g[m == state]
        np.testing.assert_allclose(pooled, (chosen.mean(), chosen.std()), rtol=1e-12)
        for i in range(6):
            one = g[m[:, i] == state, i]
            np.testing.assert_allclose(nodes.mean[i], one.mean(), rtol=1e-12)
            np.testing.assert_allclose(nodes.sd[i], one.std(), rtol=1e-12)


def test_a_node_that_is_never_off_has_no_moments_there():
    masks = np.array([[1.0, 0.0], [1.0, 1.0]])
    got = removal.by_state(np.array([[1.0, 2.0], [3.0, 5.0]]), masks)
    assert got.on == (3.0, np.std([1, 3, 5])) and got.off == (2.0, 0.0)
    np.testing.assert_array_equal(got.off_nodes.mean, [np.nan, 2])
    all_on = removal.by_state(np.ones((2, 2)), np.ones((2, 2)))
    assert np.isnan(all_on.off).all() and all_on.on == (1.0, 0.0)


def test_heat_maps_are_pointwise_with_the_largest_second_coordinate_first():
    weights = jnp.array([1.0, 2.0, -3.0])

    def loss(mask, point):
        return mask @ weights * point[0] + mask[0] ** 2 * point[1]

    mask = np.array([1, 0, 1])  # of any type
    got = removal.heat_maps(loss, mask, extent=2, size=5)
    assert got.loss.shape == (5, 5) and got.gradients.shape == (3, 5, 5)
    for row, second in enumerate([2.0, 1, 0, -1, -2]):
        for column, first in enumerate([-2.0, -1, 0, 1, 2]):
            assert got.loss[row, column] == pytest.approx(-2 * first + second)
            gradient = np.asarray(weights) * first + [2 * second, 0, 0]
            np.testing.assert_allclose(got.gradients[:, row, column], gradient)
    default = removal.heat_maps(loss, jnp.full(3, 0.5))
    assert default.loss.shape == (101, 101)


def test_heat_maps_of_any_callable():
    class Loss:
        __hash__ = None  # pyright: ignore[reportAssignmentType]

        def __call__(self, mask, point):
            return mask.sum() * point[0]

    got = removal.heat_maps(Loss(), np.ones(3), size=3)
    np.testing.assert_array_equal(got.loss, 3 * np.array([[-1, 0, 1]] * 3))


def test_flips_estimate_the_exact_covariance(rng):
    n, paths = 5, 40_000
    table = rng.normal(size=1 << n)
    keys = jax.random.split(jax.random.key(0), paths)
    masks = jax.vmap(lambda key: sj.masks.flip_path(key, n))(keys)
    index = np.asarray(masks, int) @ (1 << np.arange(n))
    got = removal.path_statistics(table[index])
    exact = hypercube.path_covariance(table)
    error = 5 * table.var() * np.sqrt(2 / paths)
    np.testing.assert_allclose(got.covariance, exact, atol=error)
    np.testing.assert_allclose(got.from_start, exact[0], atol=error)
    np.testing.assert_allclose(got.from_end, exact[0], atol=error)
    np.testing.assert_allclose(got.correlation, exact[0] / exact[0, 0], atol=0.05)


def test_flips_by_hand():
    values = np.array([[0.0, 1.0, 4.0], [2.0, 1.0, 0.0]])
    got = removal.path_statistics(values)
    np.testing.assert_array_equal(got.covariance, [[2, 0, -4], [0, 0, 0], [-4, 0, 8]])
    np.testing.assert_array_equal(got.from_start, [2, 0, -4])
    np.testing.assert_array_equal(got.from_end, [8, 0, -4])
    np.testing.assert_allclose(got.correlation, [1, np.nan, -1])


ones = np.ones(3)
square = np.ones((3, 2))
BAD = {
    "no values": (lambda: removal.kde(ones[:0], 1.0, ones), "filled array"),
    "nan": (
        lambda: removal.kde(np.array([1, np.nan, np.inf]), 1.0, ones),
        r"2 of 3 values are not finite; the first is values\[1\] = nan",
    ),
    "width": (lambda: removal.kde(ones, 0.0, ones), "width must be .* got 0.0"),
    "span": (
        lambda: removal.kde(ones, 1e-9, np.array([0.0, 1.0])),
        r"spans 1, .*1e\+09 wid",
    ),
    "places": (lambda: removal.kde(ones, 1.0, square), r"at must be .*\(3, 2\)"),
    "weights": (
        lambda: removal.kde(ones, 1.0, ones, np.array([1, -1, 2])),
        "weights must be at least 0 .* smallest is -1",
    ),
    "no weight": (lambda: removal.moments(ones, 0 * ones), "not all 0"),
    "few weights": (lambda: removal.moments(ones, ones[:2]), "2 weights for 3 rows"),
    "zero loss": (
        lambda: removal.fit_log_normal(np.array([1.0, 0.0, -2.0])),
        r"2 of 3 values are not positive .*values\[1\] = 0.0",
    ),
    "losses": (lambda: removal.log_gradients(-ones, square), "losses are not positive"),
    "masks": (lambda: removal.log_gradients(ones[:2], square), "of 3 masks.* of 2"),
    "gradients": (lambda: removal.log_gradients(ones, ones), "gradients must be"),
    "fractions": (
        lambda: removal.by_state(square, np.array([[1, 0], [1, 0.5], [0, 2]])),
        r"2 entries .* neither 0 nor 1; the first is masks\[1, 1\] = 0.5",
    ),
    "shapes": (lambda: removal.by_state(square, np.ones((3, 4))), "the same shape"),
    "paths": (lambda: removal.path_statistics(np.ones((1, 4))), "at least two paths"),
    "path": (
        lambda: removal.path_statistics(ones),
        "values must be a filled array of 2 axes",
    ),
    "mask": (lambda: removal.heat_maps(lambda m, p: p[0], square), "vector over nodes"),
    "number": (
        lambda: removal.heat_maps(lambda m, p: p * m[0], ones),
        "must return a floating-point number",
    ),
    "integer": (
        lambda: removal.heat_maps(lambda m, p: (p[0] > m[0]).astype(int), ones),
        "must return a floating-point number, got .*int",
    ),
    "one point": (lambda: removal.heat_maps(lambda m, p: m[0], ones, size=1), "1x1 po"),
    "size": (lambda: removal.heat_maps(lambda m, p: m[0], ones, size=0), "0x0 points"),
    "not finite": (
        lambda: removal.heat_maps(lambda m, p: m[0] / p[0], ones, size=3),
        r"not finite at 3 of 9 points; the first is \[0.0, 1.0\]",
    ),
}


@pytest.mark.parametrize("call, message", BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
