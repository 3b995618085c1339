"""Exact ranges of nodes: the two ends of each are mixed-integer linear programs.

Every node that the target depends on is a variable; an operation that switches (relu,
abs, max, min, a comparison) has a 0-1 variable where intervals leave open which way it
goes, and is linear elsewhere. `scipy.optimize.milp` (HiGHS) then gives a bound that is
proved and an input that comes closest to it. Use `Graph.bounds("exact")`.

Seconds for networks of some hundred weights; for dense or deep ones, a time limit cuts
it short, with a gap. For local boxes first narrow `low` and `high`.

HiGHS lets constraints be violated by 1e-6, so bounds are moved outwards by as much,
relative to 1 + |bound|. At a tie a comparison may go either way: the range of a
function that jumps there is that of its closure, and may show a gap.

Reference: Tjeng, Xiao, Tedrake, "Evaluating robustness of neural networks with mixed
integer programming", 2019 (arXiv 1711.07356).
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import optimize, sparse

from sparsejax.flowgraph import _evaluate, _ranges, _structure
from sparsejax.flowgraph._structure import PLAIN, Structure

TOLERANCE = 1e-6


def solve(
    graph: Structure, nodes: np.ndarray, low: np.ndarray, high: np.ndarray, limit: float
) -> tuple[np.ndarray, ...]:
    """Low, high, gap and both witnesses of `Bounds`, for a flat box."""
    flat, place = _inlined(graph)
    least, most = _intervals(graph, flat, place, low, high)
    targets = place[nodes]
    bound = np.zeros((len(nodes), 2))
    inputs = np.tile(np.clip(0.0, low, high), (len(nodes), 2, 1))
    for k, node in enumerate(targets.tolist()):
        program, columns = _encode(flat, node, least, most)
        read = [i for i in range(len(flat.inputs)) if i in columns]
        for end, sign in enumerate((1.0, -1.0)):
            proved, values = _minimize(program, columns[node], sign, limit)
            known = (least[node], -most[node])[end]
            bound[k, end] = max(proved - TOLERANCE * (1 + abs(proved)), known)
            if values is not None:
                inputs[k, end, flat.inputs[read]] = values[[columns[i] for i in read]]
    inputs = np.clip(inputs, low, high)
    shaped = inputs.reshape(len(nodes), 2, *graph.shape)
    values = _evaluate.in_numpy(flat, shaped)[np.arange(len(nodes)), :, targets]
    reached = values * (1.0, -1.0)  # like bound: both ends from below
    bound = np.minimum(bound, reached)
    gap = reached - bound
    gap[gap <= 5 * TOLERANCE * (1 + np.abs(reached))] = 0.0
    return bound[:, 0], -bound[:, 1], gap, shaped[:, 0], shaped[:, 1]


def _inlined(graph: Structure) -> tuple[Structure, np.ndarray]:
    """Functions replaced by their bodies, weighted sums apart; and where nodes went."""
    nodes: list[tuple] = []

    def put(graph: Structure, operands: list[int] | None, place: list[int], prefix=""):
        for op, args, coefs, const, key in _structure.nodes(graph):
            args, key = [place[a] for a in args], prefix + key
            if op == "input" and operands is not None:
                place.append(operands[graph.inputs[len(place)]])
                continue
            one = op not in PLAIN and _structure.arity(graph, op) == 1
            if one and (coefs != [1.0] or const):
                nodes.append(("affine", args, coefs, const, key))
                args, coefs, const = [len(nodes) - 1], [1.0], 0.0
            if op in graph.functions:
                body, inside = graph.functions[op], []
                put(body, args, inside, f"{key}: ")
                place.append(inside[body.outputs[0]])
                continue
            nodes.append((op, args, coefs, const, key))
            place.append(len(nodes) - 1)
        return place

    place = np.array(put(graph, None, []))
    outputs = place[graph.outputs]
    flat = _structure.build(nodes, graph, outputs=outputs, functions={}, level="dot")
    return flat, place


def _intervals(graph, flat, place, low, high) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of the inlined graph, and where known the tighter ones of functions."""
    ends = low[:, None], high[:, None]
    least, most = (end[:, 0] for end in _ranges.ranges(flat, *ends))
    if graph.functions:
        tight = _ranges.ranges(graph, *ends)
        np.maximum.at(least, place, tight[0][:, 0])
        np.minimum.at(most, place, tight[1][:, 0])
    return least, most


class _Operand(NamedTuple):
    """A node as others read it; `truth` if it is 0 or 1 whatever the input."""

    column: int
    low: float
    high: float
    truth: bool


class _Program:
    """Columns in a box, and rows: low <= sum of coefficient * column <= high."""

    def __init__(self):
        self.low: list[float] = []
        self.high: list[float] = []
        self.whole: list[int] = []
        self.rows: list[tuple[list[tuple[float, int]], float, float]] = []

    def column(self, low: float, high: float, whole: int = 0) -> int:
        self.low.append(low)
        self.high.append(high)
        self.whole.append(whole)
        return len(self.low) - 1

    def row(self, *terms: tuple[float, int], low=-math.inf, high=math.inf) -> None:
        self.rows.append((list(terms), low, high))

    def same(self, y: int, x: int, factor: float = 1.0) -> None:
        self.row((1.0, y), (-factor, x), low=0.0, high=0.0)

    def truth(self, x: _Operand) -> int:
        """A 0-1 column that is 1 where x > 0."""
        if x.truth:
            return x.column
        b = self.column(float(x.low > 0), float(x.high > 0), 1)
        if x.low <= 0 < x.high:
            self.row((1.0, x.column), (x.low, b), low=x.low)
            self.row((1.0, x.column), (-x.high, b), high=0.0)
        return b


def _encode(
    graph: Structure, node: int, least, most
) -> tuple[_Program, dict[int, int]]:
    """The program of all that a node depends on, and the column of every node in it."""
    cone, stack = {node}, [node]
    while stack:
        i = stack.pop()
        if least[i] < most[i]:  # what is constant depends on nothing
            new = set(graph.operands(i)[0].tolist()) - cone
            cone |= new
            stack += new
    program, columns, truths = _Program(), {}, set()
    for i in sorted(cone):
        columns[i] = y = program.column(least[i], most[i])
        op = graph.ops[i]
        args, coefs = graph.operands(i)
        if _is_truth(graph, i, truths):
            truths.add(i)
        if least[i] == most[i]:
            if least[i] in (0.0, 1.0):
                truths.add(i)
            continue
        if op in PLAIN:
            if op != "input":
                terms = [(-c, columns[a]) for a, c in zip(args, coefs, strict=True)]
                const = graph.consts[i]
                program.row((1.0, y), *terms, low=const, high=const)
            continue
        operands = [
            _Operand(columns[a], float(least[a]), float(most[a]), a in truths)
            for a in args.tolist()
        ]
        first = len(program.rows)
        if op not in _RULES or not _RULES[op](program, y, *operands):
            raise ValueError(
                f"node {graph.keys[i]!r} is {op!r} of variables, which is not "
                'piecewise linear: exact bounds cannot pass it; use method="interval"'
            )
        for terms, *_ in program.rows[first:]:
            if not all(math.isfinite(c) for c, _ in terms):
                raise ValueError(
                    f"node {graph.keys[i]!r} ({op}) reads values without limits; give "
                    "the inputs finite limits with low= and high="
                )
    return program, columns


def _is_truth(graph: Structure, node: int, truths: set[int]) -> bool:
    """Whether a node is 0 or 1 whatever the input, given which ones before it are."""
    op, const = graph.ops[node], graph.consts[node]
    args, coefs = graph.operands(node)
    if op in ("affine", "output") and len(args) == 1 and args[0] in truths:
        return (coefs[0], const) in ((1.0, 0.0), (-1.0, 1.0))
    passes = op in ("not", "max", "min", "mul", "select")
    return op in _TRUTHS or (passes and truths.issuperset(args.tolist()))


def _minimize(
    program: _Program, column: int, sign: float, limit: float
) -> tuple[float, np.ndarray | None]:
    """A proved lower bound of `sign * column`, and the best columns found."""
    cost = np.zeros(len(program.low))
    cost[column] = sign
    terms = [terms for terms, *_ in program.rows]
    starts = np.cumsum([0, *map(len, terms)])
    flat = [term for row in terms for term in row]
    data = np.array([c for c, _ in flat], np.float64)
    where = np.array([k for _, k in flat], np.int64)
    rows = sparse.csr_array((data, where, starts), shape=(len(terms), len(cost)))
    lows, highs = (np.array([row[k] for row in program.rows]) for k in (1, 2))
    result = optimize.milp(
        cost,
        integrality=np.array(program.whole),
        bounds=(np.array(program.low), np.array(program.high)),
        constraints=(rows, lows, highs) if terms else (),
        options={"time_limit": limit, "mip_rel_gap": 0.0},
    )
    proved = result.get("mip_dual_bound")
    if proved is None:
        proved = result.fun if result.status == 0 else -math.inf
    return float(proved), result.x


# Rules: rows that make column y the operation of the operands. False: not linear.


def _relu(p: _Program, y: int, x: _Operand) -> bool:
    if x.low >= 0:
        p.same(y, x.column)
        return True
    b = p.column(0.0, 1.0, 1)  # x >= 0
    p.row((1.0, y), (-1.0, x.column), low=0.0)
    p.row((1.0, y), (-1.0, x.column), (-x.low, b), high=-x.low)
    p.row((1.0, y), (-x.high, b), high=0.0)
    return True


def _abs(p: _Program, y: int, x: _Operand) -> bool:
    if x.low >= 0 or x.high <= 0:
        p.same(y, x.column, 1.0 if x.low >= 0 else -1.0)
        return True
    b = p.column(0.0, 1.0, 1)  # x >= 0
    p.row((1.0, y), (-1.0, x.column), low=0.0)
    p.row((1.0, y), (1.0, x.column), low=0.0)
    p.row((1.0, y), (-1.0, x.column), (-2 * x.low, b), high=-2 * x.low)
    p.row((1.0, y), (1.0, x.column), (-2 * x.high, b), high=0.0)
    return True


def _extreme(sign: float):
    """The largest of `sign * operand`."""

    def rule(p: _Program, y: int, *xs: _Operand) -> bool:
        ends = [sorted((sign * x.low, sign * x.high)) for x in xs]
        best = max(range(len(xs)), key=lambda i: ends[i][0])
        kept = [i for i in range(len(xs)) if i == best or ends[i][1] > ends[best][0]]
        if len(kept) == 1:
            p.same(y, xs[best].column)
            return True
        chosen = []
        for i in kept:
            room = max(ends[k][1] for k in kept if k != i) - ends[i][0]
            b = p.column(0.0, 1.0, 1)  # operand i is it
            p.row((sign, y), (-sign, xs[i].column), low=0.0)
            p.row((sign, y), (-sign, xs[i].column), (room, b), high=room)
            chosen.append((1.0, b))
        p.row(*chosen, low=1.0, high=1.0)
        return True

    return rule


def _order(sign: float):
    """1 where `sign * (x - z)` >= 0, 0 where it is <= 0."""

    def rule(p: _Program, y: int, x: _Operand, z: _Operand) -> bool:
        p.whole[y] = 1
        low, high = sorted((sign * (x.low - z.high), sign * (x.high - z.low)))
        p.row((sign, x.column), (-sign, z.column), (low, y), low=low)
        p.row((sign, x.column), (-sign, z.column), (-high, y), high=0.0)
        return True

    return rule


def _equal(p: _Program, y: int, x: _Operand, z: _Operand) -> bool:
    p.whole[y] = 1
    low, high = x.low - z.high, x.high - z.low
    p.row((1.0, x.column), (-1.0, z.column), (low, y), low=low)
    p.row((1.0, x.column), (-1.0, z.column), (high, y), high=high)
    return True


def _unequal(p: _Program, y: int, x: _Operand, z: _Operand) -> bool:
    p.whole[y] = 1
    p.row((1.0, x.column), (-1.0, z.column), (z.high - x.low, y), low=0.0)
    p.row((1.0, x.column), (-1.0, z.column), (z.low - x.high, y), high=0.0)
    return True


def _logic(*rows: tuple[int, int, int, int]):
    """Rows `a * y + b * x + c * z <= d` on 0-1 columns."""

    def rule(p: _Program, y: int, x: _Operand, z: _Operand) -> bool:
        p.whole[y] = 1
        s, t = p.truth(x), p.truth(z)
        for a, b, c, d in rows:
            terms = ((float(k), v) for k, v in ((a, y), (b, s), (c, t)) if k)
            p.row(*terms, high=float(d))
        return True

    return rule


def _not(p: _Program, y: int, x: _Operand) -> bool:
    p.row((1.0, y), (1.0, x.column), low=1.0, high=1.0)
    return True


def _select(p: _Program, y: int, q: _Operand, a: _Operand, b: _Operand) -> bool:
    t = p.truth(q)
    low, high = min(a.low, b.low), max(a.high, b.high)
    # y = b where t is 1, else y = a
    p.row((1.0, y), (-1.0, b.column), (high - b.low, t), high=high - b.low)
    p.row((1.0, y), (-1.0, b.column), (low - b.high, t), low=low - b.high)
    p.row((1.0, y), (-1.0, a.column), (a.low - high, t), high=0.0)
    p.row((1.0, y), (-1.0, a.column), (a.high - low, t), low=0.0)
    return True


def _mul(p: _Program, y: int, x: _Operand, z: _Operand) -> bool:
    for one, other in ((x, z), (z, x)):
        if one.low == one.high:
            p.same(y, other.column, one.low)
            return True
        if one.truth:
            zero = _Operand(p.column(0.0, 0.0), 0.0, 0.0, True)
            return _select(p, y, one, zero, other)
    return False


def _div(p: _Program, y: int, x: _Operand, z: _Operand) -> bool:
    if z.low != z.high or not z.low:
        return False
    p.same(y, x.column, 1 / z.low)
    return True


_RULES = {
    "relu": _relu,
    "abs": _abs,
    "max": _extreme(1.0),
    "min": _extreme(-1.0),
    "gt": _order(1.0),
    "ge": _order(1.0),
    "lt": _order(-1.0),
    "le": _order(-1.0),
    "eq": _equal,
    "ne": _unequal,
    "and": _logic((1, -1, 0, 0), (1, 0, -1, 0), (-1, 1, 1, 1)),
    "or": _logic((-1, 1, 0, 0), (-1, 0, 1, 0), (1, -1, -1, 0)),
    "xor": _logic((1, -1, -1, 0), (-1, 1, -1, 0), (-1, -1, 1, 0), (1, 1, 1, 2)),
    "not": _not,
    "select": _select,
    "mul": _mul,
    "div": _div,
}
_TRUTHS = {"gt", "ge", "lt", "le", "eq", "ne", "and", "or", "xor"}
