"""The smallest valid set, against all sets."""

import itertools as it

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import circuits


def key():
    return jax.random.key(0)


def smallest(valid, n):
    for size in range(n + 1):
        for nodes in it.combinations(range(n), size):
            keep = np.isin(np.arange(n), nodes)
            if valid(keep):
                return size
    return None


@pytest.mark.parametrize("seed", range(6))
def test_random_monotone_predicates(seed):
    rng = np.random.default_rng(seed)
    terms = [set(rng.choice(9, rng.integers(2, 6), replace=False)) for _ in range(3)]

    def valid(keep):
        return any(term <= {*np.flatnonzero(keep)} for term in terms)

    result = circuits.hitting_set(valid, 9, key=jax.random.key(seed))
    assert len(result.subset) == smallest(valid, 9) == result.at_least
    assert set(result.subset) in terms and result.proved and result.monotone_share == 1


def test_many_nodes_take_few_evaluations():
    terms = [{1, 17, 33, 50, 77, 90}, {2, 17, 33, 51, 78, 91, 92}]

    def valid(keep):
        return any(keep[[*term]].all() for term in terms)

    result = circuits.hitting_set(valid, 100, key=key())
    assert result.subset == terms[0] and result.proved and result.evaluations < 2500


def test_any_so_many_of_them():
    result = circuits.hitting_set(lambda keep: keep.sum() >= 3, 6, key=key())
    assert len(result.subset) == 3 and result.proved


def test_a_limit_ends_with_the_smallest_so_far_not_proved():
    result = circuits.hitting_set(lambda k: k[:12].sum() >= 6, 20, key=key(), limit=60)
    assert len(result.subset) == 6 and not result.proved and result.at_least < 6


def test_what_is_not_monotone_is_seen_and_not_proved():
    """Node 0 does harm: with it no set is valid but that of all nodes."""

    def valid(keep):
        return keep.all() or bool(keep[1] and keep[2] and not keep[0])

    result = circuits.hitting_set(valid, 6, key=key())
    assert result.monotone_share < 1 and not result.proved
    assert valid(np.isin(np.arange(6), [*result.subset]))


def test_nothing_valid():
    result = circuits.hitting_set(lambda keep: False, 4, key=key())
    assert result.subset is None and not result.proved


def test_a_loss_and_a_target():
    nodes = {"h": jnp.ones(5)}
    weights = jnp.array([0.1, 1.0, 2.0, 0.0, 1.0])
    valid = circuits.passing(lambda m: 4 - (m["h"] * weights).sum(), nodes, 1.0)
    result = circuits.hitting_set(valid, 5, key=key())
    assert result.proved and 2 in result.subset and len(result.subset) == 2
