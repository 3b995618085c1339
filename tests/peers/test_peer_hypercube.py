"""shapiq's exact computer as an oracle, pointed at our tables and at our evaluator."""

import itertools as it

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import hypercube

with_warnings = pytest.mark.filterwarnings("ignore")
N = 12


@pytest.fixture(scope="module")
def table():
    weights = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)

    def fn(m):
        return jnp.tanh(m @ weights).sum() + jnp.cos(m @ weights[:, 0])

    values = hypercube.evaluate(fn, N, progress=False)
    return values.astype(np.float64), jax.jit(jax.vmap(fn))


@pytest.fixture(scope="module")
def computer(table):
    shapiq = pytest.importorskip("shapiq", reason="needs the extra 'peers'")

    # a game is any function of a 0/1 matrix, one coalition a row: our table is one
    def game(coalitions):
        return table[0][np.asarray(coalitions) @ (1 << np.arange(N))]

    return shapiq.ExactComputer(game, N)


@with_warnings
def test_single_nodes(table, computer):
    for name, ours in (("SV", hypercube.shapley), ("BV", hypercube.banzhaf)):
        theirs = computer(name, 1)
        found = [theirs[(i,)] for i in range(N)]
        np.testing.assert_allclose(ours(table[0]), found, atol=1e-9)


@with_warnings
@pytest.mark.parametrize("name, index", [("SII", "sii"), ("BII", "banzhaf")])
def test_interactions_of_pairs(table, computer, name, index):
    theirs = computer(name, 2)
    ours = hypercube.interactions(table[0], index)
    for pair in it.combinations(range(N), 2):
        assert ours[pair] == pytest.approx(theirs[pair], abs=1e-9)


@with_warnings
def test_moebius(table, computer):
    theirs = computer("Moebius", N)
    ours = hypercube.moebius(table[0])
    for size in range(1, N + 1):
        for nodes in it.combinations(range(N), size):
            ours_here = ours[sum(1 << i for i in nodes)]
            assert ours_here == pytest.approx(theirs[nodes], abs=1e-9)


@with_warnings
def test_our_functions_are_games_too(table):
    shapiq = pytest.importorskip("shapiq", reason="needs the extra 'peers'")

    def fn(coalitions):
        return np.asarray(table[1](np.asarray(coalitions, np.float32)))

    theirs = shapiq.ExactComputer(fn, N)("SV", 1)
    ours = hypercube.shapley(table[0])
    np.testing.assert_allclose(ours, [theirs[(i,)] for i in range(N)], atol=1e-6)
