"""Linear bounds hold every value and exact ones, and are no wider than intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.flowgraph import Graph, trace
from sparsejax.flowgraph import _evaluate as evaluate
from sparsejax.flowgraph import _lines as lines
from sparsejax.flowgraph._ops import OPS
from sparsejax.flowgraph._structure import arrays

SWITCHING = "relu abs max min gt le and or not select affine mul".split()
SMOOTH = [op for op in OPS if op not in ("eq", "ne")] + ["affine"] * 8
SEEDS = [*range(30), *(pytest.param(k, marks=pytest.mark.slow) for k in range(30, 200))]


def random_graph(seed, ops, size=12) -> Graph:
    """Operations on operands that came before, at random, in [-1, 1]^3."""
    rng = np.random.default_rng(seed)
    nodes = [("input", [], [], 0.0, f"x{i}") for i in range(3)]
    for k in range(3, size):
        op = str(rng.choice(ops))
        wanted = {"affine": 3}.get(op) or OPS[op].arity or 3
        args = rng.choice(k, wanted, replace=wanted > k).tolist()
        one = op == "affine" or wanted == 1 and op not in ("max", "min")
        coefs = rng.normal(size=len(args)).tolist() if one else [1.0] * len(args)
        const = float(rng.normal()) / 2 if one else 0.0
        if op == "mul" and ops is SWITCHING:  # of a number: linear
            op, args, coefs, const = "affine", args[:1], [float(rng.normal())], 0.0
        nodes.append((op, args, coefs, const, f"{op}_{k}"))
    return Graph(
        **arrays(nodes),
        inputs=np.arange(3),
        outputs=np.arange(size - 3, size),
        output_names=("a", "b", "c"),
        shape=(3,),
        input_names=("x0", "x1", "x2"),
        low=np.full(3, -1.0),
        high=np.full(3, 1.0),
    )


def inputs(graph, rng, count=2000):
    """Inputs of the domain, corners among them, at which every node is finite."""
    x = rng.uniform(graph.low, graph.high, size=(count, len(graph.low)))
    x[::4] = np.where(x[::4] > 0, graph.high, graph.low)
    values = evaluate.in_numpy(graph, x.reshape(-1, *graph.shape))
    return values[np.isfinite(values).all(axis=1)]


def check_holds(found, low, high, tolerance):
    """Whether bounds hold what is between `low` and `high`, to rounding."""
    with np.errstate(invalid="ignore"):
        assert (low >= found.low - tolerance * (1 + np.abs(low))).all()
        assert (high <= found.high + tolerance * (1 + np.abs(high))).all()


@pytest.mark.parametrize("steps", [0, 20])
@pytest.mark.parametrize("seed", SEEDS)
def test_any_operation_is_held_and_no_wider_than_its_interval(seed, steps, rng):
    graph = random_graph(seed, SMOOTH)
    every = range(len(graph))
    found = graph.bounds("linear", nodes=every, steps=steps)
    wide = graph.bounds("interval", nodes=every)
    assert (found.low >= wide.low).all() and (found.high <= wide.high).all()
    values = inputs(graph, rng)
    if len(values):
        check_holds(found, values.min(axis=0), values.max(axis=0), 1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_bounds_are_inside(seed, rng):
    graph = random_graph(seed, SWITCHING)
    exact = graph.bounds("exact")
    for steps in (0, 20):
        found = graph.bounds("linear", steps=steps)
        check_holds(found, exact.low, exact.high, 1e-5)
    values = inputs(graph, rng)[:, graph.outputs]
    check_holds(found, values.min(axis=0), values.max(axis=0), 1e-9)


BOXES = [(0.1, 0.4), (-0.3, 0.8), (-0.9, -0.2), (-3.0, 2.0), (1.5, 7.0), (0.5, 0.5)]


def check_lines(op, boxes, change=0.0):
    """Whether an operation's lines are on their sides of it, moved by `change`."""
    graph = random_graph(0, ["affine"])  # whose functions nobody asks for
    ends = [tuple(np.array([end]) for end in box) for box in boxes]
    with np.errstate(all="ignore"):
        own = OPS[op].bounds(*ends)
        grid = np.meshgrid(*(np.linspace(*box, 4001 if len(boxes) == 1 else 31)
                             for box in boxes))  # fmt: skip
        values = OPS[op].numpy(*grid)
    if not np.isfinite(values).all():
        return
    found = lines.lines(graph, op, ends, own)
    slack = 1e-9 * (1 + np.abs(values).max())
    for k, (slope, const) in enumerate(zip(found.slopes, found.consts, strict=True)):
        sign = 1 if k < 2 else -1
        line = sum((s * x for s, x in zip(slope[0], grid, strict=True)), const[0])
        assert (sign * (values - line) + slack >= sign * change).all(), (op, boxes, k)


@pytest.mark.parametrize("op", [op for op in OPS if OPS[op].arity])
def test_lines_are_below_and_above(op):
    for k in range(len(BOXES)):
        check_lines(op, [BOXES[(k + i) % len(BOXES)] for i in range(OPS[op].arity)])


TIGHT = "relu abs exp square sigmoid tanh arctan erf log sqrt mul div not".split()


@pytest.mark.parametrize("op", TIGHT)
def test_lines_that_are_moved_inwards_are_noticed(op):
    boxes = [BOXES[0 if op in ("log", "sqrt", "div") else 1]] * OPS[op].arity
    check_lines(op, boxes)
    with pytest.raises(AssertionError, match=op):
        check_lines(op, boxes, change=1e-3)


def test_a_wrong_line_makes_bounds_fail(monkeypatch, rng):
    def low_chord(x):
        found = lines._relu(x)
        return found._replace(consts=found.consts - [[0.0], [0.0], [0.05], [0.05]])

    monkeypatch.setitem(lines._RULES, "relu", low_chord)
    with pytest.raises(AssertionError):
        for seed in range(5):
            test_exact_bounds_are_inside(seed, rng)


def test_differences_of_one_input_are_not_forgotten():
    """x and x again: intervals see two inputs, lines one."""

    def fn(x):
        a = jax.nn.relu(x[0] + x[1])
        return jnp.stack([jax.nn.relu(2 * a - x[0]) - a, x[0] * x[1] - jnp.max(x)])

    graph = trace(fn, jnp.zeros(2), domain=(0.5, 1.0))
    wide, found = (graph.bounds(m, nodes="outputs") for m in ("interval", "linear"))
    np.testing.assert_allclose([wide.low[0], wide.high[0]], [-1, 2.5])
    np.testing.assert_allclose([found.low[0], found.high[0]], [0.5, 1.0])
    # 0.5 a + 0.5 b - 0.25 <= ab <= 0.5 a + b - 0.5, less max(a, b)
    assert found.low[1] > wide.low[1] and found.high[1] < wide.high[1]


def sparse_network(seed, weights=300, sizes=(64, 32, 32, 10)):
    """A random sparse net, `fn(masks, x)` with masks of the units of its last layer."""
    rng = np.random.default_rng(seed)
    kernels = []
    for shape in zip(sizes, sizes[1:], strict=False):
        flat = np.zeros(shape[0] * shape[1])
        chosen = rng.permutation(flat.size)[: weights // 3]
        flat[chosen] = rng.normal(size=len(chosen))
        kernels.append(jnp.asarray(flat.reshape(shape), "f"))
    biases = [jnp.asarray(rng.normal(size=n) / 5, "f") for n in sizes[1:]]

    def fn(masks, x):
        for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
            x = jax.nn.relu(x @ kernel + bias)
        return (x * masks["units"]) @ kernels[-1] + biases[-1]

    return fn


def difference(seed):
    """A random sparse net less the same without a third of its units."""
    fn, rng = sparse_network(seed), np.random.default_rng(seed)
    masks = {"units": jnp.asarray(rng.uniform(size=32) < 0.7, "f")}
    return lambda x: fn({"units": jnp.ones(32)}, x) - fn(masks, x)


@pytest.mark.parametrize("eps", [0.03, pytest.param(0.3, marks=pytest.mark.slow)])
def test_widths_are_close_to_exact(eps, rng):
    ratios = []
    for seed in range(3 if eps < 0.1 else 12):
        graph = trace(difference(seed), jnp.zeros(64))
        x = rng.uniform(size=64)
        box = {"low": np.clip(x - eps, 0, 1), "high": np.clip(x + eps, 0, 1)}
        exact = graph.bounds("exact", **box)
        width = exact.high - exact.low
        best = graph.bounds("linear", steps=20, **box)
        start = graph.bounds("linear", **box)
        assert (best.low >= start.low).all() and (best.high <= start.high).all()
        check_holds(best, exact.low, exact.high, 1e-5)
        open_ = width > 1e-6
        ratios += ((best.high - best.low) / width.clip(1e-6))[open_].tolist()
    assert len(ratios) > 10 and np.median(ratios) <= 1.1


@pytest.mark.parametrize("name", ["silu", "gelu", "leaky_relu", "softplus", "elu"])
def test_boxes_are_narrower_than_intervals(name, rng):
    kernel = jnp.asarray(rng.normal(size=(4, 6)), "f")

    def fn(x):
        return getattr(jax.nn, name)(x @ kernel + 0.2) @ kernel.T

    graph = trace(fn, jnp.zeros(4), domain=(-2.0, 2.0))
    wide = graph.bounds("interval", nodes="outputs")
    found, best = (graph.bounds("linear", steps=steps) for steps in (0, 20))
    assert (best.high - best.low <= found.high - found.low).all()
    assert (found.high - found.low).sum() < 0.95 * (wide.high - wide.low).sum()
    values = inputs(graph, rng)[:, graph.outputs]
    check_holds(best, values.min(axis=0), values.max(axis=0), 1e-9)


def test_infinite_ends_and_other_levels():
    graph = trace(
        lambda x: jax.nn.relu(x[0]) - 2 * jax.nn.relu(-x[0]) + x[1],
        jnp.zeros(2),
        domain=(np.array([-np.inf, 0.0]), np.array([3.0, 1.0])),
    )
    found = graph.bounds("linear")
    assert found.low[0] == -np.inf and found.high[0] == 4
    for level in ("scalar", "neuron"):
        again = graph.at(level).bounds("linear", low=-1)
        expected = graph.bounds("linear", low=-1)
        np.testing.assert_allclose(again[1:3], expected[1:3], atol=1e-12)
    with pytest.raises(ValueError, match="steps is -1; expected at least 0"):
        graph.bounds("linear", steps=-1)
