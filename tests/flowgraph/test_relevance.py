"""Relevance of a graph's scalars, against `relevance.explain` and by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.ad_checkpoint import checkpoint_name

from sparsejax import flowgraph
from sparsejax.flowgraph._ops import OPS
from sparsejax.flowgraph._relevance import FLAT
from sparsejax.relevance import explain

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "leaky_relu": jax.nn.leaky_relu,
}
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-10)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


# ---- The same as of the whole function


def dense(rng, sizes, density):
    params = {}
    for i, (wide, high) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        kernel = rng.normal(size=(wide, high)) * (rng.random((wide, high)) < density)
        bias = rng.normal(size=high, scale=0.3)
        params[f"dense_{i}"] = {
            "kernel": jnp.asarray(kernel),
            "bias": jnp.asarray(bias),
        }
    return params


def mlp(activation):
    def fn(params, x):
        for i in range(len(params)):
            x = x @ params[f"dense_{i}"]["kernel"] + params[f"dense_{i}"]["bias"]
            if i < len(params) - 1:
                x = checkpoint_name(activation(x), f"hidden_{i}")
        return x

    return fn


def convnet(params, x):
    """Two convolutions with max-pooling of 8 by 8 pixels, and a readout."""
    for name in ("conv_0", "conv_1"):
        x = jax.lax.conv_general_dilated(
            x[None],
            params[name],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )[0]
        x = jax.nn.relu(x + params[f"{name}_bias"])
        size = (2, 2, 1)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, size, size, "VALID")
        x = checkpoint_name(x, name)
    return x.reshape(-1) @ params["readout"]


def conv_params(rng):
    shapes = {"conv_0": (3, 3, 1, 3), "conv_1": (3, 3, 3, 4), "readout": (16, 3)}
    params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    params["conv_1"] *= rng.random((3, 3, 3, 4)) < 0.4
    params |= {f"conv_{i}_bias": rng.normal(size=3 + i, scale=0.2) for i in (0, 1)}
    return jax.tree.map(jnp.asarray, params)


def compare(fn, params, x, outputs):
    """Everything that both know: inputs, numbers, named activations, the sum."""
    graph = flowgraph.trace(lambda x: fn(params, x), x, domain=(-3.0, 3.0))
    for k in range(outputs):
        found = graph.relevance(x, k)
        expected = explain(fn, params, x, baseline="zero", target=k)
        close(found.output, expected.output)
        close(found.input, expected.input)
        numbers = jax.tree.leaves((expected.bias, expected.constants))
        total = sum(float(jnp.sum(part)) for part in numbers)
        close(found.bias.sum() + found.constants.sum(), total)
        for name, r in expected.nodes.items():
            # A unit that no weight leads to is a number in the graph, and no node.
            places = {key: i for i, key in enumerate(graph.keys)}
            known = [k for k, key in enumerate(named(name, r.shape)) if key in places]
            given = found.nodes[[places[named(name, r.shape)[k]] for k in known]]
            assert known, name
            close(given, np.asarray(r).ravel()[known])
        assert abs(found.residual()) < 1e-10
        check_sums(graph, found)


def named(name, shape):
    return [f"{name}[{','.join(map(str, at))}]" for at in np.ndindex(*shape)]


def check_sums(graph, found):
    """What a node has is what it brings to all its readers, and what it is made of."""
    sources = np.bincount(graph.args, found.edges, len(graph))
    ends = np.zeros(len(graph))
    target = np.flatnonzero(found.multipliers)[-1]
    ends[target] = found.nodes[target]
    close(sources + ends, found.nodes)
    owner = np.repeat(np.arange(len(graph)), np.diff(graph.starts))
    arriving = np.bincount(owner, found.edges, len(graph))
    inner = np.arange(len(graph)) >= len(graph.inputs)
    made = arriving + found.bias + found.constants
    close(made[inner], found.nodes[inner])


@pytest.mark.parametrize("density", [1.0, 0.4])
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.defaults
def test_mlps(name, density, rng):
    params = dense(rng, (6, 5, 4, 3), density)
    compare(mlp(ACTIVATIONS[name]), params, jnp.asarray(rng.normal(size=6)), 3)


@pytest.mark.parametrize("seed", range(3))
def test_convnets_with_pooling(seed):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(8, 8, 1)))
    compare(convnet, conv_params(rng), x, 3)


def test_products_quotients_and_clips(rng):
    kernel = jnp.asarray(rng.normal(size=(4, 3)))

    def fn(params, x):
        h = x @ params
        gate = jax.nn.sigmoid(h[1])
        clipped = jnp.clip(h[0], -0.4, 0.3)
        return h[0] * gate + jnp.square(h[2]) / (1.0 + jnp.exp(h[1])) + clipped * h[2]

    for seed in range(5):
        x = jnp.asarray(np.random.default_rng(seed).normal(size=4))
        graph = flowgraph.trace(lambda x: fn(kernel, x), x, domain=(-3.0, 3.0))
        found = graph.relevance(x)
        close(found.output, fn(kernel, x))
        assert abs(found.residual()) < 1e-10
        check_sums(graph, found)

    def product(params, x):
        return (x @ params)[0] * jnp.tanh((x @ params)[1])

    compare(
        lambda p, x: product(p, x)[None], kernel, jnp.asarray(rng.normal(size=4)), 1
    )


# ---- By hand


def test_one_neuron_by_hand():
    kernel = jnp.asarray([2.0, 1.0])

    def fn(x):
        return jax.nn.sigmoid(x @ kernel + 0.5)

    graph = flowgraph.trace(fn, jnp.zeros(2), domain=(-2.0, 2.0))
    found = graph.relevance(jnp.asarray([1.0, -2.0]))
    b = 1 / (1 + np.exp(-0.5))
    slope = (b - 0.5) / 0.5
    np.testing.assert_allclose(found.output, b)
    np.testing.assert_allclose(found.input, [2.0 * slope, -2.0 * slope])
    np.testing.assert_allclose(found.bias.sum(), 0.5 * slope)
    np.testing.assert_allclose(found.constants.sum(), 0.5)


def test_ties_go_to_the_first_and_flat_steps_are_constants():
    def fn(x):
        return jnp.max(x) + jnp.floor(x[0]) + jnp.where(x[1] > 0, x[1], 0.1 * x[1])

    graph = flowgraph.trace(fn, jnp.zeros(3), domain=(-2.0, 2.0))
    found = graph.relevance(jnp.asarray([1.5, 1.5, -1.0]))
    np.testing.assert_allclose(found.input, [1.5, 1.5, 0.0])
    np.testing.assert_allclose(found.constants.sum(), 1.0)
    np.testing.assert_allclose(found.output, 4.0)


def test_where_a_sum_is_zero_the_derivative_counts():
    def fn(x):
        return jnp.tanh(x[0] - x[1]) + jax.nn.sigmoid(x[0] - x[1])

    graph = flowgraph.trace(fn, jnp.zeros(2), domain=(-2.0, 2.0))
    found = graph.relevance(jnp.asarray([1.0, 1.0]))
    np.testing.assert_allclose(found.input, [1.25, -1.25], rtol=1e-9)
    np.testing.assert_allclose(found.constants.sum(), 0.5)


# ---- Algebra


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(sorted(ACTIVATIONS)))
def test_all_levels_and_batches_agree(seed, name):
    rng = np.random.default_rng(seed)
    params = dense(rng, (4, 3, 3, 2), 0.7)

    def fn(x):
        return mlp(ACTIVATIONS[name])(params, x)

    graph = flowgraph.trace(fn, jnp.zeros(4), domain=(-3.0, 3.0))
    x = rng.normal(size=(2, 3, 4))
    whole = graph.relevance(x, "output[1]" if "output[1]" in graph.output_names else 1)
    assert np.abs(whole.residual()).max() < 1e-10
    one = graph.relevance(x[1, 2], 1)
    for field, part in zip(whole, one, strict=True):
        close(field[1, 2], part)
    for level in ("scalar", "neuron"):
        other = graph.at(level).relevance(x, 1)
        close(other.input, whole.input)
        assert np.abs(other.residual()).max() < 1e-10
    close(graph.subgraph(1).relevance(x).input, whole.input)


def test_outputs_are_independent(rng):
    """Of f + g it is the sum of both, where both are linear in what they share."""
    params = dense(rng, (5, 4, 2), 0.8)

    def fn(x):
        return mlp(jnp.tanh)(params, x)

    def both(x):
        return jnp.concatenate([fn(x), fn(x).sum(keepdims=True)])

    graph = flowgraph.trace(both, jnp.zeros(5), domain=(-3.0, 3.0))
    x = rng.normal(size=5)
    parts = [graph.relevance(x, k).input for k in range(3)]
    close(parts[0] + parts[1], parts[2])


def test_flat_operations_are_operations():
    assert set(OPS) >= FLAT


# ---- What does not fit


def test_bad_arguments(rng):
    graph = flowgraph.trace(lambda x: jnp.log(x), jnp.ones(2), domain=(0.1, 1.0))
    with pytest.raises(ValueError, match=r"expected inputs of shape \(\*batch, 2\)"):
        graph.relevance(jnp.ones(3), 0)
    with pytest.raises(ValueError, match="the graph has 2 outputs; say which one"):
        graph.relevance(jnp.ones(2))
    with pytest.raises(ValueError, match="no output 2: the graph has 2"):
        graph.relevance(jnp.ones(2), 2)
    with pytest.raises(ValueError, match="no output 'z'"):
        graph.relevance(jnp.ones(2), "z")
    with pytest.raises(ValueError, match="relevance is not finite at"):
        graph.relevance(jnp.asarray([0.0, 1.0]), 0)
    with pytest.raises(ValueError, match="relevance is not finite at 'x"):
        graph.relevance(jnp.asarray([jnp.nan, 1.0]), 0)
