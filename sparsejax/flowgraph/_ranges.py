"""Intervals of all nodes of a graph, in one pass and for many boxes at once.

They hold for every input of a box, but forget that two nodes read the same input: they
may be too wide.

Reference: Gowal et al., "On the effectiveness of interval bound propagation for
training verifiably robust models", 2018 (arXiv 1810.12715).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy import sparse

from sparsejax.flowgraph._ops import OPS, Interval
from sparsejax.flowgraph._structure import PLAIN, Structure, arity

PIECES = 256  # that the operand of a function is cut into
MOST_PIECES = 2**18  # at a time


def ranges(
    graph: Structure,
    low: Float[np.ndarray, "inputs boxes"],
    high: Float[np.ndarray, "inputs boxes"],
    pieces: int = PIECES,
    refine: Callable | None = None,
) -> tuple[Float[np.ndarray, "nodes boxes"], Float[np.ndarray, "nodes boxes"]]:
    """Intervals of every node for many boxes at once.

    A box that is a single point gives the values there, in float64, wherever no
    operation is undefined.

    Args:
        graph: of any level.
        low, high: of every element of the flattened input.
        pieces: that the operand of a function of one operand is cut into: a function's
            own sub-graph forgets too that it reads one operand twice.
        refine: called as `refine(op, members, operands, least, most)` once a group's
            intervals are known, to narrow those of its nodes in place.
    """
    plus, minus = _signed(graph, 1), _signed(graph, -1)
    least = np.zeros((len(graph), low.shape[1]))
    most = np.zeros_like(least)
    for op, members in _groups(graph):
        if op == "input":
            at = graph.inputs[members]
            least[members], most[members] = low[at], high[at]
            continue
        if op in PLAIN or arity(graph, op) == 1:
            up, down, const = plus[members], minus[members], graph.consts[members, None]
            with np.errstate(invalid="ignore"):
                low_sum = up @ least + down @ most + const
                high_sum = up @ most + down @ least + const
            operands = [_known(low_sum, high_sum)]
        else:
            count = int(graph.starts[members[0] + 1] - graph.starts[members[0]])
            table = graph.args[graph.starts[members, None] + np.arange(count)]
            operands = [(least[column], most[column]) for column in table.T]
        least[members], most[members] = _known(*apply(graph, op, operands, pieces))
        if refine is not None:
            refine(op, members, operands, least, most)
    return least, most


def apply(
    graph: Structure, op: str, operands: list[Interval], pieces: int = PIECES
) -> Interval:
    """Intervals of an operation, given its operands'."""
    if op in PLAIN:
        return operands[0]
    if op in graph.functions:
        return _function(graph.functions[op], operands, pieces)
    return OPS[op].bounds(*operands)


def _signed(graph: Structure, sign: int) -> sparse.csr_array:
    """The coefficients of one sign, and no stored zeros: 0 times infinity is not 0."""
    coefs = np.where(graph.coefs * sign > 0, graph.coefs, 0.0)
    shape = (len(graph), len(graph))
    matrix = sparse.csr_array((coefs, graph.args, graph.starts), shape=shape, copy=True)
    matrix.eliminate_zeros()
    return matrix


def _groups(graph: Structure) -> list[tuple[str, np.ndarray]]:
    """Nodes of one depth, operation and number of operands, the shallow ones first."""
    groups: dict[tuple, list[int]] = {}
    counts = np.diff(graph.starts).tolist()
    depths = graph.depth.tolist()
    for i, (op, count) in enumerate(zip(graph.ops, counts, strict=True)):
        single = op in PLAIN or arity(graph, op) == 1
        key = (depths[i], op, 0 if single else count)
        groups.setdefault(key, []).append(i)
    return [(key[1], np.array(groups[key])) for key in sorted(groups)]


def _known(low, high) -> Interval:
    """What is not a number (infinity minus infinity) could be anything."""
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def _function(body: Structure, operands: list[Interval], pieces: int) -> Interval:
    """Intervals of a sub-graph, for operands of shape (nodes, boxes)."""
    if len(operands) > 1 or pieces == 1:
        return _through(body, operands)
    low, high = operands[0]
    size = max(1, MOST_PIECES // (pieces * max(low.shape[1], 1)))
    least, most = np.empty_like(low), np.empty_like(high)
    for start in range(0, len(low), size):
        at = slice(start, start + size)
        parts = _through(body, [_split(low[at], high[at], pieces)])
        least[at], most[at] = parts[0].min(axis=-1), parts[1].max(axis=-1)
    return least, most


def _through(body: Structure, operands: list[Interval]) -> Interval:
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
