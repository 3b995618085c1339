"""How low and how high every node of a graph can get.

Three answers, from cheap to certain. Intervals go once through the graph and hold for
every input of the domain, but forget that two nodes read the same input: they may be
too wide. Exact ranges (`flowgraph.exact`) solve two mixed-integer programs a node, and
give the inputs that reach the ends: for networks of relu, max and their like. Observed
ranges are those of a batch, and promise nothing else.

Numbers are float64: what JAX computes in float32 may leave its range by rounding.

References: Gowal et al., "On the effectiveness of interval bound propagation for
training verifiably robust models", 2018 (arXiv 1810.12715); Tjeng, Xiao, Tedrake,
"Evaluating robustness of neural networks with mixed integer programming", 2019 (arXiv
1711.07356).
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from scipy import sparse

from sparsejax import checks, trees
from sparsejax.flowgraph import graph as graphs
from sparsejax.flowgraph.graph import PLAIN, Graph
from sparsejax.flowgraph.ops import OPS, Interval

METHODS = ("interval", "exact", "observed")
PIECES = 256  # that the operand of a function is cut into
CHUNK = 1024  # inputs observed, and at most 2^18 pieces, at a time


class Bounds(NamedTuple):
    """Ranges of some nodes.

    Attributes:
        nodes: their ids, shape (k,).
        low, high: no value in the domain is outside; shape (k,).
        gap: of exact bounds, shape (k, 2): how far the witness's value is from the
            bound, for low and for high; 0 where the bound is proved to be reached.
        witness_low, witness_high: of exact bounds, shape (k, *shape): inputs at which
            the node is `low + gap` and `high - gap`.
    """

    nodes: Int[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    gap: Float[np.ndarray, "k 2"] | None = None
    witness_low: Float[np.ndarray, "k *shape"] | None = None
    witness_high: Float[np.ndarray, "k *shape"] | None = None


def bounds(
    graph: Graph,
    method: str = "interval",
    *,
    x: ArrayLike | Any = None,
    nodes: int | str | Iterable | None = None,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    time_limit: float = 10.0,
) -> Bounds:
    """Ranges of nodes over the domain, a smaller box, or a batch.

    Args:
        graph: of any level.
        method: "interval", "exact" or "observed".
        x: inputs of shape `(batch, *shape)`, to observe.
        nodes: one or several ids or keys; "outputs"; or None for the outputs where they
            are exact, and for every node otherwise.
        low, high: another box than the graph's domain: scalars, or of the input's
            shape. For a box around one input, or the range of each pixel in the data.
        time_limit: seconds for each of the two programs of an exact range. One that
            is stopped still gives a bound that holds, and its gap.

    Raises:
        ValueError: for an unknown method or node, an empty box, a missing `x`; for
            exact bounds, for an operation that is not piecewise linear.
    """
    if method not in METHODS:
        raise ValueError(
            f"unknown method {method!r}; there are {trees.listed(METHODS)}"
        )
    if nodes is None and method == "exact":
        nodes = "outputs"
    ids = _chosen(graph, nodes)
    if method == "observed":
        least, most = _observed(graph, x)
        return Bounds(ids, least[ids], most[ids])
    box = _box(graph, low, high)
    if method == "exact":
        from sparsejax.flowgraph import exact

        return Bounds(ids, *exact.solve(graph, ids, *box, time_limit))
    least, most = ranges(graph, box[0][:, None], box[1][:, None])
    return Bounds(ids, least[ids, 0], most[ids, 0])


def ranges(
    graph: Graph,
    low: Float[np.ndarray, "inputs boxes"],
    high: Float[np.ndarray, "inputs boxes"],
    pieces: int = PIECES,
) -> tuple[Float[np.ndarray, "nodes boxes"], Float[np.ndarray, "nodes boxes"]]:
    """Intervals of every node for many boxes at once.

    A box that is a single point gives the values there, in float64, wherever no
    operation is undefined.

    Args:
        graph: of any level.
        low, high: of every element of the flattened input.
        pieces: that the operand of a function of one operand is cut into: a function's
            own sub-graph forgets too that it reads one operand twice.
    """
    plus, minus = _signed(graph, 1), _signed(graph, -1)
    least = np.zeros((len(graph), low.shape[1]))
    most = np.zeros_like(least)
    for op, members in _groups(graph):
        if op == "input":
            at = graph.inputs[members]
            least[members], most[members] = low[at], high[at]
            continue
        if op in PLAIN or graphs.arity(graph, op) == 1:
            up, down, const = plus[members], minus[members], graph.consts[members, None]
            with np.errstate(invalid="ignore"):
                low_sum = up @ least + down @ most + const
                high_sum = up @ most + down @ least + const
            operands = [_known(low_sum, high_sum)]
        else:
            count = int(graph.starts[members[0] + 1] - graph.starts[members[0]])
            table = graph.args[graph.starts[members, None] + np.arange(count)]
            operands = [(least[column], most[column]) for column in table.T]
        least[members], most[members] = _known(*_apply(graph, op, operands, pieces))
    return least, most


def _apply(graph: Graph, op: str, operands: list[Interval], pieces: int) -> Interval:
    if op in PLAIN:
        return operands[0]
    if op in graph.functions:
        return _function(graph.functions[op], operands, pieces)
    return OPS[op].bounds(*operands)


def _signed(graph: Graph, sign: int) -> sparse.csr_array:
    """The coefficients of one sign, and no stored zeros: 0 times infinity is not 0."""
    coefs = np.where(graph.coefs * sign > 0, graph.coefs, 0.0)
    shape = (len(graph), len(graph))
    matrix = sparse.csr_array((coefs, graph.args, graph.starts), shape=shape, copy=True)
    matrix.eliminate_zeros()
    return matrix


def _groups(graph: Graph) -> list[tuple[str, np.ndarray]]:
    """Nodes of one depth, operation and number of operands, the shallow ones first."""
    groups: dict[tuple, list[int]] = {}
    counts = np.diff(graph.starts).tolist()
    depths = graph.depth.tolist()
    for i, (op, count) in enumerate(zip(graph.ops, counts, strict=True)):
        single = op in PLAIN or graphs.arity(graph, op) == 1
        key = (depths[i], op, 0 if single else count)
        groups.setdefault(key, []).append(i)
    return [(key[1], np.array(groups[key])) for key in sorted(groups)]


def _known(low, high) -> Interval:
    """What is not a number (infinity minus infinity) could be anything."""
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def _function(body: Graph, operands: list[Interval], pieces: int) -> Interval:
    """Intervals of a sub-graph, for operands of shape (nodes, boxes)."""
    if len(operands) > 1 or pieces == 1:
        return _through(body, operands)
    low, high = operands[0]
    size = max(1, CHUNK * PIECES // (pieces * max(low.shape[1], 1)))
    least, most = np.empty_like(low), np.empty_like(high)
    for start in range(0, len(low), size):
        at = slice(start, start + size)
        parts = _through(body, [_split(low[at], high[at], pieces)])
        least[at], most[at] = parts[0].min(axis=-1), parts[1].max(axis=-1)
    return least, most


def _through(body: Graph, operands: list[Interval]) -> Interval:
    shape = operands[0][0].shape
    low, high = (np.stack([o[end].reshape(-1) for o in operands]) for end in (0, 1))
    least, most = ranges(body, low, high, pieces=1)
    output = body.outputs[0]
    return least[output].reshape(shape), most[output].reshape(shape)


def _split(low: np.ndarray, high: np.ndarray, pieces: int) -> Interval:
    """Neighbouring pieces of intervals, on a new last axis: fine near 0, coarse far.

    Infinite ends lie in pieces of their own, from about a million on.
    """
    a, b = (np.arcsinh(np.clip(end, -1e300, 1e300)) for end in (low, high))
    a = np.where(np.isneginf(low), np.minimum(-15, b - 1), a)
    b = np.where(np.isposinf(high), np.maximum(15, a + 1), b)
    edges = np.sinh(np.linspace(a, b, pieces + 1, axis=-1))
    zero = np.abs(edges).argmin(axis=-1)[..., None]
    np.put_along_axis(edges, zero, 0.0, axis=-1)
    edges[..., 0], edges[..., -1] = low, high
    edges = np.clip(edges, low[..., None], high[..., None])
    return edges[..., :-1], edges[..., 1:]


def _observed(graph: Graph, x) -> tuple[np.ndarray, np.ndarray]:
    if x is None:
        raise ValueError(
            'observed bounds need inputs: bounds(graph, "observed", x=inputs)'
        )
    checks.array(x, before="")
    x = np.asarray(x)
    if x.shape[1:] != graph.shape or not x.ndim or not len(x):
        raise ValueError(
            f"expected x of shape (batch, {', '.join(map(str, graph.shape))}) with "
            f"at least one input, got {x.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError("x has values that are NaN or infinite")
    size = min(CHUNK, len(x))
    # the last chunk overlaps the one before: all have one shape, compiled once
    starts = [min(start, len(x) - size) for start in range(0, len(x), size)]
    parts = [np.asarray(graph.evaluate(x[s : s + size]), np.float64) for s in starts]
    least = np.min([part.min(axis=0) for part in parts], axis=0)
    return least, np.max([part.max(axis=0) for part in parts], axis=0)


def _box(graph: Graph, low, high) -> tuple[np.ndarray, np.ndarray]:
    """The flat domain, or what replaces it."""
    flat = []
    for name, given, own in (("low", low, graph.low), ("high", high, graph.high)):
        end = np.asarray(own if given is None else given, np.float64)
        if end.shape not in ((), graph.shape, graph.low.shape):
            raise ValueError(
                f"{name} must be a scalar or of the input's shape {graph.shape}, got "
                f"{end.shape}"
            )
        flat.append(np.broadcast_to(end.reshape(-1), graph.low.shape))
    wrong = np.flatnonzero(~(flat[0] <= flat[1]))
    if len(wrong):
        names = trees.listed(graph.input_names[i] for i in wrong)
        first = f"{flat[0][wrong[0]]} and {flat[1][wrong[0]]}"
        raise ValueError(f"low is above high at {names}: {first} at the first of them")
    return flat[0], flat[1]


def _chosen(graph: Graph, nodes) -> np.ndarray:
    """Ids of the nodes asked for."""
    if nodes is None:
        return np.arange(len(graph))
    places = {key: i for i, key in enumerate(graph.keys)}
    if isinstance(nodes, str) and nodes == "outputs":
        return graph.outputs.astype(np.int64)
    ids = []
    for node in checks.several(nodes):
        if isinstance(node, str) and node not in places:
            raise ValueError(f"no node {node!r}; there are {trees.listed(graph.keys)}")
        i = places[node] if isinstance(node, str) else int(node)
        if not 0 <= i < len(graph):
            raise ValueError(f"no node {i}: the graph has {len(graph)}, counted from 0")
        ids.append(i)
    return np.array(ids, np.int64)
