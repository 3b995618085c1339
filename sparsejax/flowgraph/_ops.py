"""The scalar operations that a graph's nodes compute, each in four languages.

One table: what an operation is in JAX (to evaluate batches), in NumPy (to fold
constants), in Python and C (to write source), and what it does to intervals. Whatever
else a network computes is written in these (see `trace`), so that every export is
complete by construction. The page's own table is in page/ops.js; a test compares them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from sparsejax.flowgraph import _intervals
from sparsejax.flowgraph._intervals import Interval


class Op(NamedTuple):
    """One operation on scalars.

    Attributes:
        arity: number of operands; 0 for any number, at least one.
        jax: on JAX arrays.
        numpy: on NumPy arrays, in float64.
        python: expression in Python; operands are {0}, {1}, or, for any number,
            {all}. Functions other than `math`'s are written out in `_export.source`.
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
        _intervals.truth(never, always),
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
        _intervals.rising(fn, **limits),
    )


def _point(y):
    return y[0] == y[1]


OPS: dict[str, Op] = {
    "relu": _unary(
        jax.nn.relu,
        lambda x: np.maximum(x, 0.0),
        "relu({0})",
        "relu({0})",
        _intervals.rising(lambda x: np.maximum(x, 0.0)),
    ),
    "abs": _unary(jnp.abs, np.abs, "abs({0})", "fabs({0})", _intervals.valley(np.abs)),
    "sign": _unary(
        jnp.sign,
        np.sign,
        "sign({0})",
        "sign({0})",
        _intervals.rising(np.sign),
    ),
    "square": _unary(
        jnp.square,
        np.square,
        "square({0})",
        "square({0})",
        _intervals.valley(np.square),
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
        _intervals.falling(_reciprocal_root, 0.0),
    ),
    "tanh": _same("tanh", "math.tanh({0})"),
    "sigmoid": _unary(
        jax.nn.sigmoid,
        _sigmoid,
        "sigmoid({0})",
        "1 / (1 + exp(-({0})))",
        _intervals.rising(_sigmoid),
    ),
    "sin": _unary(
        jnp.sin, np.sin, "sin({0})", "sin({0})", _intervals.wave(np.sin, np.pi / 2)
    ),
    "cos": _unary(
        jnp.cos, np.cos, "cos({0})", "cos({0})", _intervals.wave(np.cos, 0.0)
    ),
    "tan": _unary(jnp.tan, np.tan, "tan({0})", "tan({0})", _intervals.tan),
    "arcsin": _same("arcsin", least=-np.pi / 2, most=np.pi / 2),
    "arccos": _unary(
        jnp.arccos,
        np.arccos,
        "acos({0})",
        "acos({0})",
        _intervals.falling(np.arccos, 0.0, np.pi),
    ),
    "arctan": _same("arctan", "math.atan({0})"),
    "sinh": _same("sinh"),
    "cosh": _unary(
        jnp.cosh, np.cosh, "cosh({0})", "cosh({0})", _intervals.valley(np.cosh)
    ),
    "arcsinh": _same("arcsinh", "math.asinh({0})"),
    "arccosh": _same("arccosh", least=0.0),
    "arctanh": _same("arctanh"),
    "erf": _unary(
        jax.scipy.special.erf,
        special.erf,
        "math.erf({0})",
        "erf({0})",
        _intervals.rising(special.erf),
    ),
    "erfc": _unary(
        jax.scipy.special.erfc,
        special.erfc,
        "math.erfc({0})",
        "erfc({0})",
        _intervals.falling(special.erfc),
    ),
    "floor": _same("floor"),
    "ceil": _same("ceil"),
    "round": _unary(
        jnp.round, np.round, "rint({0})", "rint({0})", _intervals.rising(np.round)
    ),
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
        _intervals.corners(np.multiply),
    ),
    "div": Op(
        2, jnp.divide, np.divide, "divide({0}, {1})", "{0} / {1}", _intervals.quotient
    ),
    "pow": Op(
        2, jnp.power, np.power, "power({0}, {1})", "pow({0}, {1})", _intervals.power
    ),
    "rem": Op(
        2,
        jax.lax.rem,
        np.fmod,
        "fmod({0}, {1})",
        "fmod({0}, {1})",
        _intervals.remainder,
    ),
    "arctan2": Op(
        2,
        jnp.arctan2,
        np.arctan2,
        "math.atan2({0}, {1})",
        "atan2({0}, {1})",
        _intervals.angle,
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
    "xor": _logic("^", lambda a, b: a ^ b, _intervals.either),
    "select": Op(
        3,
        lambda p, a, b: jnp.where(p > 0, b, a),
        lambda p, a, b: np.where(p > 0, b, a),
        "({2} if {0} > 0 else {1})",
        "({0} > 0 ? {2} : {1})",
        _intervals.select,
    ),
}
