"""A difference names exactly what changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.flowgraph import trace
from sparsejax.flowgraph._diff import Diff, diff


def net(first, second, activation=jax.nn.relu, bias=0.5, names=None):
    def fn(x):
        return activation(x @ first + bias) @ second

    return trace(fn, jnp.zeros(len(first)), output_names=names)


@pytest.fixture
def kernels(rng):
    return [jnp.asarray(rng.normal(size=s), "f") for s in ((4, 3), (3, 2))]


@pytest.mark.parametrize("level", ["scalar", "dot", "neuron"])
def test_a_graph_does_not_differ_from_itself(kernels, level):
    graph = net(*kernels).at(level)
    assert diff(graph, graph) == Diff([], [], [], len(graph))
    assert diff(graph, net(*kernels).at(level)) == Diff([], [], [], len(graph))


def test_one_weight_less_is_exactly_that(kernels):
    first, second = kernels
    before, after = net(first, second), net(first.at[2, 1].set(0), second)
    found = diff(before, after)
    (change,) = found.changed
    assert change == ("relu_0.in[1]", "no longer reads x[2]")
    assert (found.only_a, found.only_b, found.same) == ([], [], len(before) - 1)
    assert diff(after, before).changed == [("relu_0.in[1]", "now reads x[2]")]


def test_a_unit_without_readers_is_only_in_the_first(kernels):
    first, second = kernels
    found = diff(net(first, second), net(first, second.at[1].set(0)))
    assert found.only_a == ["relu_0.in[1]", "relu_0[1]"] and not found.only_b
    assert {what for _, what in found.changed} == {"no longer reads relu_0[1]"}
    assert len(found.changed) == 2


def test_numbers_and_operations_are_named(kernels):
    first, second = kernels
    (change,) = diff(net(first, second), net(first.at[0, 0].set(7), second)).changed
    assert change == ("relu_0.in[0]", f"x[0]: {float(first[0, 0]):.6g} -> 7")
    bias = jnp.array([0.5, 0.25, 0.5])
    (change,) = diff(net(first, second), net(first, second, bias=bias)).changed
    assert change == ("relu_0.in[1]", "constant: 0.5 -> 0.25")


def test_order_matters_only_where_it_does():
    def of(fn):
        return trace(fn, jnp.zeros(2))

    a, b = of(lambda x: jnp.maximum(x[0], x[1])), of(lambda x: jnp.maximum(x[1], x[0]))
    assert diff(a, b).changed == []
    a, b = of(lambda x: jnp.arctan2(x[0], x[1])), of(lambda x: jnp.arctan2(x[1], x[0]))
    (change,) = diff(a, b).changed
    assert change[1] == "reads the same nodes in another order"
    a = of(lambda x: jnp.maximum(x[0], x[1]))
    (change,) = diff(a, _with_op(a, "min")).changed
    assert change[1] == "max -> min"


def _with_op(graph, op):
    from sparsejax.flowgraph import _structure

    *rest, (_, args, coefs, const, key) = _structure.nodes(graph)
    return _structure.build([*rest, (op, args, coefs, const, key)], graph)


def test_outputs_that_move_are_named(kernels):
    graph = net(*kernels, names=["a", "b"])
    other = net(*kernels, names=["a", "c"])
    key = graph.keys[graph.outputs[1]]
    assert diff(graph, other).changed == [
        ("b", f"{key} -> no output"),
        ("c", f"no output -> {key}"),
    ]


def test_levels_must_agree(kernels):
    graph = net(*kernels)
    with pytest.raises(ValueError, match="levels 'dot' and 'neuron'; compare at one"):
        diff(graph, graph.at("neuron"))


def test_simplifying_shows_what_was_folded():
    def fn(x):
        return jax.nn.relu(-x[0]) + jax.nn.relu(x[1] - 0.5)

    graph = trace(fn, jnp.zeros(2))
    found = diff(graph, graph.simplify())
    assert "x[0]" in found.only_a and not found.only_b
    assert np.all(["no longer reads" in what for _, what in found.changed])
