"""Piecewise-linear operations as rows of a mixed-integer linear program.

Every node is a column; one that switches has a 0-1 column where its operands' ranges
leave open which way it goes. `_exact` solves what is written here.
"""

import math
from typing import NamedTuple

from sparsejax.flowgraph._structure import PLAIN, Structure


class Operand(NamedTuple):
    """A node as others read it; `truth` if it is 0 or 1 whatever the input."""

    column: int
    low: float
    high: float
    truth: bool


class Program:
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

    def truth(self, x: Operand) -> int:
        """A 0-1 column that is 1 where x > 0."""
        if x.truth:
            return x.column
        b = self.column(float(x.low > 0), float(x.high > 0), 1)
        if x.low <= 0 < x.high:
            self.row((1.0, x.column), (x.low, b), low=x.low)
            self.row((1.0, x.column), (-x.high, b), high=0.0)
        return b


def encode(graph: Structure, node: int, least, most) -> tuple[Program, dict[int, int]]:
    """The program of all that a node depends on, and the column of every node in it."""
    cone, stack = {node}, [node]
    while stack:
        i = stack.pop()
        if least[i] < most[i]:  # what is constant depends on nothing
            new = set(graph.operands(i)[0].tolist()) - cone
            cone |= new
            stack += new
    program, columns, truths = Program(), {}, set()
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
            Operand(columns[a], float(least[a]), float(most[a]), a in truths)
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


# Rules: rows that make column y the operation of the operands. False: not linear.


def _relu(p: Program, y: int, x: Operand) -> bool:
    if x.low >= 0:
        p.same(y, x.column)
        return True
    b = p.column(0.0, 1.0, 1)  # x >= 0
    p.row((1.0, y), (-1.0, x.column), low=0.0)
    p.row((1.0, y), (-1.0, x.column), (-x.low, b), high=-x.low)
    p.row((1.0, y), (-x.high, b), high=0.0)
    return True


def _abs(p: Program, y: int, x: Operand) -> bool:
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

    def rule(p: Program, y: int, *xs: Operand) -> bool:
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

    def rule(p: Program, y: int, x: Operand, z: Operand) -> bool:
        p.whole[y] = 1
        low, high = sorted((sign * (x.low - z.high), sign * (x.high - z.low)))
        p.row((sign, x.column), (-sign, z.column), (low, y), low=low)
        p.row((sign, x.column), (-sign, z.column), (-high, y), high=0.0)
        return True

    return rule


def _equal(p: Program, y: int, x: Operand, z: Operand) -> bool:
    p.whole[y] = 1
    low, high = x.low - z.high, x.high - z.low
    p.row((1.0, x.column), (-1.0, z.column), (low, y), low=low)
    p.row((1.0, x.column), (-1.0, z.column), (high, y), high=high)
    return True


def _unequal(p: Program, y: int, x: Operand, z: Operand) -> bool:
    p.whole[y] = 1
    p.row((1.0, x.column), (-1.0, z.column), (z.high - x.low, y), low=0.0)
    p.row((1.0, x.column), (-1.0, z.column), (z.low - x.high, y), high=0.0)
    return True


def _logic(*rows: tuple[int, int, int, int]):
    """Rows `a * y + b * x + c * z <= d` on 0-1 columns."""

    def rule(p: Program, y: int, x: Operand, z: Operand) -> bool:
        p.whole[y] = 1
        s, t = p.truth(x), p.truth(z)
        for a, b, c, d in rows:
            terms = ((float(k), v) for k, v in ((a, y), (b, s), (c, t)) if k)
            p.row(*terms, high=float(d))
        return True

    return rule


def _not(p: Program, y: int, x: Operand) -> bool:
    p.row((1.0, y), (1.0, x.column), low=1.0, high=1.0)
    return True


def _select(p: Program, y: int, q: Operand, a: Operand, b: Operand) -> bool:
    t = p.truth(q)
    low, high = min(a.low, b.low), max(a.high, b.high)
    # y = b where t is 1, else y = a
    p.row((1.0, y), (-1.0, b.column), (high - b.low, t), high=high - b.low)
    p.row((1.0, y), (-1.0, b.column), (low - b.high, t), low=low - b.high)
    p.row((1.0, y), (-1.0, a.column), (a.low - high, t), high=0.0)
    p.row((1.0, y), (-1.0, a.column), (a.high - low, t), low=0.0)
    return True


def _mul(p: Program, y: int, x: Operand, z: Operand) -> bool:
    for one, other in ((x, z), (z, x)):
        if one.low == one.high:
            p.same(y, other.column, one.low)
            return True
        if one.truth:
            zero = Operand(p.column(0.0, 0.0), 0.0, 0.0, True)
            return _select(p, y, one, zero, other)
    return False


def _div(p: Program, y: int, x: Operand, z: Operand) -> bool:
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
