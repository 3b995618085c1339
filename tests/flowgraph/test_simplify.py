"""A simplified graph is the same function on its domain, and smaller."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.flowgraph import SIMPLIFY_POLICIES as POLICIES
from sparsejax.flowgraph import Graph, _structure, trace
from sparsejax.flowgraph import _evaluate as evaluate


@ft.cache
def net(seed, shift=0.6, domain=(0.0, 1.0)) -> Graph:
    """A sparse net of many stable units, with max, min, where, abs and products."""
    rng = np.random.default_rng(seed)

    def kernel(*shape):
        return jnp.asarray(
            rng.normal(size=shape) * (rng.uniform(size=shape) < 0.4), "f"
        )

    def bias(n):
        return jnp.asarray(shift * rng.normal(size=n), "f")

    a, b, c, d = kernel(6, 9), kernel(9, 8), kernel(9, 8), kernel(8, 5)
    u, v, w, z = bias(9), bias(8), bias(8), bias(5)

    def fn(x):
        h = jax.nn.relu(x @ a + 2 * u)
        h = jnp.maximum(h @ b + 3 * v, jnp.minimum(h @ c, w))
        h = jnp.where(h > 1.5, h, jnp.abs(h) * jax.nn.relu(h[::-1] + 1.0))
        return jax.nn.relu(h @ d + 2 * z)

    return trace(fn, jnp.zeros(6), domain=domain)


@ft.cache
def simplified(seed, policy):
    return net(seed).simplify(policy)


def size(graph):
    return graph.num_vertices, graph.num_edges


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(12))
def test_agrees_on_the_domain(seed, policy, rng):
    graph, small = net(seed), simplified(seed, policy)
    x = rng.uniform(size=(3000, 6))
    x[::3] = np.round(x[::3])
    expected = evaluate.in_numpy(graph, x)[:, graph.outputs]
    found = evaluate.in_numpy(small, x)[:, small.outputs]
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    assert small.output_names == graph.output_names
    assert small.level == "dot" and small.shape == graph.shape


@pytest.mark.parametrize("seed", range(12))
def test_keys_stay_and_outputs_keep_theirs(seed):
    graph = net(seed)
    for policy in POLICIES:
        small = simplified(seed, policy)
        assert len(set(small.keys)) == len(small) and set(small.keys) <= set(graph.keys)

        def keys(g):
            return [g.keys[i] for i in g.outputs]

        assert keys(small) == keys(graph)
        assert small.simplify(policy).keys == small.keys


@pytest.mark.parametrize("seed", range(12))
def test_off_and_merge_if_smaller_never_grow(seed):
    graph = net(seed)
    off, smaller = graph.simplify(), graph.simplify("merge-if-smaller")
    assert size(off) <= size(graph) and off.num_edges <= graph.num_edges
    assert smaller.num_vertices <= off.num_vertices
    assert smaller.num_edges <= off.num_edges


def test_something_is_found_in_these_nets():
    sizes = np.array(
        [[sum(size(simplified(seed, p))) for p in POLICIES] for seed in range(12)]
    )
    full = np.array([sum(size(net(seed))) for seed in range(12)])
    assert (sizes[:, 0] < full).all()
    assert (sizes[:, 2] < sizes[:, 0]).any() and (sizes[:, 3] != sizes[:, 2]).any()


def traced(fn, n, domain=(0.0, 1.0)):
    return trace(fn, jnp.zeros(n), domain=domain)


def test_stably_zero_units_and_what_only_they_read_go():
    a = jnp.array([[1.0, -1.0], [0.0, 1.0]])
    graph = traced(lambda x: jax.nn.relu(x @ a + jnp.array([0.0, -1.0])).sum(), 2)
    small = graph.simplify()
    assert small.inputs.tolist() == [0]
    assert set(small.ops) == {"input", "relu", "affine"}  # the stable one keeps its box
    assert graph.simplify("passthrough").ops.count("relu") == 0
    assert graph.simplify("merge-all").ops == ("input", "affine")


def test_dominated_operands_and_known_branches_go():
    graph = traced(lambda x: jnp.max(x * jnp.array([1.0, 2, 1]) + jnp.arange(3.0)), 3)
    small = graph.simplify()
    assert small.inputs.tolist() == [1, 2] and small.num_edges == 4
    graph = traced(lambda x: jnp.max(x + 2 * jnp.arange(3.0)), 3)
    assert graph.simplify().inputs.tolist() == [2]
    graph = traced(lambda x: jnp.where(x[0] < 2, x[1], x[2]), 3)
    assert graph.simplify().inputs.tolist() == [1]
    assert graph.simplify("merge-all").ops == ("input", "affine")


def test_an_output_that_is_constant_becomes_a_constant():
    def fn(x):
        return jnp.stack([jax.nn.relu(-x[0]) + 3, x[1] * 2])

    small = traced(fn, 2).simplify()
    assert small.ops[small.outputs[0]] == "const" and small.inputs.tolist() == [1]
    assert small.consts[small.outputs[0]] == 3


def test_inputs_without_width_are_numbers():
    domain = np.array([0.5, 0.0]), np.array([0.5, 1.0])
    small = traced(lambda x: x @ jnp.array([2.0, 3.0]), 2, domain).simplify()
    assert small.inputs.tolist() == [1] and small.consts[-1] == 1.0


def test_units_that_become_equal_are_one():
    # the second unit differs only by a term that is always zero
    def fn(x):
        dead = jax.nn.relu(-x[0] - 1)
        one, two = jax.nn.relu(x[0] - x[1]), jax.nn.relu(x[0] - x[1] + dead)
        return jnp.tanh(one) * jnp.exp(two)

    graph = traced(fn, 2)
    assert graph.ops.count("relu") == 3 and graph.simplify().ops.count("relu") == 1


def hand(rows, inputs, outputs):
    """A dot graph of rows (op, args, coefs, const)."""
    like = trace(lambda x: x, jnp.zeros(inputs))
    nodes = [("input", [], [], 0.0, f"x[{i}]") for i in range(inputs)]
    nodes += [(*row, f"n[{i}]") for i, row in enumerate(rows)]
    names = tuple(f"y{i}" for i in range(len(outputs)))
    return _structure.build(nodes, like, outputs=np.array(outputs), output_names=names)


def test_merging_counts_edges():
    # 3 inputs -> one sum -> 3 sums: 3 + 3 edges merge into 9; with 2 readers, 5 into 6
    def fan(n):
        return hand(
            [("affine", [0, 1, 2], [1.0, 2.0, 3.0], 0.5)]
            + [("affine", [3], [float(k + 2)], 0.0) for k in range(n)],
            3,
            [4 + k for k in range(n)],
        )

    for n in (2, 3):
        assert fan(n).simplify("merge-if-smaller").num_edges == 3 + n
        assert fan(n).simplify("merge-all").num_edges == 3 * n
    one = fan(1).simplify("merge-if-smaller")
    assert one.num_edges == 3 and one.coefs.tolist() == [2, 4, 6]
    assert one.consts[-1] == 1.0


def test_a_sum_that_must_stay_is_copied_only_if_all_are():
    rows = [
        ("affine", [0, 1, 2], [1.0, 2.0, 3.0], -1.0),
        ("tanh", [3], [1.0], 0.0),
        ("affine", [3, 0], [2.0, 1.0], 0.0),
    ]
    graph = hand(rows, 3, [4, 5])
    assert graph.simplify("merge-if-smaller").num_edges == graph.num_edges == 6
    rows[2] = ("affine", [3], [2.0], 0.0)
    graph = hand(rows, 3, [4, 5])
    assert graph.simplify("merge-if-smaller").num_edges == 5
    assert graph.simplify("merge-all").num_edges == 7


def test_merging_can_cancel():
    # a = x0 + x1, b = a - x0: one edge is left
    rows = [("affine", [0, 1], [1.0, 1.0], 0.0), ("affine", [2, 0], [3.0, -3.0], 0.0)]
    small = hand(rows, 2, [3]).simplify("merge-if-smaller")
    assert small.inputs.tolist() == [1] and small.coefs.tolist() == [3.0]


def test_equal_outputs_keep_their_boxes():
    rows = [("affine", [0, 1], [1.0, 2.0], 0.0)] * 2
    small = hand(rows, 2, [2, 3]).simplify()
    assert [small.keys[i] for i in small.outputs] == ["n[0]", "n[1]"]
    assert small.num_edges == 3


def test_infinite_domains_are_left_alone(rng):
    graph = net(0, domain=(-np.inf, np.inf))
    x = rng.normal(size=(500, 6)) * 10
    expected = evaluate.in_numpy(graph, x)[:, graph.outputs]
    for policy in POLICIES:
        small = graph.simplify(policy)
        found = evaluate.in_numpy(small, x)[:, small.outputs]
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


def test_errors_say_what_to_do():
    graph = net(0)
    with pytest.raises(ValueError, match="unknown policy 'on'.*'merge-all'"):
        graph.simplify("on")
    with pytest.raises(ValueError, match='at level "dot".*simplify first'):
        graph.at("neuron").simplify()
