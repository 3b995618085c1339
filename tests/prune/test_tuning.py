"""Choosing densities of groups, against every choice there is."""

import itertools as it
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import prune, trees

GROUPS, DENSITIES = ["a", "b/*"], (1.0, 0.5, 0.25)


def fn(params, x):
    return jnp.tanh(x @ params["a"]) @ params["b"]["kernel"] + params["b"]["bias"]


@pytest.fixture
def network(rng):
    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {"a": draw(4, 8), "b": {"kernel": draw(8, 2), "bias": draw(2)}}


@pytest.fixture
def seen(network, rng):
    batches = jnp.asarray(rng.normal(size=(3, 20, 4)), jnp.float32)
    return [prune.layer_hessians(fn, network, batch) for batch in batches]


def tune(network, seen, score, **knobs):
    knobs = {"groups": GROUPS, "densities": DENSITIES[1:], "progress": False, **knobs}
    return prune.tune_density(network, seen, score, **knobs)


def moved(a, b) -> float:
    """How far a network is from another."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return sum(float(jnp.abs(x - y).sum()) for x, y in pairs)


def test_scores_are_means_over_networks_pruned_in_one_go(network, seen):
    def score(pruned, i):
        return (i + 1) * moved(pruned, network)

    found = tune(network, seen, score)
    for choice, value in found.trials.items():
        density = dict(zip(GROUPS, choice, strict=True))
        wanted = [
            score(prune.prune_layers(network, one, density).params, i)
            for i, one in enumerate(seen)
        ]
        assert value == pytest.approx(np.mean(wanted))
    assert next(iter(found.trials)) == (1.0, 1.0)
    assert found.score == max(found.trials.values())
    assert tuple(found.density.values()) == (0.25, 0.25)  # moves the most


def test_parts_that_add_up_have_the_best_of_all_choices(network, seen):
    wish = {"a": 24.0, "b": 8.0}  # weights that are left

    def score(pruned, i):
        left = {k: np.count_nonzero(v) for k, v in trees.by_path(pruned).items()}
        return -abs(left["a"] - wish["a"]) - 2 * abs(left["b/kernel"] - wish["b"])

    found = tune(network, seen, score)
    every = it.product(DENSITIES, repeat=2)
    alone = {c: -abs(32 * c[0] - 24) - 2 * abs(16 * c[1] - 8) for c in every}
    assert found.score == max(alone.values())
    assert found.density == {"a": 1.0, "b/*": 0.5}  # of two as good, what it had
    trace = prune.prune_layers(network, seen[0], found.density)
    assert score(trace.params, 0) == found.score


def test_layers_are_pruned_once_for_each_density(network, seen):
    calls = []

    def solve(kernel, state, density, block):
        calls.append((kernel.shape, density))
        return prune.obs(kernel, state, density, block_size=block)

    def score(pruned, i):
        return -moved(pruned, network)

    found = tune(network, seen, score, solve=solve, sweeps=5)
    assert found.density == {"a": 1.0, "b/*": 1.0}
    assert len(calls) == len(set(calls)) * len(seen) == 4 * len(seen)


def test_a_second_sweep_can_change_the_first_choice(network, seen):
    table = {(1, 1): 0, (1, 0.5): 1, (1, 0.25): 0, (0.5, 0.5): 2, (0.25, 0.5): 0,
             (0.5, 0.25): 3, (0.5, 1): 0, (0.25, 0.25): 0}  # fmt: skip

    def score(pruned, i):
        left = {k: np.count_nonzero(v) for k, v in trees.by_path(pruned).items()}
        return table[left["a"] / 32, left["b/kernel"] / 16]

    assert tune(network, seen, score, sweeps=1).score == 2
    assert tune(network, seen, score).density == {"a": 0.5, "b/*": 0.25}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seen": []}, "at least one sample"),
        ({"sweeps": 0}, "sweeps must be at least 1, got 0"),
        ({"groups": []}, "groups must be a list of patterns, got []"),
        ({"groups": ["a", "c"]}, "no kernel fits 'c'; there are 'a', 'b/kernel'"),
        ({"groups": ["a", "*"]}, "'a' is in the groups ['a', '*']"),
        ({"densities": [1.5]}, "density of 'b/*' must be in [0, 1], got 1.5"),
        ({"score": lambda pruned, i: np.nan}, "score is not finite at {'a': 1.0"),
    ],
)
def test_what_does_not_fit(change, message, network, seen):
    given = {"seen": seen, "score": lambda pruned, i: 0.0, **change}
    with pytest.raises(ValueError, match=re.escape(message)):
        tune(network, **given)
