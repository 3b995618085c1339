"""Which axis holds a convolution's output channels, as far as it can be followed.

The last axis of a named activation is its unit axis. Where an image has its channels
first, that would silently be its width; the convolution that made it says so.
"""

import math
from collections.abc import Sequence
from typing import Any

from sparsejax.interpret import _program as program_
from sparsejax.interpret._program import CALLS

# Beside elementwise steps, these leave every axis where it is.
_IN_PLACE = frozenset(
    {"pad", "slice", "dynamic_slice", "rev", "concatenate", "cumsum", "name"}
)
_REDUCTIONS = ("reduce_max", "reduce_min", "reduce_sum", "reduce_prod", "reduce_and")


def of_names(jaxpr) -> list[int | None]:
    """The axis of the channels of every named activation, in the order of the program.

    None where no convolution made it, or its axis can't be followed.
    """
    return _follow(jaxpr, [None] * len(jaxpr.invars))[0]


def _follow(jaxpr, inputs: Sequence[int | None]) -> tuple[list, list]:
    """Axes of the names, and of the results."""
    axes: dict[Any, int | None] = dict(zip(jaxpr.invars, inputs, strict=True))
    read = lambda atom: axes.get(atom) if program_.is_variable(atom) else None
    named: list[int | None] = []
    for equation in jaxpr.eqns:
        kind, given = equation.primitive.name, [*map(read, equation.invars)]
        outs = [_moved(equation, kind, given) for _ in equation.outvars[:1]]
        outs *= len(equation.outvars)
        if kind == "name":
            named += given
        for body in program_.inner(equation):
            whole = kind in CALLS and len(given) == len(body.invars)
            found, after = _follow(body, given if whole else [None] * len(body.invars))
            named += found
            outs = after if whole else outs
        axes.update(zip(equation.outvars, outs, strict=True))
    return named, [*map(read, jaxpr.outvars)]


def _moved(equation, kind: str, given: Sequence[int | None]) -> int | None:
    """Where a step puts the axis that its operands agree on in its first result."""
    params, out = equation.params, equation.outvars[0]
    if kind == "conv_general_dilated":
        return int(params["dimension_numbers"].out_spec[1])
    if kind == "dot_general":
        return None
    known = {
        axis: atom.aval.shape
        for axis, atom in zip(given, equation.invars, strict=True)
        if axis is not None
    }
    if len(known) != 1:
        return None
    axis, before = next(iter(known.items()))
    after = out.aval.shape
    if kind == "transpose":
        return list(params["permutation"]).index(axis)
    if kind == "broadcast_in_dim":
        return int(params["broadcast_dimensions"][axis])
    if kind in ("reshape", "squeeze"):
        return _reshaped(axis, before, after)
    if kind in _REDUCTIONS:
        gone = params["axes"]
        return None if axis in gone else axis - sum(a < axis for a in gone)
    same_size = len(after) == len(before) and after[axis] == before[axis]
    in_place = after == before or kind in _IN_PLACE or kind.startswith("reduce_window")
    return axis if same_size and in_place else None


def _reshaped(axis: int, before: tuple, after: tuple) -> int | None:
    """The axis of the same size with as much before it, if there is just one."""
    ahead = math.prod(before[:axis])
    fits = [
        k
        for k, size in enumerate(after)
        if size == before[axis] and math.prod(after[:k]) == ahead
    ]
    return fits[0] if len(fits) == 1 else None
