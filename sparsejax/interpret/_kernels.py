"""Which parameters of a function are kernels."""

import itertools as it
from collections.abc import Sequence
from typing import Any

from jax.extend import core as jex

from sparsejax.interpret import _loops
from sparsejax.interpret._program import Program, inner, is_array
from sparsejax.interpret.primitives import CALLS, PRODUCTS


def kernels(program: Program, params: Sequence[Any]) -> list[bool]:
    """Which leaves of the parameters, the program's first inputs, are kernels.

    A kernel is an operand of a dot product or a convolution, directly or after
    operations on parameters and constants alone (reshapes, scalings, sums of
    parameters). Where several parameters are combined first, as in `kernel * scale`,
    those with at least two axes count.
    """
    jaxpr = program.closed.jaxpr
    shapes = [var.aval.shape for var in jaxpr.invars]
    count = sum(map(is_array, params))
    origins = [frozenset([i]) if i < count else None for i in range(len(shapes))]
    groups, _ = _products(jaxpr, origins)

    def whole(group, i):
        return len(group) == 1 or len(shapes[i]) >= 2

    found = {i for group in groups for i in group if shapes[i] and whole(group, i)}
    index = it.count()
    return [is_array(leaf) and next(index) in found for leaf in params]


_Origin = frozenset[int] | None


def _products(
    jaxpr, origins: Sequence[_Origin]
) -> tuple[list[frozenset[int]], list[_Origin]]:
    """Groups of inputs that meet in an operand of a product.

    An origin is the set of parameters that a variable is made of, `None` once data is
    mixed in. Given those of the inputs, returns the groups and those of the outputs.
    """
    groups: list[frozenset[int]] = []
    made_of: dict[Any, _Origin] = dict.fromkeys(jaxpr.constvars, frozenset())
    made_of.update(zip(jaxpr.invars, origins, strict=True))

    def read(atom):
        return frozenset() if isinstance(atom, jex.Literal) else made_of[atom]

    for equation in jaxpr.eqns:
        kind = equation.primitive.name
        parts = [read(atom) for atom in equation.invars]
        outs = [_union(parts)] * len(equation.outvars)
        if kind in PRODUCTS:
            groups += [part for part in parts if part]
        for body in inner(equation):
            # cond: (index, *operands); while: (*constants of the test, *the body's)
            into = parts[len(parts) - len(body.invars) :]
            if len(into) != len(body.invars):
                continue
            if kind == "scan":  # what a step returns is what the next one is given
                scan = _loops.parts(equation)
                _, after = _products(body, into)
                for i in range(scan.num_carry):
                    at = scan.num_consts + i
                    into[at] = _union([into[at], after[i]])
            found, after = _products(body, into)
            groups += found
            if kind in CALLS:
                outs = after
        made_of.update(zip(equation.outvars, outs, strict=True))
    return groups, [read(atom) for atom in jaxpr.outvars]


def _union(parts: Sequence[_Origin]) -> _Origin:
    known = [part for part in parts if part is not None]
    return frozenset().union(*known) if len(known) == len(parts) else None
