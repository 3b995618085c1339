"""The scalar operations that a graph's nodes compute, each in four languages.

One table: what an operation is in JAX (to evaluate batches), in NumPy (to fold
constants), in Python and C (to write source), and what it does to intervals. Whatever
else a network computes is written in these (see `trace`), so that every export is
complete by construction. The page's own table is in page/ops.js; a test compares them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

Interval = tuple[np.ndarray, np.ndarray]


class Op(NamedTuple):
    """One operation on scalars.

    Attributes:
        arity: number of operands; 0 for any number, at least one.
        jax: on JAX arrays.
        numpy: on NumPy arrays, in float64.
        python: expression in Python; operands are {0}, {1}, or, for any number,
            {all}. Functions other than `math`'s are written out in `export.source`.
        c: the same in C99, float or double; {fold} nests two operands at a time.
        bounds: on intervals `(low, high)`, one an operand: an interval that holds every
            value.
    """

    arity: int
    jax: Callable
    numpy: Callable
    python: str
    c: str
    bounds: Callable[..., Interval]


def _rising(fn, least=-math.inf, most=math.inf) -> Callable[..., Interval]:
    """Bounds of an increasing function; an end outside its domain gives the limit."""

    def bounds(x: Interval) -> Interval:
        with np.errstate(all="ignore"):
            low, high = fn(x[0]), fn(x[1])
        low = np.where(np.isnan(low), least, low)
        return low, np.where(np.isnan(high), most, high)

    return bounds


def _falling(fn, least=-math.inf, most=math.inf) -> Callable[..., Interval]:
    rising = _rising(fn, least, most)
    return lambda x: rising((x[1] + 0.0, x[0] + 0.0))  # + 0.0: 1 / sqrt(-0) is -inf


def _valley(fn) -> Callable[..., Interval]:
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


def _wave(fn, peak: float) -> Callable[..., Interval]:
    """Bounds of sin or cos, whose maxima lie at `peak` + 2 pi k."""

    def bounds(x: Interval) -> Interval:
        with np.errstate(invalid="ignore"):
            a, b = fn(x[0]), fn(x[1])
        top = np.where(_holds(x, peak, 2 * np.pi), 1.0, np.maximum(a, b))
        low = _holds(x, peak + np.pi, 2 * np.pi)
        return np.where(low, -1.0, np.minimum(a, b)), top

    return bounds


def _tan_bounds(x: Interval) -> Interval:
    pole = _holds(x, np.pi / 2, np.pi)
    with np.errstate(invalid="ignore"):
        low, high = np.tan(x[0]), np.tan(x[1])
    return np.where(pole, -np.inf, low), np.where(pole, np.inf, high)


def _corners(fn) -> Callable[..., Interval]:
    """Bounds of a function that is monotone in each of two operands."""

    def bounds(x: Interval, y: Interval) -> Interval:
        with np.errstate(all="ignore"):
            values = np.stack([fn(a, b) for a in x for b in y])
        # 0 * inf: the finite factor wins.
        values = np.where(np.isnan(values), 0.0, values)
        return values.min(axis=0), values.max(axis=0)

    return bounds


def _quotient_bounds(x: Interval, y: Interval) -> Interval:
    low, high = _corners(np.divide)(x, y)
    through = (y[0] <= 0) & (y[1] >= 0)
    return np.where(through, -np.inf, low), np.where(through, np.inf, high)


def _power_bounds(x: Interval, y: Interval) -> Interval:
    """Tight for a constant exponent or a base that is not negative, else everything."""
    point = (y[0] == y[1]) & np.isfinite(y[0])
    whole = point & (y[0] == np.round(y[0]))
    roots = point & ~whole  # defined from 0 on
    low = np.where(roots, np.maximum(x[0], 0.0), x[0]) + 0.0
    high = np.where(roots, np.maximum(x[1], 0.0), x[1]) + 0.0
    inside = (low <= 0) & (high >= 0)
    least, most = _corners(np.power)((low, high), y)
    even = whole & (np.where(point, y[0], 1.0) % 2 == 0)
    least = np.where(even & inside & (y[0] >= 0), 0.0, least)
    known = (low >= 0) | (whole & ((y[0] >= 0) | ~inside))
    return np.where(known, least, -np.inf), np.where(known, most, np.inf)


def _remainder_bounds(x: Interval, y: Interval) -> Interval:
    """The sign is the dividend's, as in C."""
    most = np.maximum(np.abs(y[0]), np.abs(y[1]))
    low = np.where(x[0] < 0, -np.minimum(most, np.abs(x[0])), 0.0)
    high = np.where(x[1] > 0, np.minimum(most, np.abs(x[1])), 0.0)
    through = (y[0] <= 0) & (y[1] >= 0)
    least = np.where(through, 0.0, np.minimum(np.abs(y[0]), np.abs(y[1])))
    same = np.maximum(np.abs(x[0]), np.abs(x[1])) < least  # nothing to take away
    return np.where(same, x[0], low), np.where(same, x[1], high)


def _angle_bounds(y: Interval, x: Interval) -> Interval:
    low, high = _corners(np.arctan2)(y, x)
    cut = (x[0] <= 0) & (y[0] <= 0) & (y[1] >= 0)
    return np.where(cut, -np.pi, low), np.where(cut, np.pi, high)


def _truth(never, always) -> Callable[..., Interval]:
    """Bounds of a comparison: 0 where it never holds, 1 where it always does."""

    def bounds(x: Interval, y: Interval) -> Interval:
        return always(x, y).astype(float), 1.0 - never(x, y).astype(float)

    return bounds


def _select_bounds(p: Interval, a: Interval, b: Interval) -> Interval:
    always, never = p[0] > 0, p[1] <= 0
    low = np.where(always, b[0], np.where(never, a[0], np.minimum(a[0], b[0])))
    high = np.where(always, b[1], np.where(never, a[1], np.maximum(a[1], b[1])))
    return low, high


def _either(x: Interval, y: Interval) -> Interval:
    """Bounds of exclusive or: known where both operands are."""
    sure = [((p[0] > 0), (p[1] <= 0)) for p in (x, y)]
    (a, no_a), (b, no_b) = sure
    low = (a & no_b) | (no_a & b)
    return low.astype(float), 1.0 - ((a & b) | (no_a & no_b)).astype(float)


def _sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def _reciprocal_root(x):
    with np.errstate(divide="ignore"):
        return 1 / np.sqrt(x)


def _unary(jax_fn, numpy_fn, python, c, bounds) -> Op:
    return Op(1, jax_fn, numpy_fn, python, c, bounds)


def _compare(symbol, numpy_fn, never, always) -> Op:
    def to_float(a, b):
        return numpy_fn(a, b).astype(a.dtype)

    return Op(
        2,
        to_float,
        lambda a, b: numpy_fn(a, b).astype(float),
        f"float({{0}} {symbol} {{1}})",
        f"({{0}} {symbol} {{1}})",
        _truth(never, always),
    )


def _logic(symbol, fn, bounds=None) -> Op:
    def ends(x, y):
        return [fn(x[k] > 0, y[k] > 0).astype(float) for k in (0, 1)]

    return Op(
        2,
        lambda a, b: fn(a > 0, b > 0).astype(a.dtype),
        lambda a, b: fn(a > 0, b > 0).astype(float),
        f"float(({{0}} > 0) {symbol} ({{1}} > 0))",
        f"(({{0}} > 0) {symbol} ({{1}} > 0))",
        bounds or (lambda x, y: tuple(ends(x, y))),  # and, or: rising in both
    )


def _same(name: str, python: str | None = None, **limits) -> Op:
    """A rising function that has one name everywhere, about."""
    short = name.replace("arc", "a")
    fn = getattr(np, name)
    return _unary(
        getattr(jnp, name),
        fn,
        python or f"{short}({{0}})",
        f"{short}({{0}})",
        _rising(fn, **limits),
    )


def _point(y):
    return y[0] == y[1]


OPS: dict[str, Op] = {
    "relu": _unary(
        jax.nn.relu,
        lambda x: np.maximum(x, 0.0),
        "relu({0})",
        "relu({0})",
        _rising(lambda x: np.maximum(x, 0.0)),
    ),
    "abs": _unary(jnp.abs, np.abs, "abs({0})", "fabs({0})", _valley(np.abs)),
    "sign": _unary(
        jnp.sign,
        np.sign,
        "sign({0})",
        "sign({0})",
        _rising(np.sign),
    ),
    "square": _unary(
        jnp.square, np.square, "square({0})", "square({0})", _valley(np.square)
    ),
    "exp": _same("exp", least=0.0),
    "exp2": _same("exp2", least=0.0),
    "expm1": _same("expm1", least=-1.0),
    "log": _same("log"),
    "log1p": _same("log1p"),
    "sqrt": _same("sqrt", least=0.0),
    "cbrt": _same("cbrt", "math.cbrt({0})"),
    "rsqrt": _unary(
        jax.lax.rsqrt,
        _reciprocal_root,
        "rsqrt({0})",
        "1 / sqrt({0})",
        _falling(_reciprocal_root, 0.0),
    ),
    "tanh": _same("tanh", "math.tanh({0})"),
    "sigmoid": _unary(
        jax.nn.sigmoid,
        _sigmoid,
        "sigmoid({0})",
        "1 / (1 + exp(-({0})))",
        _rising(_sigmoid),
    ),
    "sin": _unary(jnp.sin, np.sin, "sin({0})", "sin({0})", _wave(np.sin, np.pi / 2)),
    "cos": _unary(jnp.cos, np.cos, "cos({0})", "cos({0})", _wave(np.cos, 0.0)),
    "tan": _unary(jnp.tan, np.tan, "tan({0})", "tan({0})", _tan_bounds),
    "arcsin": _same("arcsin", least=-np.pi / 2, most=np.pi / 2),
    "arccos": _unary(
        jnp.arccos,
        np.arccos,
        "acos({0})",
        "acos({0})",
        _falling(np.arccos, 0.0, np.pi),
    ),
    "arctan": _same("arctan", "math.atan({0})"),
    "sinh": _same("sinh"),
    "cosh": _unary(jnp.cosh, np.cosh, "cosh({0})", "cosh({0})", _valley(np.cosh)),
    "arcsinh": _same("arcsinh", "math.asinh({0})"),
    "arccosh": _same("arccosh", least=0.0),
    "arctanh": _same("arctanh"),
    "erf": _unary(
        jax.scipy.special.erf,
        special.erf,
        "math.erf({0})",
        "erf({0})",
        _rising(special.erf),
    ),
    "erfc": _unary(
        jax.scipy.special.erfc,
        special.erfc,
        "math.erfc({0})",
        "erfc({0})",
        _falling(special.erfc),
    ),
    "floor": _same("floor"),
    "ceil": _same("ceil"),
    "round": _unary(jnp.round, np.round, "rint({0})", "rint({0})", _rising(np.round)),
    "not": _unary(
        lambda x: 1 - x,
        lambda x: 1 - x,
        "1.0 - ({0})",
        "1 - ({0})",
        lambda x: (1 - x[1], 1 - x[0]),
    ),
    "mul": Op(
        2,
        jnp.multiply,
        np.multiply,
        "{0} * {1}",
        "{0} * {1}",
        _corners(np.multiply),
    ),
    "div": Op(
        2, jnp.divide, np.divide, "divide({0}, {1})", "{0} / {1}", _quotient_bounds
    ),
    "pow": Op(
        2, jnp.power, np.power, "power({0}, {1})", "pow({0}, {1})", _power_bounds
    ),
    "rem": Op(
        2,
        jax.lax.rem,
        np.fmod,
        "fmod({0}, {1})",
        "fmod({0}, {1})",
        _remainder_bounds,
    ),
    "arctan2": Op(
        2,
        jnp.arctan2,
        np.arctan2,
        "math.atan2({0}, {1})",
        "atan2({0}, {1})",
        _angle_bounds,
    ),
    "max": Op(
        0,
        lambda *xs: jnp.max(jnp.stack(xs), axis=0),
        lambda *xs: np.max(np.stack(xs), axis=0),
        "maximum({all})",
        "maximum({fold})",
        lambda *xs: (
            np.max([x[0] for x in xs], axis=0),
            np.max([x[1] for x in xs], axis=0),
        ),
    ),
    "min": Op(
        0,
        lambda *xs: jnp.min(jnp.stack(xs), axis=0),
        lambda *xs: np.min(np.stack(xs), axis=0),
        "minimum({all})",
        "minimum({fold})",
        lambda *xs: (
            np.min([x[0] for x in xs], axis=0),
            np.min([x[1] for x in xs], axis=0),
        ),
    ),
    "gt": _compare(
        ">", lambda a, b: a > b, lambda x, y: x[1] <= y[0], lambda x, y: x[0] > y[1]
    ),
    "ge": _compare(
        ">=", lambda a, b: a >= b, lambda x, y: x[1] < y[0], lambda x, y: x[0] >= y[1]
    ),
    "lt": _compare(
        "<", lambda a, b: a < b, lambda x, y: x[0] >= y[1], lambda x, y: x[1] < y[0]
    ),
    "le": _compare(
        "<=", lambda a, b: a <= b, lambda x, y: x[0] > y[1], lambda x, y: x[1] <= y[0]
    ),
    "eq": _compare(
        "==",
        lambda a, b: a == b,
        lambda x, y: (x[0] > y[1]) | (x[1] < y[0]),
        lambda x, y: _point(x) & _point(y) & (x[0] == y[0]),
    ),
    "ne": _compare(
        "!=",
        lambda a, b: a != b,
        lambda x, y: _point(x) & _point(y) & (x[0] == y[0]),
        lambda x, y: (x[0] > y[1]) | (x[1] < y[0]),
    ),
    "and": _logic("&", lambda a, b: a & b),
    "or": _logic("|", lambda a, b: a | b),
    "xor": _logic("^", lambda a, b: a ^ b, _either),
    "select": Op(
        3,
        lambda p, a, b: jnp.where(p > 0, b, a),
        lambda p, a, b: np.where(p > 0, b, a),
        "({2} if {0} > 0 else {1})",
        "({0} > 0 ? {2} : {1})",
        _select_bounds,
    ),
}
