"""No gradient through what is taken away.

`h = name(log(z))` times a mask of 0 is no part of the result, yet its derivative is
0 * (1 / z), not a number where z is 0. So the steps that nothing but `h` is made of,
back to the last product, loop or call that names activations itself, are run once more:
each knows which of its entries reach what is kept, and has no derivative at the others
where that is not finite.
"""

import functools as ft
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from sparsejax.interpret import _program as program_
from sparsejax.interpret import primitives as families
from sparsejax.interpret._program import bind

# Steps whose derivative may be infinite or not a number.
_STEEP = families.STEEP | families.SCALINGS
# Their derivatives follow entries back. It is zero through a `stop_gradient`, and of
# several values that are put at one place it does not tell which is there.
_MOVES = families.MOVES - {"stop_gradient", "scatter"}
_JOINS = families.REDUCTIONS & (families.SUMS | families.MAXIMA)
_CLOSED = families.CALLS - families.PLAIN_CALLS  # they have derivatives of their own


def region(jaxpr, named, closed: frozenset[int]) -> list:
    """The equations that nothing but the activation of `named` is made of, in order.

    Args:
        jaxpr: where they are.
        named: its equation that names the activation.
        closed: ids of equations to stop at: those where values are changed.

    Returns:
        None of them if all their derivatives are finite anyway.
    """
    if not _is_real(named.outvars[0].aval):
        return []
    end = next(i for i, e in enumerate(jaxpr.eqns) if e is named)
    elsewhere = {*program_.variables(jaxpr.outvars)}
    for equation in jaxpr.eqns[end + 1 :]:
        elsewhere.update(program_.variables(equation.invars))
    inside, found = {*program_.variables(named.invars)}, []
    for equation in reversed(jaxpr.eqns[:end]):
        ours = not elsewhere.intersection(equation.outvars)
        wanted = inside.intersection(equation.outvars)
        if ours and wanted and id(equation) not in closed and _is_known(equation):
            found.append(equation)
            inside.update(program_.variables(equation.invars))
        else:
            elsewhere.update(program_.variables(equation.invars))
    return found[::-1] if any(map(_is_steep, found)) else []


def safe(steps: Sequence, named, read: Callable, mask: Any) -> jax.Array:
    """The activation, without derivatives that are not finite where `mask` is 0."""
    (last,) = named.invars
    known = {a: read(a) for step in steps for a in program_.variables(step.invars)}
    kept = jnp.broadcast_to(jnp.asarray(mask) != 0, last.aval.shape)
    marks = {last: kept.astype(jnp.float32)}
    touched = _touched(steps)
    _mark_back(steps, known, marks, touched)
    return _run(steps, known, marks, touched)[last]


def _touched(steps: Sequence, inputs: Iterable = ()) -> set:
    """The inputs, and what is made of them or by a step that is steep, or after it."""
    touched = {*inputs}
    for step in steps:
        if touched.intersection(program_.variables(step.invars)) or _is_steep(step):
            touched.update(step.outvars)
    return touched


def _run(
    steps: Sequence,
    values: dict,
    marks: dict | None = None,
    touched: Iterable | None = None,
) -> dict:
    values = dict(values)
    for step in steps:
        (out,) = step.outvars
        if touched is not None and out not in touched and out in values:
            continue  # nothing before it is steep: it is what it was
        arguments = [_at(values, atom) for atom in step.invars]
        mark = None if marks is None or not _is_steep(step) else marks.get(out)
        if step.primitive.name == "name":  # it is there already
            values[out] = arguments[0]
        elif mark is None:
            (values[out],) = bind(step, arguments)
        elif _is_elementwise(step):
            values[out] = _cut(step, mark, arguments)
        else:
            body, _ = program_.body(step)
            inner, within, touched_ = _within(step, mark, values)
            values[out] = _at(_run(body.eqns, inner, within, touched_), body.outvars[0])
    return values


def _mark_back(steps: Sequence, values: dict, marks: dict, touched: set) -> None:
    """Give real variables a mark: above 0 where they reach what is kept.

    Only those that are `touched`: no step makes use of the others' marks.
    """
    for step in reversed(steps):
        mark = marks.get(step.outvars[0])
        for var, new in () if mark is None else _feeds(step, mark, values, touched):
            marks[var] = jnp.maximum(marks[var], new) if var in marks else new


def _feeds(step, mark, values: dict, touched: set) -> Iterator[tuple[Any, jax.Array]]:
    """The real, touched operands of a step, and the marks its result gives them."""
    variables = dict.fromkeys(program_.variables(step.invars))
    real = [var for var in variables if var in touched and _is_real(var.aval)]
    if not real:
        return
    if _is_elementwise(step):
        yield from ((var, _gathered(mark, var.aval.shape)) for var in real)
    elif step.primitive.name in _JOINS:
        apart = jnp.expand_dims(mark, step.params["axes"])
        yield from ((var, jnp.broadcast_to(apart, var.aval.shape)) for var in real)
    elif step.primitive.name in _MOVES:

        def move(*operands):
            known = values | dict(zip(real, operands, strict=True))
            return bind(step, [_at(known, atom) for atom in step.invars])[0]

        start = [jnp.zeros_like(values[var]) for var in real]
        found = jax.vjp(move, *start)[1](mark.astype(step.outvars[0].aval.dtype))
        found = (new.astype(jnp.float32) for new in found)
        yield from zip(real, found, strict=True)
    else:
        body, _ = program_.body(step)
        _, marks, _ = _within(step, mark, values, real)
        for atom, var in zip(step.invars, body.invars, strict=True):
            if program_.is_variable(atom) and atom in real and var in marks:
                yield atom, marks[var]


def _within(
    step, mark, values: dict, operands: Sequence = ()
) -> tuple[dict, dict, set]:
    """Values and marks of a call's own variables, and those that are touched.

    Args:
        step: the call.
        mark: of its result.
        values: of the variables around it.
        operands: of the call whose marks are wanted.
    """
    body, _ = program_.body(step)
    given = [_at(values, atom) for atom in step.invars]
    inner = _run(body.eqns, dict(zip(body.invars, given, strict=True)))
    marks = {var: mark for var in program_.variables(body.outvars)}
    pairs = zip(step.invars, body.invars, strict=True)
    own = (
        var for atom, var in pairs if program_.is_variable(atom) and atom in operands
    )
    touched = _touched(body.eqns, own)
    _mark_back(body.eqns, inner, marks, touched)
    return inner, marks, touched


def _cut(step, mark, arguments: Sequence) -> jax.Array:
    """An elementwise step, its derivative 0 where the mark is and it is not finite."""
    places = [i for i, atom in enumerate(step.invars) if program_.is_variable(atom)]

    def spread(a):
        return jnp.broadcast_to(a, mark.shape) if _is_real(a) else a

    def apply(*operands):
        full = list(arguments)
        for i, operand in zip(places, operands, strict=True):
            full[i] = operand
        return bind(step, full)[0]

    @jax.custom_jvp
    def run(mark, *operands):
        return apply(*operands)

    @run.defjvp
    def derivative(primals, tangents):
        (mark, *operands), (_, *tangents) = primals, tangents
        out, back = jax.vjp(apply, *operands)
        slopes = back(jnp.ones_like(out))
        passes = [
            (mark > 0) | jnp.isfinite(slope) if _is_real(operand) else True
            for slope, operand in zip(slopes, operands, strict=True)
        ]
        clean = [
            jnp.where(p, tangent, 0) if _is_real(operand) else tangent
            for p, tangent, operand in zip(passes, tangents, operands, strict=True)
        ]
        out, change = jax.jvp(apply, tuple(operands), tuple(clean))
        return out, jnp.where(ft.reduce(operator.and_, passes, True), change, 0)

    return run(mark, *(spread(arguments[i]) for i in places))


def _gathered(mark, shape: tuple) -> jax.Array:
    """The marks of an operand that was spread over the result."""
    if shape == mark.shape:
        return mark
    over = [i for i, size in enumerate(shape) if size != mark.shape[i]]
    return jnp.max(mark, axis=over, keepdims=True) if shape else jnp.max(mark)


def _at(values: dict, atom) -> Any:
    return values[atom] if program_.is_variable(atom) else atom.val


def _is_real(array) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.inexact))


def _is_known(equation) -> bool:
    """Whether the marks of one result can be followed to the operands."""
    kind = equation.primitive.name
    if len(equation.outvars) != 1:
        return False
    if kind in _MOVES | _JOINS or _is_elementwise(equation):
        return True
    if kind not in families.PLAIN_CALLS:
        return False
    body, consts = program_.body(equation)
    inner = body.eqns
    return not consts and all(
        _is_known(e) and e.primitive.name != "name" for e in inner
    )


def _is_elementwise(equation) -> bool:
    """Whether each entry of the one result is made of one entry of each operand."""
    shape = equation.outvars[0].aval.shape
    operands = [atom.aval.shape for atom in equation.invars]
    if equation.primitive.name not in _CLOSED:
        known = equation.primitive.name in families.ELEMENTWISE
        return known and all(_spreads(operand, shape) for operand in operands)
    body, consts = program_.body(equation)
    alone = not consts and all(operand == shape for operand in operands)
    return alone and all(map(_maps, body.eqns))


def _maps(equation) -> bool:
    """The same inside of a call, whose operands are as they are."""
    if equation.primitive.name in families.PLAIN_CALLS:
        return all(map(_maps, program_.body(equation)[0].eqns))
    spread = equation.primitive.name == "broadcast_in_dim"
    alone = spread and not equation.invars[0].aval.shape
    return len(equation.outvars) == 1 and (alone or _is_elementwise(equation))


def _spreads(operand: tuple, shape: tuple) -> bool:
    """Whether an operand is of that shape, or of size one where it is not."""
    sizes = zip(operand, shape, strict=True) if operand else ()
    return len(operand) in (0, len(shape)) and all(a in (1, b) for a, b in sizes)


def _is_steep(equation) -> bool:
    """Whether a derivative of a step may be infinite, or not a number."""
    if equation.primitive.name in families.CALLS:
        jaxpr, _ = program_.body(equation)
        return any(map(_is_steep, jaxpr.eqns))
    first, last = map(program_.is_variable, (equation.invars[0], equation.invars[-1]))
    scales = {"mul": first != last, "div": first and not last}  # by a written number
    if scales.get(equation.primitive.name):
        return False
    return equation.primitive.name in _STEEP
