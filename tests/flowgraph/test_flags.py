"""Findings are true, are all there, and say how sure they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.flowgraph import _evaluate as evaluate
from sparsejax.flowgraph import trace
from sparsejax.flowgraph._flags import PROOFS, Flag, flags


def found(graph, x=None):
    return {(flag.kind, flag.key): flag.proof for flag in flags(graph, x)}


def network(x):
    """Every kind of finding, on the domain [0, 1]^5; x[4] is not read."""
    dead = jax.nn.relu(-x[0] - x[1])
    fixed = jax.nn.relu(jnp.minimum(x[0], 0) + 2)
    stable = jax.nn.relu(x[0] + x[2])
    rare = jax.nn.relu(x[2] - 0.75)
    twin = jax.nn.relu(2 * x[2] - 1.5) / 2 + jax.nn.relu(x[2] - x[0] + 3)
    return jnp.stack([dead + 1, fixed * stable, rare + twin, stable - 7])


def test_every_kind_by_hand():
    graph = trace(network, jnp.zeros(5))
    assert found(graph) == {
        ("ignored input", "x[3]"): "structural",
        ("ignored input", "x[4]"): "structural",
        ("ignored input", "x[1]"): "bounds",
        ("constant output", "output_0"): "bounds",
        ("dead unit", "relu_0"): "bounds",
        ("dead unit", "min_0"): "bounds",
        ("constant unit", "relu_1"): "bounds",
        ("stable unit", "relu_2"): "bounds",
        ("stable unit", "relu_5"): "bounds",
        ("never wins", "output_0"): "bounds",
        ("never wins", "output_3"): "bounds",
    }


def test_structure_is_the_strongest_proof():
    def fn(x):
        return jnp.stack([x[0] * 0 + 3, x[1]])

    graph = trace(fn, jnp.zeros(3))
    x = np.zeros((4, 3), np.float32)
    flagged = flags(graph, x)
    assert Flag("constant output", "output_0", "structural", "always 3") in flagged
    keys = [(flag.kind, flag.key) for flag in flagged]
    assert len(keys) == len(set(keys))
    assert [flag.proof for flag in flagged] == sorted(
        (flag.proof for flag in flagged), key=PROOFS.index
    )


def test_observations_are_added_where_nothing_is_proved(rng):
    graph = trace(network, jnp.zeros(5))
    x = rng.uniform(0, 0.5, size=(200, 5)).astype(np.float32)
    proved, seen = found(graph), found(graph, x)
    assert proved.items() <= seen.items()
    extra = {kind for kind, key in seen.keys() - proved.keys()}
    assert extra == {"dead unit", "never wins"}  # x[2] > 0.75 was not among them
    assert all(seen[key] == "observed" for key in seen.keys() - proved.keys())


def test_units_equal_on_the_data(rng):
    def fn(x):
        return jnp.tanh(jax.nn.relu(x[0] - x[1])) + jnp.exp(jnp.abs(x[0] - x[1]))

    graph = trace(fn, jnp.zeros(2))
    x = rng.uniform(size=(50, 2)).astype(np.float32)
    assert not [f for f in flags(graph, x) if f.kind == "duplicate unit"]
    x = np.stack([x.max(axis=1), x.min(axis=1)], axis=1)
    (twin,) = [f for f in flags(graph, x) if f.kind == "duplicate unit"]
    assert twin.proof == "observed" and twin.detail.startswith("equals relu_0")


@pytest.mark.parametrize("level", ["dot", "neuron"])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_proved_is_true(seed, level, rng):
    draw = np.random.default_rng(seed)
    kernels = [
        jnp.asarray(draw.normal(size=s) * (draw.uniform(size=s) < 0.3), "f")
        for s in ((8, 10), (10, 6), (6, 4))
    ]
    shift = [jnp.asarray(draw.normal(size=n), "f") for n in (10, 6, 4)]

    def fn(x):
        for kernel, bias in zip(kernels[:-1], shift[:-1], strict=True):
            x = jax.nn.relu(x @ kernel + bias)
        return x @ kernels[-1] + 2 * shift[-1]

    dot = trace(fn, jnp.zeros(8))
    x = rng.uniform(size=(4000, 8))
    values = evaluate.in_numpy(dot, x)
    outputs = values[:, dot.outputs]
    column = {key: values[:, i] for i, key in enumerate(dot.keys)}
    column |= {name: outputs[:, k] for k, name in enumerate(dot.output_names)}
    flagged = flags(dot.at(level))
    for flag in flagged:
        if flag.kind in ("dead unit", "constant unit", "constant output"):
            assert np.ptp(column[flag.key]) == 0
            assert flag.kind != "dead unit" or not column[flag.key].any()
        elif flag.kind == "stable unit":
            before = dot.operands(dot.keys.index(flag.key))[0][0]
            assert (values[:, before] >= 0).all()
        elif flag.kind == "never wins":
            assert (outputs.argmax(axis=1) != dot.output_names.index(flag.key)).all()
        elif flag.kind == "ignored input":
            moved = x.copy()
            moved[:, dot.input_names.index(flag.key)] = rng.uniform(size=len(x))
            again = evaluate.in_numpy(dot, moved)[:, dot.outputs]
            np.testing.assert_array_equal(again, outputs)
    assert {f.kind for f in flagged} >= {"stable unit"}


def test_infinite_domains_prove_little():
    graph = trace(
        lambda x: jax.nn.relu(x[0] - x[1]), jnp.zeros(2), domain=(-np.inf, np.inf)
    )
    assert flags(graph) == []
