"""What the scalar operations do to intervals: the bounds in the table `_ops.OPS`.

An interval is two arrays, `(low, high)`. Each rule gives one that holds every value of
its operation on operands within theirs.
"""

import math
from collections.abc import Callable

import numpy as np

Interval = tuple[np.ndarray, np.ndarray]


def rising(fn, least=-math.inf, most=math.inf) -> Callable[..., Interval]:
    """Bounds of an increasing function; an end outside its domain gives the limit."""

    def bounds(x: Interval) -> Interval:
        with np.errstate(all="ignore"):
            low, high = fn(x[0]), fn(x[1])
        low = np.where(np.isnan(low), least, low)
        return low, np.where(np.isnan(high), most, high)

    return bounds


def falling(fn, least=-math.inf, most=math.inf) -> Callable[..., Interval]:
    forward = rising(fn, least, most)
    return lambda x: forward((x[1] + 0.0, x[0] + 0.0))  # + 0.0: 1 / sqrt(-0) is -inf


def valley(fn) -> Callable[..., Interval]:
    """Bounds of an even function that grows away from zero."""

    def bounds(x: Interval) -> Interval:
        low, high = x
        ends = np.abs(low), np.abs(high)
        inside = (low <= 0) & (high >= 0)
        with np.errstate(over="ignore"):
            least = fn(np.where(inside, 0.0, np.minimum(*ends)))
            return least, fn(np.maximum(*ends))

    return bounds


def _holds(x: Interval, at: float, period: float) -> np.ndarray:
    """Whether some `at + k period` lies in the interval; for sure where it is not."""
    low, high = x
    slack = 1e-9  # of a period: what rounding may hide, below 1e6
    with np.errstate(invalid="ignore"):
        first = np.ceil((low - at) / period - slack)
        found = np.floor((high - at) / period + slack) >= first
    return found | ~(np.maximum(np.abs(low), np.abs(high)) < 1e6)


def wave(fn, peak: float) -> Callable[..., Interval]:
    """Bounds of sin or cos, whose maxima lie at `peak` + 2 pi k."""

    def bounds(x: Interval) -> Interval:
        with np.errstate(invalid="ignore"):
            a, b = fn(x[0]), fn(x[1])
        top = np.where(_holds(x, peak, 2 * np.pi), 1.0, np.maximum(a, b))
        low = _holds(x, peak + np.pi, 2 * np.pi)
        return np.where(low, -1.0, np.minimum(a, b)), top

    return bounds


def tan(x: Interval) -> Interval:
    pole = _holds(x, np.pi / 2, np.pi)
    with np.errstate(invalid="ignore"):
        low, high = np.tan(x[0]), np.tan(x[1])
    return np.where(pole, -np.inf, low), np.where(pole, np.inf, high)


def corners(fn) -> Callable[..., Interval]:
    """Bounds of a function that is monotone in each of two operands."""

    def bounds(x: Interval, y: Interval) -> Interval:
        with np.errstate(all="ignore"):
            values = np.stack([fn(a, b) for a in x for b in y])
        # 0 * inf: the finite factor wins.
        values = np.where(np.isnan(values), 0.0, values)
        return values.min(axis=0), values.max(axis=0)

    return bounds


def quotient(x: Interval, y: Interval) -> Interval:
    low, high = corners(np.divide)(x, y)
    through = (y[0] <= 0) & (y[1] >= 0)
    return np.where(through, -np.inf, low), np.where(through, np.inf, high)


def power(x: Interval, y: Interval) -> Interval:
    """Tight for a constant exponent or a base that is not negative, else everything."""
    point = (y[0] == y[1]) & np.isfinite(y[0])
    whole = point & (y[0] == np.round(y[0]))
    roots = point & ~whole  # defined from 0 on
    low = np.where(roots, np.maximum(x[0], 0.0), x[0]) + 0.0
    high = np.where(roots, np.maximum(x[1], 0.0), x[1]) + 0.0
    inside = (low <= 0) & (high >= 0)
    least, most = corners(np.power)((low, high), y)
    even = whole & (np.where(point, y[0], 1.0) % 2 == 0)
    least = np.where(even & inside & (y[0] >= 0), 0.0, least)
    known = (low >= 0) | (whole & ((y[0] >= 0) | ~inside))
    return np.where(known, least, -np.inf), np.where(known, most, np.inf)


def remainder(x: Interval, y: Interval) -> Interval:
    """The sign is the dividend's, as in C."""
    most = np.maximum(np.abs(y[0]), np.abs(y[1]))
    low = np.where(x[0] < 0, -np.minimum(most, np.abs(x[0])), 0.0)
    high = np.where(x[1] > 0, np.minimum(most, np.abs(x[1])), 0.0)
    through = (y[0] <= 0) & (y[1] >= 0)
    least = np.where(through, 0.0, np.minimum(np.abs(y[0]), np.abs(y[1])))
    same = np.maximum(np.abs(x[0]), np.abs(x[1])) < least  # nothing to take away
    return np.where(same, x[0], low), np.where(same, x[1], high)


def angle(y: Interval, x: Interval) -> Interval:
    low, high = corners(np.arctan2)(y, x)
    cut = (x[0] <= 0) & (y[0] <= 0) & (y[1] >= 0)
    return np.where(cut, -np.pi, low), np.where(cut, np.pi, high)


def truth(never, always) -> Callable[..., Interval]:
    """Bounds of a comparison: 0 where it never holds, 1 where it always does."""

    def bounds(x: Interval, y: Interval) -> Interval:
        return always(x, y).astype(float), 1.0 - never(x, y).astype(float)

    return bounds


def select(p: Interval, a: Interval, b: Interval) -> Interval:
    always, never = p[0] > 0, p[1] <= 0
    low = np.where(always, b[0], np.where(never, a[0], np.minimum(a[0], b[0])))
    high = np.where(always, b[1], np.where(never, a[1], np.maximum(a[1], b[1])))
    return low, high


def either(x: Interval, y: Interval) -> Interval:
    """Bounds of exclusive or: known where both operands are."""
    sure = [((p[0] > 0), (p[1] <= 0)) for p in (x, y)]
    (a, no_a), (b, no_b) = sure
    low = (a & no_b) | (no_a & b)
    return low.astype(float), 1.0 - ((a & b) | (no_a & no_b)).astype(float)
