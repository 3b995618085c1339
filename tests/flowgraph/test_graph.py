"""Counts, parts, levels and values of graphs, against brute force."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsejax import flowgraph
from sparsejax.flowgraph import _evaluate as evaluate

LEVELS = ("scalar", "dot", "neuron")


def network(seed, widths=(9, 5, 4, 3), density=0.4):
    """Kernels and biases of a sparse network, all biases not zero."""
    rng = np.random.default_rng(seed)
    return [
        (
            (rng.normal(size=(a, b)) * (rng.random((a, b)) < density)).astype("f4"),
            rng.normal(size=b).astype("f4"),
        )
        for a, b in zip(widths[:-1], widths[1:], strict=True)
    ]


def apply(layers, x):
    for kernel, bias in layers[:-1]:
        x = jax.nn.relu(x @ kernel + bias)
    return x @ layers[-1][0] + layers[-1][1]


def graph_of(layers, **options):
    shape = (len(layers[0][0]),)
    return flowgraph.trace(lambda x: apply(layers, x), jnp.zeros(shape), **options)


def live_parts(layers):
    """Live weights, inputs and units, by reachability; boolean matrices."""
    kernels = [kernel != 0 for kernel, _ in layers]
    varies = [np.ones(len(kernels[0]), bool)]
    for kernel in kernels:
        varies.append(kernel[varies[-1]].any(axis=0))
    read = [np.ones(kernels[-1].shape[1], bool)]
    for kernel in reversed(kernels):
        read.insert(0, kernel[:, read[0]].any(axis=1))
    live = [v & r for v, r in zip(varies, read, strict=True)]
    weights = sum(k[live[i]][:, live[i + 1]].sum() for i, k in enumerate(kernels))
    return int(weights), [int(units.sum()) for units in live]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_published_counts(seed, density):
    layers = network(seed, density=density)
    vertices, edges = graph_of(layers).count("published")
    weights, (inputs, *units) = live_parts(layers)
    constant = layers[-1][0].shape[1] - units[-1]
    # a constant output is a constant and its box; equal ones would share the former
    neurons = sum(units) + constant
    assert edges - vertices == weights - inputs - neurons


def test_counts_by_hand():
    layers = [
        (np.array([[2.0, 0.0], [3.0, 4.0]], "f4"), np.array([1.0, 0.0], "f4")),
        (np.array([[5.0], [1.0]], "f4"), np.array([0.5], "f4")),
    ]
    graph = graph_of(layers)
    # inputs 2, sums 2, relus 2, output 1
    assert graph.count("dot") == (7, 3 + 2 + 2)
    assert graph.count("neuron") == (5, 3 + 2)
    # inputs 2; unit 0: 2 products, sum, bias, relu; unit 1: product, relu;
    # output: a product (the weight 1 needs none), sum, bias, box
    assert graph.count() == (2 + 5 + 2 + 4, 6 + 2 + 5)
    assert graph.num_vertices == 7 and graph.num_edges == 7
    assert "7 vertices" in repr(graph)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.defaults
def test_every_level_computes_the_same(level):
    layers = network(0)
    graph = graph_of(layers).at(level)
    x = np.random.default_rng(1).normal(size=(6, 9)).astype("f4")
    np.testing.assert_allclose(graph(x), apply(layers, x), atol=1e-5)
    np.testing.assert_allclose(
        graph.evaluate(x), evaluate.in_numpy(graph, x), atol=1e-5
    )
    assert graph.at(level) is graph and graph.level == level
    assert len(set(graph.keys)) == len(graph)


def test_levels_with_operations_of_several_operands():
    def fn(x):
        return jnp.tanh(jnp.maximum(2 * x + 1, x[::-1]) * x.sum()) - x

    graph = flowgraph.trace(fn, jnp.zeros(3))
    x = np.random.default_rng(1).normal(size=(6, 3)).astype("f4")
    for level in LEVELS:
        found = graph.at(level)(x)
        np.testing.assert_allclose(found, jax.vmap(fn)(x), atol=1e-5)


def test_keys_are_unique_at_every_level():
    graph = flowgraph.trace(lambda x: x.sum() * 0.5 + 1, jnp.zeros(4))
    assert graph.output_names == ("output",)
    assert len(set(graph.at("scalar").keys)) == 11


@pytest.mark.slow
def test_deep_graphs_compile_in_reasonable_time():
    kernel = jnp.eye(3)

    def fn(x):
        for _ in range(100):
            x = x + 0.1 * jnp.tanh(x @ kernel)
        return x

    graph = flowgraph.trace(fn, jnp.zeros(3))
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("f4")
    np.testing.assert_allclose(graph(x), jax.vmap(fn)(x), atol=1e-4)


def test_an_output_that_a_unit_reads_stays_at_neuron_level():
    def fn(x):
        return (lambda h: jnp.append(jnp.tanh(h), h))(x @ np.ones((2, 1), "f4"))

    graph = flowgraph.trace(fn, jnp.zeros(2)).at("neuron")
    assert graph.ops.count("affine") == 1


def test_only_dot_graphs_change_level():
    with pytest.raises(ValueError, match='level "dot"|level .scalar.'):
        graph_of(network(0)).at("scalar").at("neuron")
    with pytest.raises(ValueError, match="unknown level 'box'; there are"):
        graph_of(network(0)).at("box")


def test_subgraphs_are_what_an_output_needs():
    layers = network(3)
    graph = graph_of(layers)
    x = np.random.default_rng(1).normal(size=(6, 9)).astype("f4")
    for i in range(3):
        part = graph.subgraph(i)
        kernel, bias = layers[-1]
        alone = [*layers[:-1], (kernel[:, [i]], bias[[i]])]
        assert part.count("dot") == graph_of(alone).count("dot")
        np.testing.assert_allclose(part(x)[:, 0], graph(x)[:, i], atol=1e-6)
        assert set(part.keys) <= set(graph.keys)
    pair = graph.subgraph(["output_2", "output_0"])
    assert pair.output_names == ("output_2", "output_0")
    np.testing.assert_allclose(pair(x), np.asarray(graph(x))[:, [2, 0]], atol=1e-6)
    assert graph.subgraph(range(3)).num_vertices == graph.num_vertices


@pytest.mark.parametrize("outputs, message", [
    (7, "no output 7: the graph has 3"), ("a", "no output 'a'; there are 'output_0'"),
    ([], "at least one"),
])  # fmt: skip
def test_outputs_that_are_not_there(outputs, message):
    with pytest.raises(ValueError, match=message):
        graph_of(network(0)).subgraph(outputs)


def test_batches_of_any_shape_and_shapes_that_do_not_fit():
    graph = graph_of(network(0))
    x = np.random.default_rng(0).normal(size=(2, 3, 9)).astype("f4")
    assert graph.evaluate(x).shape == (2, 3, len(graph))
    np.testing.assert_allclose(graph(x)[1, 2], graph(x[1, 2]), atol=1e-6)
    with pytest.raises(ValueError, match=r"\(\*batch, 9\), got \(2, 8\)"):
        graph.evaluate(np.zeros((2, 8), "f4"))


def test_check_finds_the_largest_difference():
    layers = network(0)
    graph = graph_of(layers)
    x = np.random.default_rng(0).normal(size=(50, 9)).astype("f4")
    assert graph.check(lambda x: apply(layers, x), x) < 1e-5

    def other(x):
        return apply(layers, x) + jnp.where(x[0] > 2, 0.25, 0.0)

    x[7] = 3
    assert graph.check(other, x) == pytest.approx(0.25, abs=1e-5)
    with pytest.raises(ValueError, match="3 outputs, the function returns"):
        graph.check(lambda x: x, x)


# ---- JSON


@pytest.mark.parametrize("level", LEVELS)
def test_json_keeps_everything(level):
    def fn(x):
        return jax.nn.silu(x.reshape(-1) @ network(0)[0][0])

    graph = flowgraph.trace(
        fn, jnp.zeros((3, 3)), image=(3, 3), domain=(-1.0, np.arange(9.0).reshape(3, 3))
    ).at(level)
    same_as(flowgraph.from_json(graph.to_json()), graph)


def test_json_keeps_every_digit_of_float64():
    with jax.enable_x64(True):
        graph = flowgraph.trace(lambda x: x * np.pi + 0.1, np.zeros(2))
    assert flowgraph.from_json(graph.to_json()).coefs[0] == np.pi


def same_as(found, expected):
    for field in dataclasses.fields(expected):
        a, b = (getattr(g, field.name) for g in (found, expected))
        if field.name == "functions":
            assert a.keys() == b.keys()
            for name in a:
                same_as(a[name], b[name])
        elif isinstance(b, np.ndarray):
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b, field.name


def damaged(**changes):
    whole = json.loads(graph_of(network(0)).to_json())
    for path, value in changes.items():
        *folders, last = path.split("__")
        place = whole
        for folder in folders:
            place = place[folder]
        place[last] = value
    return json.dumps(whole)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "not JSON"),
        ("[]", "not a flow graph"),
        (damaged(version=2), "version 2.*reads version 1"),
        (damaged(level="box"), "its level is unknown"),
        (damaged(outputs=[99] * 3), "an output is not a node"),
        (damaged(outputs=[]), "3 output_names, expected 0"),
        (damaged(inputs=[0]), "inputs are not the first"),
        (damaged(nodes__args=[1]), "1 args, expected"),
        (damaged(nodes__keys=["a"]), "1 keys, expected"),
        (damaged(ops=["input", "affine", "magic"]), "unknown operation 'magic'"),
        (damaged(ops=["input", "affine", "mul"]), "mul.* operands, expected 2"),
        (damaged(low="a"), "damaged|could not convert"),
        (damaged(nodes=None), "damaged: TypeError"),
    ],
)
def test_damaged_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        flowgraph.from_json(text)


def test_a_node_reads_only_those_before_it():
    graph = graph_of(network(0))
    args = graph.args.tolist()
    args[0] = len(graph) - 1
    with pytest.raises(ValueError, match="one that does not come before it"):
        flowgraph.from_json(damaged(nodes__args=args))


def test_the_face_shows_public_names_alone():
    assert dir(flowgraph) == sorted(flowgraph.__all__)
    assert all(hasattr(flowgraph, name) for name in flowgraph.__all__)
