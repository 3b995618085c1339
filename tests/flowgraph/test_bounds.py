"""Every range holds every value; exact ones are reached, and no wider."""

import itertools as it
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from sparsejax.flowgraph import Graph, trace
from sparsejax.flowgraph import _evaluate as evaluate
from sparsejax.flowgraph._bounds import bounds
from sparsejax.flowgraph._ops import OPS

SPECIAL = (-math.inf, -1e300, -3.0, -2.0, -1.0, -0.5, 0.0, 1e-9, 0.5, 1.0, 2.0, 3.0)
SPECIAL += (5.0, 40.0, 1e300, math.inf, *(k * np.pi / 2 for k in range(-5, 6)))
ends = st.sampled_from(SPECIAL) | st.floats(-30, 30) | st.floats()
ends = ends.filter(lambda x: not math.isnan(x)).map(lambda x: x + 0.0)
intervals = st.tuples(ends, ends).map(sorted)
arities = [
    (op, n) for op in OPS for n in ([OPS[op].arity] if OPS[op].arity else [1, 3])
]


def inside(low, high, rng, count):
    """Points of an interval: its ends, what is special, and random ones."""
    wide = [max(low, -1e300), min(high, 1e300)]
    near = np.clip(rng.normal(size=count) * 10.0 ** rng.integers(-3, 4, count), *wide)
    even = rng.uniform(*np.clip(wide, -1e3, 1e3), size=count)
    points = np.concatenate([[low, high], SPECIAL, near, even, np.round(near)])
    return np.unique(points[(points >= low) & (points <= high)] + 0.0)


@pytest.mark.parametrize("op, arity", arities)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_intervals_of_an_operation_hold_its_values(op, arity, data):
    boxes = [data.draw(intervals) for _ in range(arity)]
    rng = np.random.default_rng(0)
    points = [inside(*box, rng, (200, 30, 12)[arity - 1]) for box in boxes]
    grid = np.meshgrid(*points)
    with np.errstate(all="ignore"):
        values = OPS[op].numpy(*grid)
        low, high = OPS[op].bounds(*[tuple(np.array([x]) for x in b) for b in boxes])
    assert not np.isnan(low).any() and not np.isnan(high).any()
    values = values[~np.isnan(values)]
    slack = 1e-12 * (1 + np.abs(np.where(np.isfinite(values), values, 0)))
    with np.errstate(over="ignore"):  # at the largest numbers
        assert (values >= low - slack).all(), (boxes, values.min(), low)
        assert (values <= high + slack).all(), (boxes, values.max(), high)


@pytest.mark.parametrize("op", [op for op in OPS if OPS[op].arity == 1])
@pytest.mark.parametrize("box", [(0.1, 0.4), (-0.3, 0.8), (-0.9, -0.2), (1.5, 7.0)])
def test_intervals_of_one_operand_are_no_wider_than_the_values(op, box):
    with np.errstate(all="ignore"):
        values = OPS[op].numpy(np.linspace(*box, 20001))
    if np.isnan(values).any() or (op == "tan" and box[1] > 1.5):
        return
    low, high = OPS[op].bounds(tuple(np.array([x]) for x in box))
    np.testing.assert_allclose(
        [low[0], high[0]], [values.min(), values.max()], 1e-6, 1e-4
    )


def test_intervals_of_two_operands_by_hand():
    def of(op, *boxes):
        return [
            float(end[0])
            for end in OPS[op].bounds(
                *[tuple(np.array([float(x)]) for x in b) for b in boxes]
            )
        ]

    assert of("mul", (-2, 3), (-5, 1)) == [-15, 10]
    assert of("mul", (0, 2), (1, math.inf)) == [0, math.inf]
    assert of("div", (1, 2), (2, 4)) == [0.25, 1]
    assert of("div", (1, 2), (-1, 4)) == [-math.inf, math.inf]
    assert of("pow", (-2, 3), (2, 2)) == [0, 9]
    assert of("pow", (-2, 3), (3, 3)) == [-8, 27]
    assert of("pow", (-2, 9), (0.5, 0.5)) == [0, 3]
    assert of("pow", (0, 2), (1, 3)) == [0, 8]
    assert of("rem", (1, 2), (5, 6)) == [1, 2]
    assert of("rem", (-7, 2), (3, 3)) == [-3, 2]
    assert of("and", (1, 1), (0, 1)) == [0, 1] and of("and", (0, 0), (0, 1)) == [0, 0]
    assert of("or", (1, 1), (0, 1)) == [1, 1] and of("xor", (1, 1), (0, 0)) == [1, 1]
    assert of("xor", (1, 1), (1, 1)) == [0, 0] and of("xor", (0, 1), (1, 1)) == [0, 1]
    assert of("select", (-3, -1), (1, 2), (5, 6)) == [1, 2]
    assert of("select", (1, 1), (1, 2), (5, 6)) == [5, 6]


# Integer programs take a third of a second each.
slow = pytest.mark.slow
SEEDS = [0, 1, *(pytest.param(seed, marks=slow) for seed in (2, 3, 4, 5))]


def weights(rng, *shape, density=0.5):
    return jnp.asarray(
        rng.normal(size=shape) * (rng.uniform(size=shape) < density), "f"
    )


def mixed(seed, size=5, domain=(-1.0, 1.0)) -> Graph:
    """A sparse net with relu, abs, max, min, comparisons, select and a box."""
    rng = np.random.default_rng(seed)
    a, b, c, d = (weights(rng, *s) for s in ((size, 6), (6, 5), (6, 5), (5, 3)))
    shift = jnp.asarray(rng.normal(size=6) / 2, "f")

    def fn(x):
        h = jax.nn.relu(x @ a + shift)
        h = jnp.maximum(h @ b, jnp.minimum(h @ c, 0.5))
        h = jnp.where((h > 0.2) | (h[::-1] < -0.3), h, 0.5 * jnp.abs(h) - 0.1)
        return jax.nn.leaky_relu(h @ d + 0.1, 0.125)

    return trace(fn, jnp.zeros(size), domain=domain)


def activated(name) -> Graph:
    rng = np.random.default_rng(3)
    a, b = weights(rng, 4, 5), weights(rng, 5, 2)

    def fn(x):
        return getattr(jax.nn, name)(x @ a + 0.2) @ b

    return trace(fn, jnp.zeros(4), domain=(-2.0, 2.0))


def samples(graph, rng, count=20_000):
    """Inputs of the domain, corners among them."""
    x = rng.uniform(graph.low, graph.high, size=(count, len(graph.low)))
    corners = rng.integers(0, 2, size=x.shape).astype(bool)
    x[::2] = np.where(corners, graph.low, graph.high)[::2]
    return x.reshape(-1, *graph.shape)


BOXED = ["silu", "softplus", "elu", "relu6", "tanh", "hard_swish", "selu"]
GRAPHS = {f"mixed {seed}": lambda seed=seed: mixed(seed) for seed in range(6)}
GRAPHS |= {name: lambda name=name: activated(name) for name in BOXED}
GRAPHS["softmax"] = lambda: trace(
    lambda x: jax.nn.softmax(3 * x) * jnp.sin(x), jnp.zeros(3), domain=(-1.0, 2.0)
)


@pytest.mark.parametrize("name", GRAPHS)
def test_intervals_hold_every_value(name, rng):
    graph = GRAPHS[name]()
    found = bounds(graph)
    values = evaluate.in_numpy(graph, samples(graph, rng))
    assert (values >= found.low - 1e-9).all() and (values <= found.high + 1e-9).all()
    assert found.nodes.tolist() == list(range(len(graph)))
    assert found.gap is None and found.witness_low is None


@pytest.mark.parametrize("name", BOXED)
def test_intervals_of_a_box_are_nearly_its_range(name):
    fn = getattr(jax.nn, name)
    graph = trace(fn, jnp.zeros(()), domain=(-5.0, 1.0))
    values = evaluate.in_numpy(graph, np.linspace(-5, 1, 100_001))[:, graph.outputs[0]]
    found = bounds(graph, nodes="outputs")
    np.testing.assert_allclose(found.low[0], values.min(), atol=0.05)
    np.testing.assert_allclose(found.high[0], values.max(), atol=0.05)


@pytest.mark.parametrize("name", BOXED)
def test_intervals_go_through_infinite_domains(name):
    graph = trace(getattr(jax.nn, name), jnp.zeros(()), domain=(-np.inf, np.inf))
    low, high = bounds(graph, nodes="outputs")[1:3]
    values = getattr(jax.nn, name)(jnp.linspace(-20, 20, 10_001))
    assert low[0] <= values.min() + 1e-6 and high[0] >= values.max() - 1e-6
    if name not in ("elu", "selu"):  # expm1 of what is positive is unused, but large
        assert low[0] >= values.min() - 0.1
    assert high[0] == np.inf or name in ("relu6", "tanh")


def test_intervals_by_hand():
    a = jnp.array([[1.0, -2.0], [3.0, 1.0]])

    def fn(x):
        return jax.nn.relu(x @ a + jnp.array([-1.0, 0.5]))

    graph = trace(fn, jnp.zeros(2), domain=(0.0, 1.0))
    found = bounds(graph, nodes="outputs")
    assert found.low.tolist() == [0, 0] and found.high.tolist() == [3, 1.5]
    found = bounds(
        graph, nodes=graph.keys[-1], low=np.array([0.5, 0.25]), high=np.array([1, 0.5])
    )
    assert found.nodes.tolist() == [len(graph) - 1] and found.high.tolist() == [0.0]
    # the first node twice, by id and by key
    found = bounds(graph, nodes=[0, graph.keys[0]], low=0.25)
    assert found.low.tolist() == [0.25, 0.25] and found.high.tolist() == [1, 1]


def test_infinity_minus_infinity_could_be_anything():
    def fn(x):
        return jnp.exp(x + 1000) - jnp.exp(2 * x + 900)

    graph = trace(fn, jnp.zeros(()), domain=(0.0, 1.0))
    found = bounds(graph, nodes="outputs")
    assert (found.low[0], found.high[0]) == (-np.inf, np.inf)


@pytest.mark.parametrize("seed", range(3))
def test_levels_have_the_same_ranges(seed):
    graph = mixed(seed)
    at = dict(zip(graph.keys, np.stack(bounds(graph)[1:3], axis=1), strict=True))
    for level in ("scalar", "neuron"):
        coarse = graph.at(level)
        found = bounds(coarse, nodes="outputs")
        expected = bounds(graph, nodes="outputs")
        np.testing.assert_allclose(found.low, expected.low, atol=1e-12)
        np.testing.assert_allclose(found.high, expected.high, atol=1e-12)
    found = bounds(graph.at("neuron"))
    for key, low, high in zip(graph.at("neuron").keys, *found[1:3], strict=True):
        np.testing.assert_allclose([low, high], at[key], atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_is_inside_intervals_and_holds_every_value(seed, rng):
    graph = mixed(seed)
    nodes = [i for i in range(len(graph)) if graph.ops[i] != "input"]
    exact, wide = bounds(graph, "exact", nodes=nodes), bounds(graph, nodes=nodes)
    assert (exact.low >= wide.low).all() and (exact.high <= wide.high).all()
    values = evaluate.in_numpy(graph, samples(graph, rng))[:, nodes]
    assert (values >= exact.low - 1e-9).all() and (values <= exact.high + 1e-9).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_witnesses_reach_the_ends_to_the_gap(seed):
    graph = mixed(seed)
    found = bounds(graph, "exact")
    for end, witness in enumerate((found.witness_low, found.witness_high)):
        assert ((witness >= graph.low) & (witness <= graph.high)).all()
        values = evaluate.in_numpy(graph, witness)[range(3), found.nodes]
        bound = (found.low, found.high)[end]
        room = (1, -1)[end] * (values - bound)
        assert (room >= 0).all()
        np.testing.assert_allclose(room, found.gap[:, end], atol=1e-4)


def relu_net(seed):
    rng = np.random.default_rng(seed)
    layers = [weights(rng, *s, density=0.8) for s in ((3, 4), (4, 3), (3, 2))]
    shifts = [jnp.asarray(rng.normal(size=n) / 2, "f") for n in (4, 3, 2)]

    def fn(x):
        for a, b in zip(layers[:-1], shifts[:-1], strict=True):
            x = jax.nn.relu(x @ a + b)
        return x @ layers[-1] + shifts[-1]

    return fn, [np.float64(a) for a in layers], [np.float64(b) for b in shifts]


def by_patterns(layers, shifts, low, high):
    """The range of each output: a linear program for every pattern of active relus."""
    units = sum(len(b) for b in shifts[:-1])
    ranges = np.array([[np.inf, -np.inf]] * len(shifts[-1]))
    for pattern in it.product([0, 1], repeat=units):
        left, slope, const = np.array(pattern), np.eye(len(low)), np.zeros(len(low))
        rows, limits = [], []
        for a, b in zip(layers[:-1], shifts[:-1], strict=True):
            slope, const = slope @ a, const @ a + b
            on, left = left[: len(b)], left[len(b) :]
            sign = np.where(on, -1, 1)
            rows.append((slope * sign).T)
            limits.append(-const * sign)
            slope, const = slope * on, const * on
        slope, const = slope @ layers[-1], const @ layers[-1] + shifts[-1]
        for k, end in it.product(range(len(const)), (0, 1)):
            sign = (1, -1)[end]
            result = optimize.linprog(
                sign * slope[:, k],
                np.concatenate(rows),
                np.concatenate(limits),
                bounds=list(zip(low, high, strict=True)),
            )
            if result.status == 0:
                best = sign * result.fun + const[k]
                ranges[k, end] = (min, max)[end](ranges[k, end], best)
    return ranges


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=slow) for k in (1, 2, 3))])
def test_exact_equals_enumeration_of_all_patterns(seed):
    fn, layers, shifts = relu_net(seed)
    graph = trace(fn, jnp.zeros(3), domain=(-1.0, 1.0))
    found = bounds(graph, "exact")
    expected = by_patterns(layers, shifts, [-1] * 3, [1] * 3)
    np.testing.assert_allclose(found.low, expected[:, 0], atol=1e-5)
    np.testing.assert_allclose(found.high, expected[:, 1], atol=1e-5)
    assert (found.gap == 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_equals_a_fine_grid_of_two_inputs(seed):
    graph = mixed(seed, size=2)
    axis = np.linspace(-1, 1, 401)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    values = evaluate.in_numpy(graph, grid)
    found = bounds(graph, "exact")
    smooth = (found.gap == 0).all(axis=1)  # where a jump is not the end
    nodes = found.nodes[smooth]
    assert smooth.any()
    np.testing.assert_allclose(found.low[smooth], values[:, nodes].min(0), atol=0.05)
    np.testing.assert_allclose(found.high[smooth], values[:, nodes].max(0), atol=0.05)


LOGIC = {
    "max of four": lambda x: jnp.max(x[:4] * jnp.array([1.0, -2.0, 0.5, 1.0])),
    "min": lambda x: jnp.min(x) - jnp.max(x),
    "abs": lambda x: jnp.abs(x[0] - x[1]) - jnp.abs(x[0]),
    "and": lambda x: jnp.where((x[0] > x[1]) & (x[1] > 0), x[0] - x[1], -x[2]),
    "or": lambda x: jnp.where((x[0] > 0.5) | (x[1] < x[0]), x[1], x[2] - x[0]),
    "xor": lambda x: jnp.where((x[0] > 0) ^ (x[1] >= 0), x[0] * 2, x[1]),
    "not": lambda x: jnp.where(~(x[0] <= x[1]), x[0] - x[1], x[2]),
    "gate": lambda x: (x[0] > 0.25).astype(x.dtype) * (x[1] + x[2]),
    "gate of relu": lambda x: jax.nn.relu(x[0] + x[1]) * (x[2] < 0).astype(x.dtype),
    "where of a number": lambda x: jnp.where(x[0] + x[1] > 0, x[2], x[0]),
    "clip": lambda x: jnp.clip(x[0] + x[1], -0.5, 0.25) - x[0],
    "relu6": lambda x: jax.nn.relu6(5 * (x[0] + x[1]) + 3),
    "hard tanh": lambda x: jax.nn.hard_tanh(2 * x[0] - x[1]) + x[1],
}


@pytest.mark.parametrize("name", LOGIC)
def test_exact_knows_every_piecewise_linear_operation(name):
    graph = trace(LOGIC[name], jnp.zeros(4), domain=(-1.0, 1.0))
    axis = np.linspace(-1, 1, 21)
    grid = np.stack(np.meshgrid(*[axis] * 4), axis=-1).reshape(-1, 4)
    values = evaluate.in_numpy(graph, grid)[:, graph.outputs[0]]
    found = bounds(graph, "exact")
    assert found.low[0] <= values.min() and found.high[0] >= values.max()
    # limits at jumps belong to the closure: a grid misses them by a step
    np.testing.assert_allclose(found.low[0], values.min(), atol=0.21)
    np.testing.assert_allclose(found.high[0], values.max(), atol=0.21)


def test_equality_is_exact_too():
    def fn(x):
        return jnp.where(jnp.floor(0 * x[0]) + x[0] == 0, x[1] + 3, x[1])

    graph = trace(fn, jnp.zeros(2), domain=(-1.0, 1.0))
    found = bounds(graph, "exact")
    np.testing.assert_allclose([found.low[0], found.high[0]], [-1, 4], atol=1e-5)
    assert found.gap[0].tolist() == [0, 0]
    assert found.witness_high[0].tolist() == [0, 1]


def test_exact_in_a_local_box_and_unread_inputs():
    graph = trace(lambda x: jax.nn.relu(x[1] - x[3]), jnp.zeros(5), domain=(-2.0, 3.0))
    found = bounds(
        graph,
        "exact",
        low=np.array([0, 0, 1, 0.5, -2]),
        high=np.array([1, 1, 2, 1, -1]),
    )
    np.testing.assert_allclose([found.low[0], found.high[0]], [0, 0.5], atol=1e-5)
    assert found.witness_high[0].tolist() == [0, 1, 1, 0.5, -1]


def test_exact_is_sound_when_it_is_stopped(rng):
    rng = np.random.default_rng(0)
    a, b, c = weights(rng, 20, 30), weights(rng, 30, 30), weights(rng, 30, 1)

    def fn(x):
        return jax.nn.relu(jax.nn.relu(x @ a) @ b) @ c

    graph = trace(fn, jnp.zeros(20), domain=(-1.0, 1.0))
    found, wide = (
        bounds(graph, "exact", time_limit=0.05),
        bounds(graph, nodes="outputs"),
    )
    values = evaluate.in_numpy(graph, samples(graph, rng))[:, graph.outputs[0]]
    assert wide.low[0] <= found.low[0] <= values.min()
    assert values.max() <= found.high[0] <= wide.high[0]
    assert (found.gap > 0).all()


def test_exact_through_levels_and_pictures():
    graph = trace(
        lambda x: jax.nn.relu(x.sum(axis=0)) @ jnp.array([[1.0], [-1.0]]),
        jnp.zeros((2, 2)),
    )
    for level in ("scalar", "dot", "neuron"):
        found = bounds(graph.at(level), "exact")
        np.testing.assert_allclose([found.low[0], found.high[0]], [-2, 2], atol=1e-5)
        assert found.witness_high.shape == (1, 2, 2)
        assert found.witness_high[0].tolist() == [[1, 0], [1, 0]]


def test_observed_is_the_batch(rng):
    graph = mixed(0)
    for count in (1, 7, 1024, 2500):
        x = rng.uniform(-1, 1, size=(count, 5)).astype(np.float32)
        values = np.asarray(graph.evaluate(x))
        found = bounds(graph, "observed", x=x)
        np.testing.assert_allclose(found.low, values.min(axis=0), rtol=1e-6)
        np.testing.assert_allclose(found.high, values.max(axis=0), rtol=1e-6)


def test_errors_say_what_to_do():
    graph = trace(lambda x: jnp.exp(x[0]) * x[1], jnp.zeros(2), domain=(0.0, np.inf))
    with pytest.raises(ValueError, match="unknown method 'crown'.*'interval'"):
        bounds(graph, "crown")
    with pytest.raises(ValueError, match="observed bounds need inputs"):
        bounds(graph, "observed")
    with pytest.raises(ValueError, match=r"shape \(batch, 2\).*got \(3, 4\)"):
        bounds(graph, "observed", x=np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"low is above high at 'x\[1\]': 5.0 and 4.0"):
        bounds(graph, low=np.array([0, 5]), high=4)
    with pytest.raises(ValueError, match=r"input's shape \(2,\), got \(3,\)"):
        bounds(graph, high=np.zeros(3))
    with pytest.raises(ValueError, match="no node 'y'"):
        bounds(graph, nodes=["y"])
    with pytest.raises(ValueError, match="no node 99"):
        bounds(graph, nodes=[99])
    with pytest.raises(ValueError, match="'exp' of variables.*interval"):
        bounds(graph, "exact")
    relu = trace(lambda x: jax.nn.relu(x[0]), jnp.zeros(1), domain=(-np.inf, np.inf))
    with pytest.raises(ValueError, match="without limits.*low= and high="):
        bounds(relu, "exact")
    found = bounds(relu, "exact", low=-1, high=2)
    np.testing.assert_allclose([found.low[0], found.high[0]], [0, 2], atol=1e-5)
