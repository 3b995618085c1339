"""Which axis holds a convolution's output channels, as far as it can be followed.

The last axis of a named activation is its unit axis. Where an image has its channels
first, that would silently be its width; the convolution that made it says so.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from sparsejax.interpret import _program as program_
from sparsejax.interpret import primitives as families

# Moves that leave an axis where it is, if it is as long as before (what permutes axes
# is told apart first). What is taken from anywhere may be put anywhere.
_IN_PLACE = families.MOVES - {"gather", "scatter"}


class _Channels(NamedTuple):
    """The axis of the channels, and of what shape the array was when it was known.

    A reshape can take it apart, as normalisations of groups do, and put it together.
    """

    axis: int | None
    shape: tuple[int, ...]
    known: int


def of_names(jaxpr) -> list[int | None]:
    """The axis of the channels of every named activation, in the order of the program.

    None where no convolution made it, or its axis can't be followed.
    """
    named, _ = _follow(jaxpr, [None] * len(jaxpr.invars))
    return [None if channels is None else channels.axis for channels in named]


def _follow(jaxpr, inputs: Sequence[_Channels | None]) -> tuple[list, list]:
    """Channels of the names, and of the results."""
    found: dict[Any, _Channels | None] = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom):
        return found.get(atom) if program_.is_variable(atom) else None

    named: list[_Channels | None] = []
    for equation in jaxpr.eqns:
        kind, given = equation.primitive.name, [*map(read, equation.invars)]
        outs = [_moved(equation, kind, given) for _ in equation.outvars[:1]]
        outs *= len(equation.outvars)
        if kind == "name":
            named += given
        for body in program_.inner(equation):
            whole = kind in families.CALLS and len(given) == len(body.invars)
            inside, after = _follow(body, given if whole else [None] * len(body.invars))
            named += inside
            outs = after if whole else outs
        found.update(zip(equation.outvars, outs, strict=True))
    return named, [*map(read, jaxpr.outvars)]


def _moved(equation, kind: str, given: Sequence[_Channels | None]) -> _Channels | None:
    """Where a step puts the channels that its operands agree on in its first result."""
    after = equation.outvars[0].aval.shape
    if kind == "conv_general_dilated":
        axis = int(equation.params["dimension_numbers"].out_spec[1])
        return _Channels(axis, after, axis)
    labeled = [(c, a) for c, a in zip(given, equation.invars, strict=True) if c]
    if not labeled or len({channels.axis for channels, _ in labeled}) != 1:
        return None
    channels, operand = labeled[0]
    if kind == "reshape" and after == channels.shape:
        return channels._replace(axis=channels.known)
    if channels.axis is None:
        stays = after == operand.aval.shape and kind not in ("transpose", "dot_general")
        return channels if stays else None
    axis = _axis(equation, kind, channels.axis, operand)
    if axis is not None:
        return _Channels(axis, after, axis)
    return channels._replace(axis=None) if kind == "reshape" else None


def _axis(equation, kind: str, axis: int, operand) -> int | None:
    """The axis of the result that is an operand's."""
    params, before = equation.params, operand.aval.shape
    after = equation.outvars[0].aval.shape
    if kind == "transpose":
        return list(params["permutation"]).index(axis)
    if kind == "broadcast_in_dim":
        return int(params["broadcast_dimensions"][axis])
    if kind in ("reshape", "squeeze"):
        return _reshaped(axis, before, after)
    if kind == "dot_general":
        return _multiplied(equation, axis, operand)
    if kind in families.REDUCTIONS:
        gone = params["axes"]
        return None if axis in gone else axis - sum(int(a < axis) for a in gone)
    if kind == "concatenate" and axis == params["dimension"]:
        return axis
    same_size = len(after) == len(before) and after[axis] == before[axis]
    in_place = after == before or kind in _IN_PLACE or kind.startswith("reduce_window")
    return axis if same_size and in_place else None


def _multiplied(equation, axis: int, operand) -> int | None:
    """Products have batch axes first, then what is left of the left, of the right."""
    contracted, batch = equation.params["dimension_numbers"]
    side = 0 if operand is equation.invars[0] else 1
    if axis in batch[side]:
        return batch[side].index(axis)
    free = [
        [i for i in range(len(a.aval.shape)) if i not in (*contracted[k], *batch[k])]
        for k, a in enumerate(equation.invars)
    ]
    if axis not in free[side]:
        return None
    return len(batch[0]) + side * len(free[0]) + free[side].index(axis)


def _reshaped(axis: int, before: tuple, after: tuple) -> int | None:
    """The axis of the same size with as much before it, if there is just one."""
    ahead = math.prod(before[:axis])
    fits = [
        k
        for k, size in enumerate(after)
        if size == before[axis] and math.prod(after[:k]) == ahead
    ]
    return fits[0] if len(fits) == 1 else None
