"""When two programs are the same, whatever functions they were traced from.

They are if they do the same steps on the same variables with the same parameters, and
hold the same constants. Nothing is told from a print: floats are compared by their
bits, types with their values, functions by identity.
"""

from collections.abc import Hashable
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import jax
import numpy as np

from sparsejax.interpret import _program as program_
from sparsejax.interpret.primitives import CALLS, PLAIN_CALLS, REMATS

# Rules of derivatives are nothing to a program that is not differentiated any more.
_RULES = CALLS - PLAIN_CALLS - REMATS


class _Unknown(Exception):
    """Something of which nobody can tell whether another is the same."""


def identity(closed) -> Hashable | None:
    """What equals that of another program if both compute the same.

    None if that can't be told: where arrays of other kinds, or functions, as those of
    callbacks, are parameters of a step.
    """
    try:
        key = _jaxpr(closed)
        hash(key)
    except (_Unknown, TypeError):
        return None
    return key


def _jaxpr(body) -> tuple:
    jaxpr, numbers = getattr(body, "jaxpr", body), {}

    def name(var) -> tuple:
        return numbers.setdefault(var, len(numbers)), var.aval

    def read(atom) -> tuple:
        if program_.is_variable(atom):
            return (numbers[atom],)
        return atom.aval, _value(atom.val)

    consts = tuple(map(_value, getattr(body, "consts", ())))
    inputs = tuple(map(name, (*jaxpr.constvars, *jaxpr.invars)))
    steps = tuple(
        (
            equation.primitive,
            equation.ctx,
            tuple(map(read, equation.invars)),
            _params(equation),
            tuple(map(name, equation.outvars)),
        )
        for equation in jaxpr.eqns
    )
    return consts, inputs, steps, tuple(map(read, jaxpr.outvars))


def _params(equation) -> tuple:
    kind, params = equation.primitive.name, equation.params
    if kind in _RULES:
        jaxpr, consts = program_.body(equation)
        return _jaxpr(jaxpr), tuple(map(_value, consts))
    if "callback" in kind:
        raise _Unknown
    left_out = {"policy"} if kind in REMATS else set()
    return tuple(
        (name, _value(value)) for name, value in params.items() if name not in left_out
    )


def _value(value: Any) -> Hashable:
    if hasattr(value, "eqns"):
        return _jaxpr(value)
    kind = type(value)
    if isinstance(value, tuple | list):
        return kind, tuple(map(_value, value))
    if isinstance(value, dict):
        return kind, tuple((_value(k), _value(v)) for k, v in value.items())
    if isinstance(value, float | complex):
        return kind, np.asarray(value).tobytes()
    if program_.is_array(value):
        return _array(value)
    if isinstance(value, partial | MethodType) or "<locals>" in _qualified(value):
        raise _Unknown  # it was made for this program alone, and may hold arrays
    return kind, value


def _qualified(value: Any) -> str:
    return value.__qualname__ if isinstance(value, FunctionType) else ""


def _array(array) -> Hashable:
    extended = jax.numpy.issubdtype(array.dtype, jax.dtypes.extended)
    if extended or not hasattr(type(array), "__array__"):
        raise _Unknown
    weak = getattr(array, "weak_type", False)
    numbers = np.asarray(array)
    return type(array), numbers.dtype, numbers.shape, weak, numbers.tobytes()
