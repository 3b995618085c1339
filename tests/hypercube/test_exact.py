"""Exact sums over all subsets, against brute force that follows the definitions."""

import inspect
import itertools as it
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsejax as sj
from sparsejax import hypercube


def table(n, seed=0):
    return np.random.default_rng(seed).normal(size=1 << n)


def members(m, n):
    return [i for i in range(n) if m >> i & 1]


def number(nodes):
    return sum(1 << i for i in nodes)


def test_walsh_by_its_definition():
    values, n = table(4), 4
    signs = [[(-1) ** (s & m).bit_count() for m in range(16)] for s in range(16)]
    np.testing.assert_allclose(hypercube.walsh(values), signs @ values / 16)
    again = hypercube.walsh(hypercube.walsh(values)) * 2**n
    np.testing.assert_allclose(again, values, atol=1e-14)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_means_and_weights_by_enumeration(p):
    values, n = table(5), 5
    chance = [p ** m.bit_count() * (1 - p) ** (n - m.bit_count()) for m in range(32)]
    np.testing.assert_allclose(hypercube.probabilities(n, p), chance, atol=1e-15)
    assert hypercube.mean(values, p) == pytest.approx(chance @ values)
    many = hypercube.mean(values, np.full((2, 3), p))
    np.testing.assert_allclose(many, np.full((2, 3), chance @ values), atol=1e-14)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_rank_by_counting(p):
    values, n = np.round(table(5, 8), 1), 5  # with ties
    chance = hypercube.probabilities(n, p)
    for value in (-9.0, values[7], 0.05, 9.0):
        expected = chance[values <= value].sum()
        assert hypercube.cdf(values, value, p) == pytest.approx(expected, abs=1e-12)
    many = hypercube.cdf(values, values.reshape(4, 8), p)
    expected = [chance[values <= v].sum() for v in values]
    np.testing.assert_allclose(many.reshape(-1), expected, atol=1e-12)


def test_one_node_is_enough():
    values = np.array([1.0, 4.0])
    assert hypercube.mean(values, 0.25) == 1.75
    assert hypercube.cdf(values, 2.0, 0.25) == 0.75
    np.testing.assert_allclose(
        hypercube.path_covariance(values) * 4, [[9, -9], [-9, 9]]
    )
    for found in (hypercube.shapley, hypercube.banzhaf):
        assert found(values).tolist() == [3]
    assert hypercube.moebius(values).tolist() == [1, 3]
    assert hypercube.interactions(values, order=1).tolist() == [3]
    assert hypercube.best(values).subsets.tolist() == [0, 1]
    assert hypercube.local_minima(values).tolist() == [0]


def test_path_covariance_by_walking_every_path():
    values, n = table(4, 1), 4
    walks = []
    for start, order in it.product(range(16), it.permutations(range(n))):
        walk = list(it.accumulate(order, lambda m, i: m ^ 1 << i, initial=start))
        walks.append(values[walk])
    expected = np.cov(np.array(walks).T, bias=True)
    np.testing.assert_allclose(hypercube.path_covariance(values), expected, atol=1e-13)


def test_shapley_by_all_orders():
    values, n = table(5, 2), 5
    total = np.zeros(n)
    for order in it.permutations(range(n)):
        joined = 0
        for i in order:
            total[i] += values[joined | 1 << i] - values[joined]
            joined |= 1 << i
    expected = total / math.factorial(n)
    np.testing.assert_allclose(hypercube.shapley(values), expected, atol=1e-13)
    assert hypercube.shapley(values).sum() == pytest.approx(values[-1] - values[0])


def test_banzhaf_by_enumeration_and_its_integral():
    values, n = table(4, 3), 4
    for p in (0.5, 0.2):
        expected = [
            sum(
                p ** m.bit_count() * (1 - p) ** (n - 1 - m.bit_count())
                * (values[m | 1 << i] - values[m])
                for m in range(16) if not m >> i & 1
            )
            for i in range(n)
        ]  # fmt: skip
        np.testing.assert_allclose(hypercube.banzhaf(values, p), expected, atol=1e-13)
    points, chances = np.polynomial.legendre.leggauss(8)
    parts = [c * hypercube.banzhaf(values, (x + 1) / 2)
             for x, c in zip(points, chances, strict=True)]  # fmt: skip
    np.testing.assert_allclose(sum(parts) / 2, hypercube.shapley(values), atol=1e-13)
    slope = (
        hypercube.mean(values, 0.3 + 1e-5) - hypercube.mean(values, 0.3 - 1e-5)
    ) / 2e-5
    assert hypercube.banzhaf(values, 0.3).sum() == pytest.approx(slope, abs=1e-8)


def test_moebius_by_inclusion_and_exclusion():
    values = table(4, 4)
    found = hypercube.moebius(values)
    for m in range(16):
        parts = [s for s in range(16) if s & m == s]
        signed = [(-1) ** (m ^ s).bit_count() * values[s] for s in parts]
        assert found[m] == pytest.approx(sum(signed))
        assert found[parts].sum() == pytest.approx(values[m])


def test_a_thousand_paths_scatter_around_the_exact_covariance_of_ten_nodes():
    values, n = table(10, 9), 10
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 1 << n, 40_000)
    flips = rng.permuted(np.tile(1 << np.arange(n), (40_000, 1)), axis=1)
    walks = np.concatenate([starts[:, None], flips], axis=1)
    walks = values[np.bitwise_xor.accumulate(walks, axis=1)]
    exact = hypercube.path_covariance(values)
    assert np.abs(np.cov(walks.T) - exact).max() < 0.03


def differences(values, together, rest):
    """The discrete derivative of `together` at a set of other nodes."""
    return sum(
        (-1) ** (len(together) - k) * values[number(part) | number(rest)]
        for k in range(len(together) + 1)
        for part in it.combinations(together, k)
    )


@pytest.mark.parametrize("order", [1, 2, 3])
def test_interactions_by_their_definitions(order):
    values, n = table(5, 5), 5
    sii, bii = (hypercube.interactions(values, i, order) for i in ("sii", "banzhaf"))
    assert sii.shape == bii.shape == (n,) * order
    for together in it.product(range(n), repeat=order):
        if len(set(together)) < order:
            assert sii[together] == bii[together] == 0
            continue
        others = [i for i in range(n) if i not in together]
        expected = {"sii": 0.0, "bii": 0.0}
        for k in range(len(others) + 1):
            for rest in it.combinations(others, k):
                change = differences(values, together, rest)
                ways = math.factorial(len(others) - k) * math.factorial(k)
                expected["sii"] += change * ways / math.factorial(len(others) + 1)
                expected["bii"] += change / 2 ** len(others)
        assert sii[together] == pytest.approx(expected["sii"], abs=1e-12)
        assert bii[together] == pytest.approx(expected["bii"], abs=1e-12)


def test_interactions_of_order_one_are_the_values_of_nodes():
    values = table(6, 6)

    def one(index):
        return hypercube.interactions(values, index, 1)

    np.testing.assert_allclose(one("sii"), hypercube.shapley(values), atol=1e-13)
    np.testing.assert_allclose(one("banzhaf"), hypercube.banzhaf(values), atol=1e-13)


def test_best_and_local_minima_by_search():
    values, n = np.round(table(6, 7), 1), 6  # with ties
    found = hypercube.best(values)
    for k in range(n + 1):
        ours = [m for m in range(64) if m.bit_count() == k]
        assert found.subsets[k] == min(ours, key=lambda m: (values[m], m))
        assert found.values[k] == values[found.subsets[k]]

    def flips(m):
        return [values[m ^ 1 << i] for i in range(n)]

    minima = [m for m in range(64) if all(values[m] <= v for v in flips(m))]
    assert hypercube.local_minima(values).tolist() == minima
    dead = np.array([3.0, 1, 2, 4])[np.arange(8) % 4]  # the third node does nothing
    assert hypercube.local_minima(dead).tolist() == [1, 2, 5, 6]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 7), st.integers(0, 10**6))
def test_a_sum_of_nodes_has_no_interactions(n, seed):
    effects = np.random.default_rng(seed).normal(size=n)
    values = np.array([effects[members(m, n)].sum() for m in range(1 << n)])
    np.testing.assert_allclose(hypercube.shapley(values), effects, atol=1e-12)
    np.testing.assert_allclose(hypercube.banzhaf(values, 0.7), effects, atol=1e-12)
    if n > 1:
        assert np.abs(hypercube.interactions(values)).max() < 1e-12
    covariance = hypercube.path_covariance(values)
    assert covariance[0, 0] == pytest.approx(values.var())
    assert covariance[0, n] == pytest.approx(-values.var())


def test_values_come_from_a_sweep():
    def score(m):
        return (m * np.arange(1.0, 5.0, dtype="f4")).sum()

    values = sj.sweep.evaluate(score, sj.masks.subsets(4), progress=False)
    np.testing.assert_allclose(hypercube.shapley(values), [1, 2, 3, 4], atol=1e-6)
    assert hypercube.best(-values).subsets.tolist() == [0, 8, 12, 14, 15]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: hypercube.walsh(np.zeros(6)), r"2\^n.*got shape \(6,\)"),
        (lambda: hypercube.walsh(np.zeros(1)), r"n >= 1"),
        (lambda: hypercube.walsh(np.zeros((2, 2))), r"\(2, 2\)"),
        (lambda: hypercube.best(np.array([0, 1, np.nan, 2])),
         r"1 of 4 values are not finite; .* nan, of the nodes \[1\]"),
        (lambda: hypercube.mean(np.zeros(4), 1.5), "keep_prob must be in"),
        (lambda: hypercube.probabilities(3, -0.1), "keep_prob must be one number in"),
        (lambda: inspect.unwrap(hypercube.probabilities)(3, np.array([0.1, 0.2])),
         r"one number in \[0, 1\], got \[0.1 0.2\]"),
        (lambda: hypercube.probabilities(-1, 0.5), "an integer, got -1"),
        (lambda: inspect.unwrap(hypercube.probabilities)(2.5, 0.5),
         "an integer, got 2.5"),
        (lambda: hypercube.cdf(np.zeros(4), np.array([0, np.nan])), "1 of 2 values"),
        (lambda: hypercube.walsh(np.zeros(4) + 1j), "values are complex"),
        (lambda: hypercube.interactions(np.zeros(1 << 10), order=10),
         "interactions of 10 of 10 nodes need 1,120.0 GB"),
        (lambda: hypercube.interactions(np.zeros(4), "fsii"), "unknown index 'fsii'"),
        (lambda: hypercube.interactions(np.zeros(4), order=0), "at least 1, got 0"),
    ],
)  # fmt: skip
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("several", [list, tuple, np.array, iter])
def test_several_probabilities_are_read_once(several):
    values = np.arange(8.0)
    expected = [hypercube.mean(values, p) for p in (0.25, 0.5)]
    found = hypercube.mean(values, several([0.25, 0.5]))
    np.testing.assert_allclose(found, expected)
