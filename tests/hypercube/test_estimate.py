"""Estimates against exact values, and the coverage of their intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sparsejax import hypercube
from sparsejax.hypercube import _estimate as estimate_module

METHODS = ("antithetic", "permutation", "stratified")
N = 6
WEIGHTS = jnp.asarray(np.random.default_rng(0).normal(size=(N, N, N)), jnp.float32)


def fn(m):
    """Interactions of up to three nodes."""
    return jnp.einsum("ijk,i,j,k->", WEIGHTS, m, m, m)


@pytest.fixture(scope="module")
def exact():
    return hypercube.evaluate(fn, N, progress=False)


def shapley(key, fn=fn, n=N, **options):
    return hypercube.estimate_shapley(fn, n, key=key, progress=False, **options)


def mean(key, keep_prob, samples=200, fn=fn, n=N, **options):
    return hypercube.estimate_mean(
        fn, n, keep_prob, key=key, samples=samples, progress=False, **options
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.defaults
def test_shapley_values_within_their_errors(method, exact):
    found = shapley(jax.random.key(1), permutations=2000, method=method)
    true = hypercube.shapley(exact)
    assert (np.abs(found.values - true) < 4 * found.errors + 1e-5).all()
    assert (found.errors < 0.15).all() and (found.low < found.high).all()
    assert found.values.sum() == pytest.approx(exact[-1] - exact[0], rel=1e-5)
    orders = -(-2000 // N) * N if method == "stratified" else 2000
    assert found.evaluations == 2 + orders * (N - 1)


@pytest.mark.parametrize("method", METHODS)
def test_groups_of_orders_are_what_they_are_called(method, monkeypatch):
    seen = []

    def spy(*args):
        seen.append(estimate_module._evaluate_(*args))
        return seen[-1]

    monkeypatch.setattr(estimate_module, "_evaluate_", estimate_module._evaluate, False)
    monkeypatch.setattr(estimate_module, "_evaluate", spy)

    def number(m):
        return m @ (2.0 ** jnp.arange(N, dtype=jnp.float32))

    found = shapley(jax.random.key(5), number, permutations=1, method=method)
    groups = 10  # at least
    np.testing.assert_allclose(found.values, 2.0 ** np.arange(N))
    seen = (seen[0].astype(int)[:, None] >> np.arange(N)) & 1  # the masks
    size = {"antithetic": 2, "permutation": 1, "stratified": N}[method]
    assert found.evaluations == len(seen) == 2 + groups * size * (N - 1)
    assert seen[0].sum() == 0 and seen[1].sum() == N
    walks = seen[2:].reshape(groups * size, N - 1, N)
    np.testing.assert_array_equal(
        walks.sum(-1), np.tile(np.arange(1, N), (groups * size, 1))
    )
    assert (np.diff(walks, axis=1) >= 0).all()
    if method == "antithetic":  # the reverse keeps what the order has not yet
        np.testing.assert_array_equal(walks[0], 1 - walks[1][::-1])
    if method == "stratified":  # a Latin square, balanced as N is even
        whole = np.concatenate([walks, np.ones((len(walks), 1, N), int)], axis=1)
        orders = (N - whole.sum(axis=1))[:N].argsort(axis=1)  # nodes as they join
        assert all(sorted(column) == list(range(N)) for column in orders.T)
        after = [pair for row in orders for pair in zip(row, row[1:], strict=False)]
        assert len(set(after)) == N * (N - 1)


def test_pairs_cancel_in_an_order_and_its_reverse():
    def pairs(m):
        return m @ WEIGHTS[0] @ m

    found = shapley(jax.random.key(0), fn=pairs, permutations=4)
    exact = hypercube.shapley(hypercube.evaluate(pairs, N, progress=False))
    np.testing.assert_allclose(found.values, exact, atol=1e-5)
    assert (found.errors < 1e-5).all()


def test_draws_do_not_depend_on_the_batch():
    for sample in (shapley, lambda key, **o: mean(key, 0.3, **o)):
        a, b = (sample(jax.random.key(2), batch_size=k) for k in (7, 100))
        np.testing.assert_allclose(a.values, b.values, rtol=1e-5)
        np.testing.assert_allclose(a.errors, b.errors, rtol=1e-5)


def test_means_of_every_probability_from_one_sample(exact):
    p = np.array([[0.0, 0.25], [0.7, 1.0]])
    found = mean(jax.random.key(3), p, samples=40)
    true = hypercube.mean(exact, p)
    assert found.values.shape == (2, 2) and 30 < found.evaluations <= 40
    assert found.errors[0, 1] > 0 < found.errors[1, 0]
    assert (np.abs(found.values - true) <= 4 * found.errors + 1e-5).all()
    assert found.errors[0, 0] == found.errors[1, 1] == 0
    np.testing.assert_allclose(found.low[0, 0], exact[0], atol=1e-6)
    np.testing.assert_allclose(found.high[1, 1], exact[-1], rtol=1e-5)


@pytest.mark.slow
def test_sizes_with_few_subsets_are_evaluated_as_a_whole(exact):
    found = mean(jax.random.key(3), np.array([0.3, 0.5]), samples=400)
    assert found.evaluations == 64 and (found.errors == 0).all()
    true = hypercube.mean(exact, np.array([0.3, 0.5]))
    np.testing.assert_allclose(found.values, true, rtol=1e-6)

    def rare(m):
        return (m[0] * m.sum() == 1).astype(jnp.float32)  # one subset alone

    for seed in range(5):  # two samples of six would miss it, and agree
        found = mean(jax.random.key(seed), 0.1, samples=20, fn=rare)
        assert found.low <= 0.1 * 0.9**5 + 1e-6 and found.values > 0


def test_sizes_without_a_chance_get_no_samples():
    found = mean(jax.random.key(0), 0.01, samples=1000, fn=jnp.sum, n=400)
    assert found.values == pytest.approx(4) and found.evaluations <= 1000
    seen = hypercube.estimate_mean(
        lambda m: jnp.where(m.sum() > 100, jnp.nan, 1.0),
        400, 0.01, key=jax.random.key(0), samples=1000, progress=False,
    )  # fmt: skip
    assert seen.values == pytest.approx(1)


def test_intervals_are_students(exact):
    found = shapley(jax.random.key(1), permutations=12, method="permutation")
    expected = stats.t.interval(0.95, 11, found.values, found.errors)
    np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-6)

    def one(m):
        return jnp.where(m.sum() == 3, m @ jnp.arange(6.0), 0.0)

    found = mean(jax.random.key(1), 0.5, samples=2 * N, fn=one, confidence=0.8)
    expected = stats.t.interval(0.8, 1, found.values, found.errors)  # two of size 3
    assert found.errors > 0
    np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-6)


def test_sizes_alone_leave_no_variance():
    found = mean(jax.random.key(3), 0.4, fn=lambda m: m.sum() ** 2, samples=2 * N)
    true = (0.4 * N) ** 2 + N * 0.24
    assert found.values == pytest.approx(true) and found.errors < 1e-6


def test_many_nodes():
    found = mean(jax.random.key(0), 0.5, samples=4000, fn=jnp.sum, n=1500)
    assert found.values == pytest.approx(750) and np.isfinite(found.errors)


def test_one_node():
    def fn(m):
        return 2 + 3 * m[0]

    for method in METHODS:
        found = shapley(jax.random.key(0), fn=fn, n=1, method=method)
        assert found.values.tolist() == [3] and found.errors.tolist() == [0]
        assert found.evaluations == 2
    assert mean(jax.random.key(0), 0.5, fn=fn, n=1).values == 3.5


def coverage(sample, true, repeats):
    found = [sample(jax.random.key(100 + i)) for i in range(repeats)]
    return np.mean([(e.low <= true) & (true <= e.high) for e in found])


def cached(exact, n=N):
    values = jnp.asarray(exact)
    places = jnp.asarray(1 << np.arange(n), jnp.int32)
    return lambda m: values[m.astype(jnp.int32) @ places]


def test_intervals_cover_roughly_as_often_as_they_say(exact):
    """Loose, as it is quick; benchmarks/hypercube_indices.py measures it."""
    options = {"permutations": 40, "confidence": 0.6, "batch_size": 64}

    def run(key):
        return shapley(key, cached(exact), **options)

    assert 0.35 < coverage(run, hypercube.shapley(exact), 10) < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("method", [*METHODS, "mean"])
def test_intervals_cover_as_often_as_they_say(exact, method):
    table = cached(exact)
    p = np.array([0.25, 0.5, 0.75])
    options = {"confidence": 0.9, "batch_size": 64}
    if method == "mean":
        many = np.random.default_rng(0).normal(size=1 << 10).astype(np.float32)

        def run(key):
            return mean(key, p, 200, cached(many, 10), 10, **options)

        found = coverage(run, hypercube.mean(many, p), 100)
    else:

        def run(key):
            return shapley(key, table, permutations=120, method=method, **options)

        found = coverage(run, hypercube.shapley(exact), 100)
    assert abs(found - 0.9) < 0.06


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda k: shapley(k, method="owen"), "unknown method 'owen'; there are 'anti"),
        (lambda k: shapley(k, permutations=0), "0 permutations; expected at least 1"),
        (lambda k: shapley(k, n=0), "got 0 nodes"),
        (lambda k: shapley(k, confidence=1.0), "confidence must be between 0 and 1"),
        (lambda k: shapley(k, fn=lambda m: m), "fn must return a scalar, got .*6"),
        (lambda k: shapley(k, fn=lambda m: (m[0], m[1])), "fn must return a scalar"),
        (lambda k: mean(k, 1.5), "keep_prob must be in"),
        (lambda k: mean(k, np.zeros(0)), "keep_prob must be in"),
        (lambda k: mean(k, 0.5, samples=11), "6 nodes and 11 samples"),
        (lambda k: mean(k, 0.5, confidence=0.0), "confidence must be"),
        (lambda k: shapley(0), "key must come from jax.random.key, got the int 0"),
        (lambda k: mean(jax.random.PRNGKey(0), 0.5), "not jax.random.PRNGKey"),
    ],
    ids=range(12),
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0))


def test_nan_is_reported_once_and_left_in_the_estimate():
    def fn(m):
        return jnp.where(m.sum() == 3, jnp.nan, m.sum())

    with pytest.warns(UserWarning, match="masks are NaN; .* keeps 3 of 6 entries"):
        found = shapley(jax.random.key(0), fn=fn, permutations=4)
    assert np.isnan(found.values).any()
