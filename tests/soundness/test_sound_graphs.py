"""Graphs are functions, bounds contain, expanded weights are Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lawful import close, law, line
from networks import exact

import sparsejax as sj
from sparsejax import flowgraph, prune, weights
from sparsejax.flowgraph import _evaluate as evaluate

pytestmark = pytest.mark.usefixtures("float64")

NOT_LINEAR = "attention", "gate", "layer norm", "rms norm", "squeeze"
PIECEWISE = "tanh", "sigmoid", "softplus", "silu", "gelu", *NOT_LINEAR
# Graphs are of real numbers, whatever the type of the weights is; but numbers that are
# written in the function, such as an epsilon, are rounded to it.
WITH_NUMBERS = "gelu", "leaky_relu", "norm", "attention"


def sparse(network, keep=0.5):
    """Parameters most of whose kernels' entries are 0."""

    def cut(path, leaf):
        if leaf.ndim < 2:
            return leaf
        gone = network.rng.random(leaf.shape) > keep
        return jnp.where(gone, jnp.zeros((), leaf.dtype), leaf)

    return jax.tree_util.tree_map_with_path(cut, network.params)


def graph_of(network):
    params = sparse(network)
    fn = sj.unrolled(network.fn) if network.looped else network.fn
    graph = flowgraph.trace(lambda x: fn(params, x), network.x, domain=(-1.0, 1.0))
    return graph, params


@law(quick=2, slow=40, defaults=True)
def test_graphs_are_functions(network):
    """As traced, simplified, from JSON, as Python; their relevance is conserved."""
    graph, params = graph_of(network)
    x = network.rng.uniform(-1, 1, (2, *network.shape))
    read = flowgraph.from_json(graph.to_json())
    small = graph.simplify("merge-if-smaller")
    space: dict = {}
    exec(graph.to_python(), space)
    names = [*graph.output_names]
    for one in x:
        theirs, b = network.oracle(one, params)
        acts, eps = [*b.seen.values()], 1e-14
        if network.has(*WITH_NUMBERS):
            eps = network.eps
        # nine digits, where these are enough for the weights' type
        python = space["predict"](one.ravel().tolist())
        close(python, theirs, max(eps, 1e-9), *acts)
        for k, value in enumerate(theirs):
            for other in (graph, read, small):
                found = other.relevance(one, names[k])
                close(found.output, value, eps, *acts)
                close(found.residual(), 0, 1e-14, found.nodes)
    return 1


@law(quick=3, slow=80)
def test_bounds_contain(network):
    """Every value of every node at samples and corners is within its interval."""
    graph, _ = graph_of(network)
    samples = network.rng.uniform(-1, 1, (60, *network.shape))
    samples[:30] = np.sign(samples[:30])
    nodes = evaluate.in_numpy(graph, samples)
    for low, high in ((-1.0, 1.0), (samples[40:].min(0), samples[40:].max(0))):
        inside = nodes if np.ndim(low) == 0 else nodes[40:]
        bounds = graph.bounds("interval", low=low, high=high)
        least, most = inside.min(0)[bounds.nodes], inside.max(0)[bounds.nodes]
        slack = 1e-12 * (1 + np.abs(nodes).max())
        assert (bounds.low <= least + slack).all()
        assert (most - slack <= bounds.high).all()
    return 1


@law(quick=2, slow=20, dtype="float64")
def test_exact_ranges_are_reached_and_contain(network):
    """They are within intervals, samples within them, and the witnesses at the ends."""
    if network.has(*PIECEWISE):
        return 0
    graph, params = graph_of(network)
    samples = network.rng.uniform(-1, 1, (60, *network.shape))
    nodes = evaluate.in_numpy(graph, samples)
    wide, tight = graph.bounds("interval"), graph.bounds("exact", time_limit=60.0)
    ends = [np.asarray(w) for w in (tight.witness_low, tight.witness_high)]
    gap = np.asarray(tight.gap)
    low, high = (v[np.searchsorted(wide.nodes, tight.nodes)] for v in wide[1:3])
    assert (wide.nodes[np.searchsorted(wide.nodes, tight.nodes)] == tight.nodes).all()
    slack = 1e-5 * (1 + np.abs(nodes).max())
    assert (low <= tight.low + slack).all() and (tight.high <= high + slack).all()
    assert (tight.low <= nodes.min(0)[tight.nodes] + slack).all()
    assert (nodes.max(0)[tight.nodes] <= tight.high + slack).all()
    at = [int(np.flatnonzero(graph.outputs == node)[0]) for node in tight.nodes]
    for i, k in enumerate(at):
        bounds = tight.low + gap[:, 0], tight.high - gap[:, 1]
        for witness, end in zip(ends, bounds, strict=True):
            value = network.oracle(witness[i], params)[0][k]
            assert abs(value - end[i]) <= slack, (k, value, end[i])
    return 1


@law(quick=1, slow=24, defaults=True)
def test_expanded_weights_are_the_jacobian(network):
    """Of the linear reading; of what has none, one line says so."""
    fn = sj.unrolled(network.fn) if network.looped else network.fn
    x, params = network.x, network.params
    try:
        found = weights.expand(fn, params, None, None, size=x.shape)
    except ValueError as error:
        assert network.has(*NOT_LINEAR) and line(error), error
        return 0
    assert not network.has(*NOT_LINEAR)
    zero = network.oracle(0 * x, linear=True)[0]
    basis = np.eye(x.size).reshape(x.size, *x.shape)
    columns = [network.oracle(e, linear=True)[0] - zero for e in basis]
    theirs = np.reshape(columns, (*x.shape, 3))
    ours = np.zeros(theirs.shape)
    window = zip(found.corner, found.weights.shape)
    ours[tuple(slice(a, a + n) for a, n in window)] = exact(found.weights)
    close(ours, theirs, network.eps)
    assert found.weights.dtype == network.dtype
    return 1


@law(quick=1, slow=12)
def test_removed_nodes_leave_their_mean(network):
    """What reads them gets, in place of removed units, their mean over the examples."""
    batch = network.inputs(network.rng, 6)
    name, nodes, where = None, {}, 0
    for i, layer in enumerate(network.layers[:-1]):
        reads = network.layers[i + 1].text
        own = layer.text.startswith("residual") and len(network.shape) == 1
        if own or (layer.text.startswith("dense") and reads == "head"):
            name, where = f"h{i}", i
    if name is None:
        return 0
    fn = sj.unrolled(network.fn) if network.looped else network.fn
    units = network.oracle()[1].seen[name].shape[-1]
    nodes = {name: jnp.asarray(network.rng.random(units) < 0.6, network.dtype)}
    small = prune.remove_nodes(fn, network.params, nodes, batch, per_example=True)
    seen = np.mean([network.oracle(x)[1].seen[name] for x in batch], 0)
    for x in batch:
        theirs, b = network.oracle(x, None, nodes, {name: seen})
        ours, _ = network.oracle(x, small)
        close(ours, theirs, network.eps, *b.seen.values(), what=f"layer {where}")
    return 1
