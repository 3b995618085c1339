"""Loops with a counted number of steps (`scan`), as `lax.fori_loop` and `lax.map` are.

What a scan is made of is counted by shapes: constants and carry are in the body as they
are outside, what it runs over (xs) and what it collects (ys) has one axis more outside.
So nothing depends on how a version of JAX writes the parameters of a scan.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from sparsejax.interpret import _names
from sparsejax.interpret import _program as program_
from sparsejax.interpret._program import Program, is_array
from sparsejax.interpret.primitives import CALLS


class Scan(NamedTuple):
    """The parts of a scan.

    Attributes:
        jaxpr: body, from (constants, carry, x) to (carry, y).
        consts: arrays that the body holds.
        num_consts: number of its constants.
        num_carry: number of values carried from step to step.
        length: number of steps.
    """

    jaxpr: Any
    consts: Sequence
    num_consts: int
    num_carry: int
    length: int

    def split(self, arguments: Sequence) -> tuple[list, list, list]:
        """Constants, first carry and xs."""
        first, last = self.num_consts, self.num_consts + self.num_carry
        arguments = list(arguments)
        return arguments[:first], arguments[first:last], arguments[last:]


def parts(equation) -> Scan:
    """The parts of a scan's equation."""
    jaxpr, consts = program_.body(equation)
    carried = _whole(equation.outvars, jaxpr.outvars)
    constants = _whole(equation.invars, jaxpr.invars) - carried
    return Scan(jaxpr, consts, constants, carried, equation.params["length"])


def again(equation, run: Callable, arguments: Sequence) -> list:
    """A scan made again, `run(*constants, *carry, *slices)` for its body."""
    scan, params = parts(equation), equation.params
    whole, start, slices = scan.split(arguments)

    def step(carry, slices):
        outs = run(*whole, *carry, *slices)
        return outs[: scan.num_carry], outs[scan.num_carry :]

    last, stacked = jax.lax.scan(
        step,
        start,
        slices,
        length=scan.length,
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*last, *stacked]


def _whole(outside: Sequence, inside: Sequence) -> int:
    """The number of variables that the body sees whole."""
    pairs = zip(outside, inside, strict=True)
    return sum(a.aval.shape == b.aval.shape for a, b in pairs)


def layered(program: Program, params: Sequence[Any]) -> dict[str, tuple[bool, ...]]:
    """Whether the loops around an activation run over layers, or over something else.

    Args:
        program: from `trace`.
        params: leaves of the parameters, the program's first inputs.

    Returns:
        For each name of `sites` one answer for each loop around it: True where every
        step has parameters of its own, slices of a stack of them, as the blocks of a
        transformer do; False where all share theirs, as in a loop over time.
    """
    jaxpr, count = program.closed.jaxpr, sum(map(is_array, params))
    inputs = [_PARAM] * count + [_DATA] * (len(jaxpr.invars) - count)
    answers = _follow(jaxpr, inputs, 0).names
    return dict(zip(_names.numbered(program), answers, strict=True))


# What a value is made of: parameters, data, and the loops with whose steps it changes,
# numbered from the outermost. Constants are made of nothing.
_Tags = frozenset[str | int]
_PARAM: _Tags = frozenset({"param"})
_DATA: _Tags = frozenset({"data"})


class _Followed(NamedTuple):
    """What is known of a jaxpr: results, loops that slice parameters, and the names."""

    outs: list[_Tags]
    slicing: set[int]
    names: list[tuple[bool, ...]]


def _follow(jaxpr, inputs: Sequence[_Tags], depth: int) -> _Followed:
    tags: dict[Any, _Tags] = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom) -> _Tags:
        known = program_.is_variable(atom)
        return tags.get(atom, frozenset()) if known else frozenset()

    result = _Followed([], set(), [])
    for equation in jaxpr.eqns:
        kind, operands = equation.primitive.name, [*map(read, equation.invars)]
        joined = frozenset[str | int]().union(*operands)
        outs = [joined] * len(equation.outvars)
        if kind == "name":
            result.names.append(())
        if kind in ("dynamic_slice", "gather") and _is_param(joined):
            index = frozenset[str | int]().union(*operands[1:])
            result.slicing.update(i for i in index if isinstance(i, int))
        for body in program_.inner(equation):
            if kind == "scan":
                inside = _follow_scan(equation, operands, depth)
                outs = inside.outs
            elif kind in CALLS and len(operands) == len(body.invars):
                inside = _follow(body, operands, depth)
                outs = inside.outs
            else:
                inside = _follow(body, [joined] * len(body.invars), depth)
            result.names.extend(inside.names)
            result.slicing.update(inside.slicing)
        tags.update(zip(equation.outvars, outs, strict=True))
    result.outs.extend(map(read, jaxpr.outvars))
    return result


def _follow_scan(equation, operands: Sequence[_Tags], depth: int) -> _Followed:
    scan = parts(equation)
    constants, carry, xs = scan.split(operands)
    x = [tags | {depth} for tags in xs]
    carry, before = [tags | {depth} for tags in carry], None
    inside = _Followed([], set(), [])
    while carry != before:  # what a step returns is what the next one is given
        inside = _follow(scan.jaxpr, [*constants, *carry, *x], depth + 1)
        before, carry = carry, [a | b for a, b in zip(carry, inside.outs)]
    here = depth in inside.slicing or any(map(_is_param, xs))
    outs = [tags - {depth} for tags in [*carry, *inside.outs[scan.num_carry :]]]
    names = [(here, *deeper) for deeper in inside.names]
    return _Followed(outs, inside.slicing - {depth}, names)


def _is_param(tags: _Tags) -> bool:
    return "param" in tags and "data" not in tags
