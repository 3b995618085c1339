"""Circuits from the table of all subsets, against searches by the definitions."""

import itertools as it
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsejax as sj
from sparsejax import hypercube
from sparsejax.models import planted

MIB = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)


def table(n, seed=0, digits=1):
    """With ties."""
    return np.round(np.random.default_rng(seed).normal(size=1 << n), digits)


def nodes(m, n=30):
    return {i for i in range(n) if m >> i & 1}


def number(members):
    return sum(1 << i for i in members)


def parts(m):
    return [s for s in range(m + 1) if s & m == s]


def above(m, n):
    return [t for t in range(1 << n) if t & m == m]


SIZES = pytest.mark.parametrize("n, seed", [(1, 0), (2, 1), (4, 2), (6, 3)])


@SIZES
def test_over_all_supersets_by_enumeration(n, seed):
    values = table(n, seed)
    want = [max(values[t] for t in above(m, n)) for m in range(1 << n)]
    np.testing.assert_array_equal(hypercube.worst(values), want)
    for q in (0.0, 0.3, 0.5, 1.0):
        means = [
            sum(
                q ** (t ^ m).bit_count() * (1 - q) ** (n - t.bit_count()) * values[t]
                for t in above(m, n)
            )
            for m in range(1 << n)
        ]
        mean = hypercube.over_supersets(values, q)
        np.testing.assert_allclose(mean, means, atol=1e-13)
        assert mean[0] == pytest.approx(hypercube.mean(values, q).item())
    found = hypercube.best_worst(values)
    for k in range(n + 1):
        best = min((want[m], m) for m in range(1 << n) if m.bit_count() == k)
        assert (found.values[k], found.subsets[k]) == best


@SIZES
def test_circuits_by_search(n, seed):
    values = table(n, seed)
    for target in (-9.0, *np.quantile(values, [0, 0.1, 0.4]), 9.0):
        valid = [m for m in range(1 << n) if values[m] <= target]
        least = [m for m in valid if not any(s in valid for s in parts(m)[:-1])]
        least.sort(key=lambda m: (m.bit_count(), m))
        assert hypercube.minimal(values, target).tolist() == least
        common = set.intersection(*map(nodes, valid)) if valid else set()
        assert {*hypercube.necessary(values, target).tolist()} == common
    for size, slack in it.product(range(n + 1), (0, 0.5)):
        own = [m for m in range(1 << n) if m.bit_count() == size]
        best = min(values[m] for m in own)
        close = [m for m in own if values[m] <= best + slack]
        close.sort(key=lambda m: (values[m], m))
        assert hypercube.near(values, size, slack).tolist() == close
    rises = [values[m | 1 << i] - values[m]
             for m in range(1 << n) for i in range(n) if not m >> i & 1]  # fmt: skip
    for tolerance in (0.0, 0.7):
        share = np.mean(np.array(rises) <= tolerance)
        assert hypercube.monotone_share(values, tolerance=tolerance) == share


@SIZES
def test_completeness_and_minimality_by_their_definitions(n, seed):
    values, whole = table(n, seed, 9), (1 << n) - 1
    for subset in {0, 1, whole, whole - 1, 37 & whole}:
        gaps = [abs(values[subset ^ k] - values[whole ^ k]) for k in parts(subset)]
        worst = hypercube.completeness(values, subset)
        assert worst.value == max(gaps) and worst.subset in parts(subset)
        assert worst.value == gaps[parts(subset).index(worst.subset)]
        want = [
            max(
                abs(values[subset ^ k ^ 1 << j] - values[subset ^ k])
                for k in parts(subset ^ 1 << j)
            )
            for j in sorted(nodes(subset))
        ]
        assert hypercube.minimality(values, subset).tolist() == want


@SIZES
def test_areas_under_faithfulness_by_hand(n, seed):
    values = table(n, seed, 9)
    rng = np.random.default_rng(seed)
    subsets = [number(rng.permutation(n)[:k]) for k in range(n + 1)]
    f = (values - values[0]) / (values[-1] - values[0])
    np.testing.assert_allclose(hypercube.faithfulness(values), f, atol=1e-12)
    own = f[subsets]
    area = sum((a + b) / 2 for a, b in zip(own, own[1:], strict=False)) / n
    assert hypercube.cpr(values, subsets) == pytest.approx(area)
    away = np.abs(1 - own)
    area = sum((a + b) / 2 for a, b in zip(away, away[1:], strict=False)) / n
    assert hypercube.cmd(values, iter(subsets)) == pytest.approx(area)
    few = [f[subsets[int(p * n)]] for p in MIB]
    ours = hypercube.cpr(values, subsets, points=MIB)
    assert ours == pytest.approx(np.trapezoid(few, MIB))


def test_the_perfect_circuit_in_the_ten_points_of_mib():
    values = np.ones(16)
    values[0] = 2.0
    values[1:] = 1.0
    subsets = [0, 1, 3, 7, 15]
    assert hypercube.cpr(values, subsets) == pytest.approx(1 - 1 / 8)
    dense = np.linspace(0.25, 1, 4)
    assert hypercube.cpr(values, subsets, points=dense) == pytest.approx(0.75)
    assert hypercube.cmd(values, subsets, points=dense) == 0


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(0, 10**6), st.floats(0, 1))
def test_laws(n, seed, q):
    values = table(n, seed)
    worst, mean = hypercube.worst(values), hypercube.over_supersets(values, q)
    assert (worst >= values).all() and (mean <= worst + 1e-12).all()
    np.testing.assert_array_equal(hypercube.worst(worst), worst)
    assert hypercube.monotone_share(worst) == 1
    assert worst[-1] == values[-1] == mean[-1]
    np.testing.assert_array_equal(hypercube.over_supersets(values, 0.0), values)
    target = np.quantile(values, 0.3)
    circuits = hypercube.minimal(values, target)
    assert len(circuits) and (values[circuits] <= target).all()
    for a, b in it.combinations(circuits.tolist(), 2):
        assert a & b not in (a, b)
    shared = number(hypercube.necessary(values, target).tolist())
    assert all(m & shared == shared for m in circuits.tolist())
    top = hypercube.best(values)
    for k in range(n + 1):
        assert values[hypercube.near(values, k, 0.0)].min() == top.values[k]
    if values[0] != values[-1]:
        order = [0, *it.accumulate(1 << np.arange(n))]
        rate = hypercube.cpr(values, order)
        assert rate + hypercube.cmd(values, order) >= 1 - 1e-12
        if values[0] > values[-1]:
            assert hypercube.cpr(values, top.subsets) >= rate - 1e-12
    assert hypercube.completeness(values, (1 << n) - 1).value == 0
    assert hypercube.completeness(values, 0).value == abs(values[0] - values[-1])
    found = hypercube.gates(values)
    np.testing.assert_array_equal(found.off, found.off.T)
    terms = hypercube.moebius(-values)
    for i, j in it.combinations(range(n), 2):
        most = np.abs(values[[1 << i, 1 << j, 1 << i | 1 << j]] - values[0]).max()
        index = found.off[i, j] * most
        assert index == pytest.approx(terms[1 << i | 1 << j], abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 6), st.integers(0, 10**6))
def test_indices_of_functions_that_no_node_harms_are_within_one(n, seed):
    values = hypercube.worst(table(n, seed))
    assert hypercube.monotone_share(values) == 1
    found = hypercube.gates(values)
    assert np.abs([found.off, found.on]).max() <= 1


def losses(network, metric=planted.error):
    sizes = {name: mask.size for name, mask in network.nodes.items()}
    weights = jax.tree.map(lambda leaf: jnp.ones(()), network.params)

    def loss(kept):
        nodes = {k: kept[k].reshape(m.shape) for k, m in network.nodes.items()}
        masks = sj.masks.Masks(weights, nodes)
        outputs = sj.masked(network.model.apply)(network.params, masks, network.x)
        return metric(outputs, None, network.y)

    return hypercube.evaluate(loss, sizes, progress=False)


def test_planted_gates():
    values = losses(planted.gates())
    circuits = hypercube.minimal(values, 0.0)
    assert [nodes(m) for m in circuits] == [{0, 2, 6}, {1, 2, 6}]
    assert hypercube.necessary(values, 0.0).tolist() == [2, 6]
    terms = hypercube.moebius(1 - values)
    both = number({0, 1, 2, 6})
    assert terms[circuits].tolist() == [1, 1] and terms[both] == -1
    assert {*np.flatnonzero(terms).tolist()} == {*circuits.tolist(), both}
    one, other = (hypercube.gates(values, m) for m in (circuits[0], both))
    pairs = np.ix_([0, 2, 6], [0, 2, 6])
    np.testing.assert_array_equal(one.on[pairs], 1 - np.eye(3))  # all three: an AND
    assert not one.off.any() and other.on[0, 1] == -1 and other.gain_on[0, 1] == 1
    circuit = number({0, 2, 6})
    np.testing.assert_array_equal(hypercube.minimality(values, circuit), [1, 1, 1])
    # what is lost of the circuit without 0, the network has in 1
    assert hypercube.completeness(values, circuit) == (1.0, 1)
    assert hypercube.completeness(values, both).value == 0
    assert hypercube.monotone_share(values) == 1
    np.testing.assert_array_equal(hypercube.worst(values), values)


def test_planted_thresholds_with_one_decoy_alone():
    values = losses(planted.threshold(3))
    (circuit,) = hypercube.minimal(values, 0.0)
    assert nodes(circuit) == {0, 1, 2, 5} and hypercube.monotone_share(values) < 1
    assert hypercube.worst(values)[circuit] == 1  # with unit 3 or 4, not with both
    assert hypercube.over_supersets(values, 0.5)[circuit] == 0.5


def test_planted_induction():
    def metric(outputs, reference, y):
        return sj.train.cross_entropy(outputs, y)

    values = losses(planted.induction(4, 7, backup=True), metric)
    assert values[-1] == pytest.approx(1.8e-4, rel=0.02)
    assert values[0] == pytest.approx(math.log(5))
    circuits = hypercube.minimal(values, 0.05)
    assert [nodes(m) for m in circuits] == [{0, 4}, {2, 4}]
    assert hypercube.necessary(values, 0.05).tolist() == [4]
    np.testing.assert_array_equal(hypercube.near(values, 2, 0.05), circuits)
    assert hypercube.worst(values)[circuits].max() < 0.05
    found = hypercube.gates(values)
    assert found.on[0, 2] < -0.99  # one of both heads is enough
    assert found.off[0, 4] > 0.99 and found.off[2, 4] > 0.99
    alone = values[(1 << 6) - 1 ^ circuits[0]]  # what remains is no circuit without 4
    assert alone > 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda v: hypercube.worst(v[:3]), r"2\^n.*got shape \(3,\)"),
        (lambda v: hypercube.minimal(v * np.nan, 0.0), "4 of 4 values are not finite"),
        (
            lambda v: hypercube.over_supersets(v, 1.5),
            r"one number in \[0, 1\], got 1.5",
        ),
        (lambda v: hypercube.over_supersets(v, math.nan), "in .0, 1., got nan"),
        (
            lambda v: hypercube.minimal(v, math.nan),
            "target is nan; expected one number",
        ),
        (lambda v: hypercube.necessary(v, math.nan), "target is nan"),
        (lambda v: hypercube.near(v, 3, 0.0), "size is 3; expected at most .* 2"),
        (lambda v: hypercube.near(v, -1, 0.0), "size is -1; expected at least 0"),
        (lambda v: hypercube.near(v, 1, -0.1), "slack is -0.1; expected at least 0"),
        (lambda v: hypercube.monotone_share(v, tolerance=-1.0), "tolerance is -1.0"),
        (lambda v: hypercube.faithfulness(0 * v), "value of all nodes is that of none"),
        (
            lambda v: hypercube.cpr(v, [0, 1]),
            "int64 of shape .2,.; expected 3 integers",
        ),
        (lambda v: hypercube.cpr(v, [0, 3, 3]), "subset 3 at 1 is not one of 1 of 2"),
        (lambda v: hypercube.cmd(v, [0, 1, 4]), "subset 4 at 2 is not"),
        (lambda v: hypercube.cpr(v, [0, 1, 3], points=[0.5, 0.1]), "rising shares"),
        (lambda v: hypercube.cpr(v, [0, 1, 3], points=[0.5, 1.1]), "rising shares"),
        (lambda v: hypercube.completeness(v, 4), "subset is 4; expected at most 3"),
        (lambda v: hypercube.minimality(v, -1), "subset is -1; expected at least 0"),
        (lambda v: hypercube.gates(v, 5), "subset is 5; expected at most 3, all of 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.array([3.0, 2.0, 1.0, 0.0]))


def test_tables_of_sixteen_nodes():
    values = np.random.default_rng(0).normal(size=1 << 16)
    calls = (
        hypercube.worst,
        lambda v: hypercube.minimal(v, -3.0),
        lambda v: hypercube.completeness(v, (1 << 16) - 1),
        lambda v: hypercube.minimality(v, (1 << 16) - 1),
    )
    for call in calls:
        assert np.size(call(values)[0]) == 1
