"""Layouts are layered, repeat, and cross little; crossings are counted exactly."""

import itertools as it

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.flowgraph import trace
from sparsejax.flowgraph._layout import Layout, crossings, inversions, layout
from sparsejax.flowgraph._structure import build

LEVELS = ("scalar", "dot", "neuron")


def net(seed, sizes=(30, 8, 8, 4), density=0.15):
    rng = np.random.default_rng(seed)
    shapes = list(it.pairwise(sizes))
    kernels = [
        (rng.normal(size=s) * (rng.random(s) < density)).astype(np.float32)
        for s in shapes
    ]
    biases = [rng.normal(size=s[1]).astype(np.float32) for s in shapes]

    def fn(x):
        for k, b in zip(kernels, biases, strict=True):
            x = jax.nn.relu(x @ k + b)
        return x

    return trace(fn, jnp.zeros(sizes[0]))


def edges(graph):
    target = np.repeat(np.arange(len(graph)), np.diff(graph.starts))
    return list(zip(graph.args.tolist(), target.tolist(), strict=True))


def cross(p, q, r, s):
    """Whether two segments cross, by the signs of areas."""

    def area(a, b, c):
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    sides = [area(p, q, r), area(p, q, s), area(r, s, p), area(r, s, q)]
    return sides[0] * sides[1] < -1e-9 and sides[2] * sides[3] < -1e-9


def brute_crossings(graph, at):
    def point(node):
        return (at.x[node], at.y[node])

    lines = [(point(a), point(b)) for a, b in edges(graph)]
    return sum(cross(*e, *f) for e, f in it.combinations(lines, 2))


@pytest.mark.parametrize("n", [0, 1, 2, 31, 32, 33, 200])
def test_inversions_are_those_of_all_pairs(n, rng):
    values = rng.integers(0, max(n // 2, 1), size=(3, n))
    expected = [
        sum(a > b for a, b in it.combinations(row, 2)) for row in values.tolist()
    ]
    assert inversions(values).tolist() == expected


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(3))
def test_crossings_are_those_of_all_pairs_of_segments(seed, level):
    graph = net(seed, (12, 6, 6, 3), 0.3).at(level)
    at = layout(graph)
    assert crossings(graph, at) == brute_crossings(graph, at)
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 50, len(graph)).astype(float)
    scattered = Layout(x, rng.permutation(len(graph)).astype(float), {})
    assert crossings(graph, scattered) == brute_crossings(graph, scattered)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(6))
def test_operands_are_above_and_boxes_apart(seed, level):
    graph = net(seed).at(level)
    at = layout(graph)
    assert all(at.y[a] < at.y[b] for a, b in edges(graph))
    assert len(np.unique(at.y)) == at.y.max() + 1 == graph.depth.max() + 1
    for y in np.unique(at.y):
        row = np.sort(at.x[at.y == y])
        assert (np.diff(row) >= 1 - 1e-6).all()
    read = {a for a, _ in edges(graph)}
    assert (at.y[[o for o in graph.outputs if o not in read]] == at.y.max()).all()


def test_inputs_stand_just_above_their_first_reader():
    def fn(x):
        h = jax.nn.relu(jax.nn.relu(jax.nn.relu(x[0]) - 1) - 1)
        return (h + x[1])[None]

    graph = trace(fn, jnp.zeros(2))
    at = layout(graph)
    (reader,) = graph.readers[1]
    assert at.y[1] == at.y[reader] - 1 > 1
    assert not at.routes


def test_layouts_repeat():
    one, two = layout(net(0)), layout(net(0))
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.y, two.y)
    assert one.routes == two.routes


def test_a_tree_is_drawn_without_crossings():
    def tree(x):
        return jax.nn.relu(jax.nn.relu(x.reshape(3, 3, 3).sum(0)).sum(0))

    for level in LEVELS:
        graph = trace(tree, jnp.zeros(27)).at(level)
        assert crossings(graph, layout(graph)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_small_graphs_are_near_the_best_of_all_orders(seed):
    rng = np.random.default_rng(seed)
    has = rng.random((5, 4)) < 0.6
    has[0], has[:, 0] = True, True
    kernel = jnp.asarray(has * rng.normal(size=has.shape), jnp.float32)
    graph = trace(lambda x: x @ kernel, jnp.zeros(5))
    lines = list(zip(*np.nonzero(has), strict=True))
    pairs = np.array(list(it.combinations(lines, 2)))
    (a, c), (b, d) = pairs[..., 0].T, pairs[..., 1].T
    up = np.array(list(it.permutations(range(5))))
    down = np.array(list(it.permutations(range(4))))
    left = np.sign(up[:, a] - up[:, c]).astype(int)
    right = np.sign(down[:, b] - down[:, d]).astype(int)
    best = (left[:, None] * right[None] < 0).sum(axis=-1).min()
    assert best <= crossings(graph, layout(graph)) <= 1.1 * best + 1


def test_long_edges_have_routes_and_short_ones_none():
    def fn(x):
        h = x[:3]
        for _ in range(3):
            h = jax.nn.relu(jnp.stack([h[0] - h[1], h[1] + h[2], h[2] - h[0]]))
        return h + x[0]  # read in the first layer and in the last

    graph = trace(fn, jnp.zeros(3)).at("neuron")
    at = layout(graph)
    span = {e: at.y[b] - at.y[a] for e, (a, b) in enumerate(edges(graph))}
    assert at.routes and set(at.routes) == {e for e, rows in span.items() if rows > 1}
    for e, points in at.routes.items():
        a, b = edges(graph)[e]
        inner = [y for _, y in points]
        assert inner == sorted(inner) and at.y[a] < inner[0] and inner[-1] < at.y[b]


def test_constants_empty_and_single_nodes_are_placed():
    graph = trace(lambda x: jnp.array([1.0, 2.0]) + 0 * x[:2], jnp.zeros(3))
    at = layout(graph)
    assert len(at.x) == len(graph) and np.isfinite(at.x).all()
    empty = build([], graph, outputs=np.zeros(0, int), output_names=())
    assert layout(empty).x.shape == (0,)
