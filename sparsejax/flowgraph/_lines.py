"""Straight lines below and above the scalar operations, between known ends.

An operation on operands within `[low, high]` lies above both of two lower lines or, of
several operands, planes, and below both of two upper ones, and so of any mixture of
two.

Relu and abs have the usual triangles, products McCormick's planes; for what is smooth,
and for functions of one operand, see `_curves`; comparisons and the like have their
interval.

References: Zhang et al., "Efficient neural network robustness certification with
general activation functions", 2018 (arXiv 1811.00866); McCormick, "Computability of
global solutions to factorable nonconvex programs", 1976.
"""

from typing import NamedTuple

import numpy as np

from sparsejax.flowgraph import _curves
from sparsejax.flowgraph._intervals import Interval
from sparsejax.flowgraph._structure import Structure


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
        elif op in _curves.SMOOTH:
            found = _unary(*_curves.smooth(op, *operands))
        elif len(operands) == 1 or op == "pow":
            found = _unary(*_curves.pieces(graph, op, operands), len(operands))
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


def _unary(lines: list[tuple], start, operands: int = 1) -> Lines:
    """Lines of the first operand, from four pairs of a slope and a constant."""
    slopes, consts = (np.stack([line[k] for line in lines]) for k in (0, 1))
    others = np.zeros((*consts.shape, operands - 1))
    slopes = np.concatenate([slopes[..., None], others], axis=-1)
    return Lines(slopes, consts, np.broadcast_to(start, consts[0].shape))


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
    """A product with 1 / y, convex where y > 0; for y < 0 both change their signs."""
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
