"""No gradient through what is taken away.

`h = name(log(z))` times a mask of 0 is no part of the result, yet its derivative is
0 * (1 / z), not a number where z is 0. The steps that make each entry of `h` alone are
run as one function whose derivative at a removed entry is 0 if it is not finite.
"""

import functools as ft
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sparsejax.interpret import _program as program_
from sparsejax.interpret._program import CALLS, bind

# Steps from entry to entry; the first have derivatives that are always finite.
_BOUNDED = frozenset(
    "abs add add_any and atan asinh broadcast_in_dim ceil clamp convert_element_type "
    "copy cos eq erf erfc floor ge gt is_finite le logistic lt max min ne neg not or "
    "reduce_precision round select_n sign sin sub tanh xor".split()
)
_ELEMENTWISE = _BOUNDED | frozenset(
    "acos acosh asin atan2 atanh cbrt cosh digamma div erf_inv exp exp2 expm1 "
    "integer_pow lgamma log log1p mul pow rem rsqrt sinh sqrt square tan".split()
)


class Stretch(NamedTuple):
    """Elementwise steps that make an activation, and what they read from before."""

    steps: Sequence[Any]
    edges: Sequence[Any]


def stretch(jaxpr, named) -> Stretch | None:
    """The steps that nothing but the activation of the equation `named` is made of.

    None if their derivatives are finite anyway.
    """
    aval = named.outvars[0].aval
    if not _is_real(aval):
        return None
    before = jaxpr.eqns[: next(i for i, e in enumerate(jaxpr.eqns) if e is named)]
    elsewhere = {*program_.variables(jaxpr.outvars)}
    for equation in jaxpr.eqns[len(before) + 1 :]:
        elsewhere.update(program_.variables(equation.invars))
    inside, steps = {*program_.variables(named.invars)}, []
    for equation in reversed(before):
        ours = not elsewhere.intersection(equation.outvars)
        wanted = inside.intersection(equation.outvars)
        if ours and wanted and _is_elementwise(equation, aval.shape):
            steps.append(equation)
            inside.update(program_.variables(equation.invars))
        else:
            elsewhere.update(program_.variables(equation.invars))
    if all(_BOUNDED.issuperset(_kinds(step)) for step in steps):
        return None
    made = {out for step in steps for out in step.outvars}
    read = (a for step in steps for a in program_.variables(step.invars))
    edges = [a for a in dict.fromkeys(read) if a not in made]
    return Stretch(steps[::-1], edges) if edges else None


def safe(found: Stretch, named, read: Callable, mask: Any) -> jax.Array:
    """The activation, with no derivative where `mask` is 0 and it is not finite."""

    def steps(*edges):
        values = dict(zip(found.edges, edges, strict=True))
        at = lambda a: values[a] if program_.is_variable(a) else a.val
        for step in found.steps:
            outs = bind(step, [at(a) for a in step.invars])
            values.update(zip(step.outvars, outs, strict=True))
        return at(named.invars[0])

    @jax.custom_jvp
    def run(mask, *edges):
        return steps(*edges)

    @run.defjvp
    def derivative(primals, tangents):
        (mask, *edges), (_, *tangents) = primals, tangents
        out, back = jax.vjp(steps, *edges)
        slopes = back(jnp.ones_like(out))
        passes = [
            (mask != 0) | jnp.isfinite(slope) if _is_real(edge) else True
            for slope, edge in zip(slopes, edges, strict=True)
        ]
        clean = [
            jnp.where(p, tangent, 0) if _is_real(edge) else tangent
            for p, tangent, edge in zip(passes, tangents, edges, strict=True)
        ]
        out, change = jax.jvp(steps, tuple(edges), tuple(clean))
        return out, jnp.where(ft.reduce(operator.and_, passes), change, 0)

    return run(jnp.asarray(mask), *map(read, found.edges))


def _is_real(array) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.inexact))


def _is_elementwise(equation, shape) -> bool:
    """Whether each entry of the one result is made of the operands' same entries."""
    fits = lambda a: (
        a.aval.shape == shape or not (program_.is_variable(a) and _is_real(a.aval))
    )
    return all(map(fits, equation.invars)) and _maps(equation, shape)


def _maps(equation, shape) -> bool:
    """Whether an equation goes from entries, or numbers that all share, to entries."""
    kind = equation.primitive.name
    outs = [v.aval.shape for v in equation.outvars]
    operands = [a.aval.shape for a in equation.invars]
    if len(outs) != 1 or not {*outs, *operands} <= {shape, ()}:
        return False
    if kind in CALLS:
        jaxpr, consts = program_.body(equation)
        return not consts and all(_maps(e, shape) for e in jaxpr.eqns)
    return kind in _ELEMENTWISE


def _kinds(equation) -> set[str]:
    """The primitives that a step comes to."""
    if equation.primitive.name not in CALLS:
        return {equation.primitive.name}
    jaxpr, _ = program_.body(equation)
    return set().union(*(_kinds(e) for e in jaxpr.eqns))
