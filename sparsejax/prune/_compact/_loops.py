"""A `scan`: what its body says about one step holds for all of them."""

from collections.abc import Sequence
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import interpret
from sparsejax.prune._compact import _constants as constants
from sparsejax.prune._compact._constants import Known
from sparsejax.prune._compact._slices import FIXED
from sparsejax.prune._compact._values import Value


def body(step) -> interpret.Program:
    """The body of a loop."""
    inner = step.params["jaxpr"]
    closed = SimpleNamespace(
        jaxpr=getattr(inner, "jaxpr", inner), consts=getattr(inner, "consts", ())
    )
    return interpret.Program(closed, [], jax.tree.structure(0))


def split(program, operands: Sequence[int], results: Sequence[int]) -> tuple[int, int]:
    """How many constants and how many carried values a loop has.

    Args:
        program: of its body.
        operands: numbers of axes that its operands have outside; what the steps run
            over has one more than inside.
        results: those of its results.
    """
    jaxpr = program.closed.jaxpr
    whole, carried = (
        sum(
            len(var.aval.shape) == rank for var, rank in zip(inside, ranks, strict=True)
        )
        for inside, ranks in ((jaxpr.invars, operands), (jaxpr.outvars, results))
    )
    return whole - carried, carried


def coupled(coupling, step, operands: list[Value]) -> list[Value]:
    """The results of a loop, and what holds inside of it."""
    program = body(step)
    like = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in operands]
    outs = jax.eval_shape(lambda *arrays: step.run(*arrays), *like)
    first, carried = split(program, *([len(a.shape) for a in b] for b in (like, outs)))
    fixed, carry, over = (
        operands[:first],
        operands[first : first + carried],
        operands[first + carried :],
    )
    for value in over:
        coupling.pin(value, f"the loop at {step.place} runs over it", [0])
    slices = [Value(value.ids[1:], _each(value.known), value.dtype) for value in over]
    start = carry
    while True:
        coupling.records = []
        outs = interpret.walk(program, [*fixed, *carry, *slices], coupling.rule)
        outs = [coupling.value(out) for out in outs]
        wider = [
            value._replace(known=_either(value.known, out.known))
            for value, out in zip(carry, outs[:carried], strict=True)
        ]
        if all(map(_same, carry, wider)):
            break
        carry = wider
    results = []
    for value, out in zip(start, outs[:carried], strict=True):
        ids = coupling.together(step, [value, out])
        results.append(Value(tuple(ids), out.known, value.dtype))
    for value, new in zip(carry, results, strict=True):
        coupling.together(step, [value, new])
    length = int(step.params["length"])
    for out in outs[carried:]:
        known = Known(*(array[None] for array in out.known))
        ids = (np.full(length, FIXED), *out.ids)
        results.append(Value(ids, known, out.dtype))
    return results


def _each(known: Known) -> Known:
    """What is the same in every step."""
    same = constants.joined(known, [0])
    return Known(*(array[0] for array in same))


def _either(a: Known, b: Known) -> Known:
    """What two have in common."""
    varies = a.varies | b.varies | (a.value != b.value)
    value, varies = np.broadcast_arrays(a.value, varies)
    return constants.of_parts(value, varies)


def _same(a: Value, b: Value) -> bool:
    varies = [value.known.varies for value in (a, b)]
    return bool((varies[0] == varies[1]).all())


def run(step, arrays: Sequence, results: Sequence[int], inside) -> list:
    """A loop on other arrays, where `inside(program, arrays)` runs its body."""
    program = body(step)
    ranks = [jnp.ndim(array) for array in arrays]
    first, carried = split(program, ranks, results)
    fixed, carry = arrays[:first], arrays[first : first + carried]

    def once(carry, over):
        outs = inside(program, [*fixed, *carry, *over])
        return tuple(outs[:carried]), tuple(outs[carried:])

    params = step.params
    after, outs = jax.lax.scan(
        once,
        tuple(carry),
        tuple(arrays[first + carried :]),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*after, *outs]
