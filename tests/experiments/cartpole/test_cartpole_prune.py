"""Pruning agents by their return: the pieces."""

import itertools as it

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.experiments.cartpole import agents as agents_
from sparsejax.experiments.cartpole import lottery, measure, walks
from sparsejax.rl import dqn

CONFIG = dqn.Config(
    widths=(4, 3), steps=512, block=128, updates=4, evaluations=1, episodes=2
)


def _blank(*sizes):
    """One agent of zeros, stacked."""
    shapes = list(zip(sizes, sizes[1:], strict=False))

    def zeros(*shape):
        return np.zeros((1, *shape), np.float32)

    return {f"dense_{i}": {"kernel": zeros(a, b), "bias": zeros(b)}
            for i, (a, b) in enumerate(shapes)}  # fmt: skip


def _agents(getkey, number=3):
    params = jax.vmap(lambda key: dqn.init(CONFIG, key))(
        jax.random.split(getkey(), number)
    )
    return agents_.everything(params)


def _paths(kept):
    """Weights on a path from input to output, one path at a time."""
    one, two, three = (mask[0] for mask in kept.values())
    found = [np.zeros_like(mask) for mask in (one, two, three)]
    spans = map(range, (*one.shape, *three.shape))
    for i, j, k, m in it.product(*spans):
        if one[i, j] and two[j, k] and three[k, m]:
            found[0][i, j] = found[1][j, k] = found[2][k, m] = True
    return found


@pytest.mark.parametrize("share", [0.2, 0.4, 0.8])
def test_live_is_what_paths_pass(share, rng):
    for _ in range(20):
        kept = {
            f"dense_{i}": rng.random((1, a, b)) < share
            for i, (a, b) in enumerate([(4, 4), (4, 3), (3, 2)])
        }
        for mask, expected in zip(
            agents_.live(kept).values(), _paths(kept), strict=True
        ):
            np.testing.assert_array_equal(mask[0], expected)


def test_flat_and_back(getkey, rng):
    kept = _agents(getkey).kept
    rows = rng.random((3, 34)) < 0.5
    back = agents_.unflat(rows, kept)
    np.testing.assert_array_equal(agents_.flat(back), rows)
    np.testing.assert_array_equal(agents_.count(back), rows.sum(1))


def test_compensated_keeps_the_means_of_what_is_left(getkey, rng):
    agents = _agents(getkey, 1)
    params = jax.tree.map(lambda leaf: leaf[0], agents.params)
    seen = rng.standard_normal((50, 4)).astype(np.float32)
    kept = {
        name: (rng.random(m[0].shape) < 0.6) * 1.0 for name, m in agents.kept.items()
    }
    new = walks.compensated(*jax.tree.map(jnp.float32, (params, kept, seen)))
    h = g = seen.astype(np.float64)
    for name in kept:
        whole = h @ params[name]["kernel"] + params[name]["bias"]
        left = g @ (params[name]["kernel"] * kept[name])
        bias = np.where((kept[name] == 0).any(0), (whole - left).mean(0),
                        params[name]["bias"])  # fmt: skip
        np.testing.assert_allclose(new[name]["bias"], bias, atol=1e-5)
        assert (np.asarray(new[name]["kernel"])[kept[name] == 0] == 0).all()
        h, g = np.maximum(whole, 0), np.maximum(left + bias, 0)


def test_nothing_removed_changes_nothing(getkey, rng):
    agents = _agents(getkey, 1)
    params = jax.tree.map(lambda leaf: leaf[0], agents.params)
    ones = jax.tree.map(lambda mask: jnp.ones(mask[0].shape), agents.kept)
    seen = jnp.float32(rng.standard_normal((9, 4)))
    new = walks.compensated(jax.tree.map(jnp.asarray, params), ones, seen)
    jax.tree.map(np.testing.assert_array_equal, new, params)


def _round(state, score, target=10.0):
    def train(mask):
        return jax.tree.map(
            lambda leaf, kept: leaf * np.reshape(kept, (-1, *[1] * (leaf.ndim - 1)))
            if kept.ndim < leaf.ndim else leaf * kept, state.agents.params, mask,
        )  # fmt: skip

    return lottery.one_round(state, train, score, target, 0.5, 2)


def test_a_round_removes_the_smallest_weights_and_steps_back(getkey):
    agents = _agents(getkey)
    state = lottery.start(agents, 0.5)
    np.testing.assert_array_equal(state.amount, 17)
    after, steps = _round(state, lambda params: np.array([10.0, 9.0, 11.0]))
    np.testing.assert_array_equal(steps.accepted, [[True, False, True]])
    assert agents_.count(after.agents.kept)[1] == 34
    assert after.amount[1] == 8 and after.skip[1] == 0
    size = np.abs(agents_.flat({n: agents.params[n]["kernel"] for n in agents.kept}))
    for i in (0, 2):
        expected = agents_.unflat(
            (size >= np.sort(size, axis=1)[:, 17:18]), agents.kept
        )
        np.testing.assert_array_equal(
            agents_.flat(after.agents.kept)[i], agents_.flat(agents_.live(expected))[i]
        )
    removed = ~after.agents.kept["dense_0"][0]
    assert (after.agents.params["dense_0"]["kernel"][0][removed] == 0).all()


def test_single_weights_are_tried_until_patience_ends(getkey):
    state = lottery.start(_agents(getkey, 1), 0.1)

    def never(params):
        return np.zeros(1)

    seen = []
    while not state.over.all():
        state, steps = _round(state, never)
        seen.append(int(steps.weights[0, 0]))
    assert seen[0] <= 31 and len(seen) == 3  # 3 weights, 1, another one
    assert agents_.count(state.agents.kept) == 34


def test_without_retraining_removes_until_nothing_can_go(getkey):
    agents = _agents(getkey, 2)
    found, steps = walks.without_retraining(
        CONFIG,
        agents,
        5.0,
        key=getkey(),
        walkers=2,
        noise=0.5,
        log=lambda line: None,
    )
    left = agents_.count(found.kept)
    assert left.shape == (4,) and (left >= 3).all()
    assert (steps.returns[steps.accepted] >= 5.0).all()
    for at in range(4):
        kept = steps.weights[:, at][steps.accepted[:, at]]
        assert (np.diff(kept) <= 0).all() and kept[-1] == left[at]
    for name, mask in found.kept.items():
        assert (found.params[name]["kernel"][~mask] == 0).all()


def test_impossible_targets_leave_the_agents_alone(getkey):
    agents = _agents(getkey, 2)
    found, steps = walks.without_retraining(
        CONFIG,
        agents,
        1e9,
        key=getkey(),
        walkers=1,
        noise=0.0,
        log=lambda line: None,
    )
    assert not steps.accepted.any()
    jax.tree.map(np.testing.assert_array_equal, found.params, agents.params)


def test_subsets_of_inputs(getkey):
    """An agent that reads the angle alone does not mind losing the others."""
    params = _blank(4, 2, 2)
    params["dense_1"]["kernel"][0] = np.eye(2)
    params["dense_0"]["kernel"][0, 2] = [-1, 1]
    config = dqn.Config(widths=(2,))
    found = measure.without_inputs(config, params, getkey())[0]
    with_angle = np.array([m >> 2 & 1 for m in range(16)], bool)
    assert np.ptp(found[with_angle]) == 0 and np.ptp(found[~with_angle]) == 0
    assert found[with_angle][0] > found[~with_angle][0]


def test_counts_of_an_agent(getkey):
    params = _blank(4, 3, 2)
    params["dense_0"]["kernel"][0, 2, 0] = 1.0  # bends
    params["dense_0"]["kernel"][0, 3, 1] = 1.0
    params["dense_0"]["bias"][0, 1] = 50.0  # always on
    params["dense_0"]["bias"][0, 2] = 1.0  # feeds nothing: not counted
    params["dense_1"]["kernel"][0, [0, 1], [1, 0]] = 1.0
    kept = {name: layer["kernel"] != 0 for name, layer in params.items()}
    config = dqn.Config(widths=(3,))
    agents = agents_.Agents(params, kept)
    record = measure.agent_record(config, agents, 0, np.array([9.0, 11.0]))
    assert record == {
        "weights": 4, "biases": 1, "units": 2, "bent_units": 1,
        "inputs": ["angle", "angular velocity"], "return": 10.0, "lowest": 9.0,
    }  # fmt: skip


def test_units_are_removed_in_order(getkey):
    agents = _agents(getkey, 2)
    found = measure.without_units(CONFIG, agents, getkey())
    assert found.shape == (2, 8) and (found > 0).all()


def test_the_best_has_fewest_weights_at_the_target():
    def record(weights, found, bent=0):
        return {
            "kind": "agent", "weights": weights, "return": found, "bent_units": bent,
            "inputs": [],
        }  # fmt: skip

    some = [record(3, 400.0), record(9, 500.0), record(5, 500.0), record(5, 500.0, 2)]
    assert measure.best(some, 500.0) == some[3]
    assert measure.best(some, 600.0) == some[1]
