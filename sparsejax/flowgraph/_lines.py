"""Straight lines below and above the scalar operations, between known ends.

An operation on operands within `[low, high]` lies above both of two lower lines (planes,
for several operands) and below both of two upper ones, and so of any mixture of two. A
mixture of the lower ones starts at `start`: the second line's share.

Relu and abs have the usual triangles, products McCormick's planes, and what is convex
or concave has its chord and tangents. Whatever else has one operand that varies gets
lines through its intervals on many pieces; comparisons and the like, their interval.

References: Zhang et al., "Efficient neural network robustness certification with
general activation functions", 2018 (arXiv 1811.00866); McCormick, "Computability of
global solutions to factorable nonconvex programs", 1976.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from sparsejax.flowgraph import _evaluate, _ranges
from sparsejax.flowgraph._intervals import Interval
from sparsejax.flowgraph._structure import Structure

PIECES = 256


class Lines(NamedTuple):
    """Two lower and two upper lines of nodes of one operation.

    Attributes:
        slopes: (4, nodes, operands): lower, lower, upper, upper.
        consts: (4, nodes).
        start: (nodes,), the second lower line's share where nobody chooses it.
    """

    slopes: np.ndarray
    consts: np.ndarray
    start: np.ndarray


def lines(graph: Structure, op: str, operands: list[Interval], own: Interval) -> Lines:
    """The lines of nodes of one operation.

    Args:
        graph: whose operation it is.
        op: its name.
        operands: their ends, (nodes,) each.
        own: ends of the operation itself: lines that are infinite or not a number
            become these.
    """
    with np.errstate(all="ignore"):
        if op in _RULES:
            found = _RULES[op](*operands)
        elif op in _SMOOTH:
            found = _smooth(*_SMOOTH[op], *operands)
        elif len(operands) == 1 or op == "pow":
            found = _pieces(graph, op, operands)
        else:
            found = _level(own, len(operands))
        slopes, consts, start = found
        point = own[0] == own[1]
        for k, (end, line, const) in enumerate(zip((0, 0, 1, 1), slopes, consts)):
            bad = point | ~np.isfinite(line).all(axis=1) | ~np.isfinite(const)
            slopes[k] = np.where(bad[:, None], 0.0, line)
            consts[k] = np.where(bad, own[end], const)
        for k in range(4):  # an infinite line is no part of a mixture
            other, lost = k ^ 1, np.isinf(consts[k])
            slopes[k] = np.where(lost[:, None], slopes[other], slopes[k])
            consts[k] = np.where(lost, consts[other], consts[k])
    return Lines(slopes, consts, start)


def _level(own: Interval, operands: int) -> Lines:
    consts = np.stack([own[0], own[0], own[1], own[1]])
    slopes = np.zeros((*consts.shape, operands))
    return Lines(slopes, consts, np.zeros(len(own[0])))


def _unary(lines: list[tuple], start) -> Lines:
    """Lines of one operand, from four pairs of a slope and a constant."""
    slopes, consts = (np.stack([line[k] for line in lines]) for k in (0, 1))
    return Lines(slopes[..., None], consts, np.broadcast_to(start, consts[0].shape))


def _relu(x: Interval) -> Lines:
    low, high = x
    on, off = low >= 0, high <= 0
    zero = np.zeros_like(low)
    chord = np.where(on, 1.0, np.where(off, 0.0, high / (high - low)))
    top = chord, np.where(on | off, 0.0, -chord * low)
    lower = (on.astype(float), zero), (np.where(off, 0.0, 1.0), zero)
    return _unary([*lower, top, top], (high > -low).astype(float))


def _abs(x: Interval) -> Lines:
    low, high = x
    on, off = low >= 0, high <= 0
    zero = np.zeros_like(low)
    chord = (high + low) / (high - low)
    chord = np.where(on, 1.0, np.where(off, -1.0, chord))
    top = chord, np.where(on | off, 0.0, -low - chord * low)
    lower = (np.where(on, 1.0, -1.0), zero), (np.where(off, -1.0, 1.0), zero)
    return _unary([*lower, top, top], (high > -low).astype(float))


def _not(x: Interval) -> Lines:
    one = np.ones_like(x[0])
    return _unary([(-one, one)] * 4, 0.0)


def _several(lines: list[tuple]) -> Lines:
    """Lines of several operands: four of their slopes and a constant."""
    slopes = np.stack([np.stack(line[:-1], axis=-1) for line in lines])
    consts = np.stack([line[-1] for line in lines])
    return Lines(slopes, consts, np.full(consts.shape[1], 0.5))


def _mul(x: Interval, y: Interval) -> Lines:
    (a, b), (c, d) = x, y
    fixed_x, fixed_y = a == b, c == d
    either = fixed_x | fixed_y
    planes = []
    for p, q in ((a, c), (b, d), (a, d), (b, c)):  # p y + q x - p q, at corners
        of_x = np.where(fixed_x & ~fixed_y, 0.0, q)
        of_y = np.where(fixed_y, 0.0, p)
        planes.append((of_x, of_y, np.where(either, 0.0, -p * q)))
    return _several(planes)


def _div(x: Interval, y: Interval) -> Lines:
    """A product with 1 / y, which is convex where y > 0; y < 0 by two changes of sign."""
    sign = np.where(y[1] < 0, -1.0, 1.0)
    (a, b), (c, d) = (
        tuple(np.where(sign < 0, (-z[1], -z[0]), (z[0], z[1]))) for z in (x, y)
    )
    c = np.where(c > 0, c, np.nan)  # through 0: no lines
    middle = np.sqrt(c * d)
    below = -1 / middle**2, 2 / middle
    above = -1 / (c * d), 1 / c + 1 / d
    planes = []
    for at, r, upper in ((a, 1 / d, False), (b, 1 / c, False),
                         (a, 1 / c, True), (b, 1 / d, True)):  # fmt: skip
        high = (at >= 0) == upper
        slope, const = (np.where(high, p, q) for p, q in zip(above, below, strict=True))
        planes.append((sign * r, sign * at * slope, at * const - at * r))
    return _several(planes)


def _select(p: Interval, a: Interval, b: Interval) -> Lines:
    always, never = p[0] > 0, p[1] <= 0
    least, most = np.minimum(b[0] - a[1], 0), np.maximum(b[1] - a[0], 0)  # of b - a
    zero = np.zeros_like(p[0])
    planes = []
    for from_a, shift in ((True, least), (False, -most), (True, most), (False, -least)):
        is_b = np.where(always, 1.0, np.where(never, 0.0, float(not from_a)))
        planes.append((zero, 1 - is_b, is_b, np.where(always | never, 0.0, shift)))
    return _several(planes)


_RULES = {"relu": _relu, "abs": _abs, "not": _not}
_RULES |= {"mul": _mul, "div": _div, "select": _select}


def _sigmoid_slope(x):
    y = special.expit(x)
    return y * (1 - y)


# (function, derivative, where it turns from convex to concave)
_SMOOTH: dict[str, tuple[Callable, Callable, float]] = {
    "exp": (np.exp, np.exp, np.inf),
    "exp2": (np.exp2, lambda x: np.log(2) * np.exp2(x), np.inf),
    "expm1": (np.expm1, np.exp, np.inf),
    "square": (np.square, lambda x: 2 * x, np.inf),
    "cosh": (np.cosh, np.sinh, np.inf),
    "rsqrt": (lambda x: x**-0.5, lambda x: -0.5 * x**-1.5, np.inf),
    "log": (np.log, lambda x: 1 / x, -np.inf),
    "log1p": (np.log1p, lambda x: 1 / (1 + x), -np.inf),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x), -np.inf),
    "sigmoid": (special.expit, _sigmoid_slope, 0.0),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2, 0.0),
    "arctan": (np.arctan, lambda x: 1 / (1 + x**2), 0.0),
    "arcsinh": (np.arcsinh, lambda x: 1 / np.sqrt(1 + x**2), 0.0),
    "erf": (special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2)), 0.0),
}


def _smooth(fn, slope, turn: float, x: Interval) -> Lines:
    """Chord and tangents of a function that is convex, then concave."""
    low, high = x
    below = _tangents(fn, slope, low, high, turn)

    def mirrored(x):  # -f(-x) is convex, then concave, too
        return -fn(-x)

    above = _tangents(mirrored, lambda x: slope(-x), -high, -low, -turn)
    return _unary([*below, *((k, -c) for k, c in above)], 0.5)


def _tangents(fn, slope, low, high, turn: float) -> list[tuple]:
    """Two lower lines: tangents to the convex part, or the chord.

    A tangent at a point of the convex part is below the function everywhere if it is at
    `high`; and the further right the point, the higher it is there.
    """
    last = np.minimum(high, turn)
    first, top = np.minimum(low, last), fn(high)

    def fits(at):
        return fn(at) + slope(at) * (high - at) <= top

    convex = high <= turn
    good, bad = first, last
    for _ in range(40):
        middle = (good + bad) / 2
        fine = fits(middle)
        good, bad = np.where(fine, middle, good), np.where(fine, bad, middle)
    end = np.where(convex, last, good)
    chord = (top - fn(low)) / (high - low)
    straight = (low >= turn) | ~(convex | fits(first))
    lines = []
    for share in (np.where(convex, 0.25, 0.5), np.where(convex, 0.75, 1.0)):
        at = first + share * (end - first)
        k = np.where(straight, chord, slope(at))
        lines.append((k, np.where(straight, fn(low) - chord * low, fn(at) - k * at)))
    return lines


def _pieces(graph: Structure, op: str, operands: list[Interval]) -> Lines:
    """Lines of a few slopes, moved until they clear the intervals on all pieces."""
    (low, high), *rest = operands
    fixed = np.all([a == b for a, b in rest], axis=0) if rest else True
    low, high = (np.where(fixed & np.isfinite(high - low), end, np.nan)
                 for end in (low, high))  # fmt: skip
    edges = np.linspace(low, high, PIECES + 1, axis=-1)
    known = [tuple(np.broadcast_to(end[:, None], edges[:, 1:].shape) for end in o)
             for o in rest]  # fmt: skip
    cut = edges[:, :-1], edges[:, 1:]
    least, most = _ranges.apply(graph, op, [cut, *known], pieces=1)
    at = edges[:, [0, 1, -2, -1]]
    fn = _evaluate.numpy_function(graph, op)
    values = fn(at, *(np.broadcast_to(o[0][:, None], at.shape) for o in rest))
    ends = ((0, 3), (0, 1), (2, 3))
    slopes = [(values[:, j] - values[:, i]) / (at[:, j] - at[:, i]) for i, j in ends]
    lower, upper = [], []
    for k in slopes:
        ramp = np.sort([k[:, None] * cut[0], k[:, None] * cut[1]], axis=0)
        lower.append((k, (least - ramp[1]).min(axis=1)))
        upper.append((k, (most - ramp[0]).max(axis=1)))
    best = [*_best(lower, low + high, 1.0), *_best(upper, low + high, -1.0)]
    found = _unary(best, 0.0)
    none = np.zeros((*found.consts.shape, len(rest)))
    return found._replace(slopes=np.concatenate([found.slopes, none], axis=-1))


def _best(lines: list[tuple], twice: np.ndarray, sign: float) -> list[tuple]:
    """The two lines that are tightest in the middle."""
    middle = np.stack([sign * (k * twice / 2 + c) for k, c in lines])
    order = np.argsort(-np.where(np.isnan(middle), -np.inf, middle), axis=0)
    columns = np.arange(order.shape[1])
    ks, cs = (np.stack([line[i] for line in lines]) for i in (0, 1))
    return [(ks[order[i], columns], cs[order[i], columns]) for i in (0, 1)]
