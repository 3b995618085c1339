"""Scans written out: an ordinary straight line of steps."""

from typing import Any

import jax
import jax.numpy as jnp

from sparsejax.interpret import _loops as loops
from sparsejax.interpret import _names
from sparsejax.interpret import _program as program_
from sparsejax.interpret._program import Program, bind, where_it_was
from sparsejax.interpret.primitives import CALLS


def count(jaxpr) -> tuple[int, list[tuple[int, str]]]:
    """How many steps all scans have together, and each with its place."""
    total, scans = 0, []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            length, body = equation.params["length"], loops.parts(equation).jaxpr
            within, deeper = count(body)
            total += length * max(within, 1)
            scans += [(length, program_.place(equation.source_info)), *deeper]
        elif equation.primitive.name in CALLS:
            within, deeper = count(program_.body(equation)[0])
            total, scans = total + within, scans + deeper
    return total, scans


def unroll(program: Program, max_steps: int) -> Any:
    """The output of a program whose scans are written out.

    Args:
        program: from `trace`.
        max_steps: the largest number of steps of all scans together.

    Returns:
        The function's output. What is named "h" in a scan is named "h[0]", "h[1]", ...,
        in the order of what the scan runs over; in a scan in a scan "h[0][1]".

    Raises:
        ValueError: for more steps.
    """
    total, scans = count(program.closed.jaxpr)
    if total > max_steps:
        length, place = max(scans)
        raise ValueError(
            f"unrolled: {length} steps of a scan at {place or 'an unknown place'}, "
            f"{total} in all; raise max_steps, which is {max_steps}, or leave the loop "
            "as it is"
        )
    closed, labels = program.closed, _names.numbered(program)
    if not total:
        labels = _names.written(closed.jaxpr)
    outs = _written_out(closed.jaxpr, closed.consts, program.inputs, labels, "")
    return jax.tree.unflatten(program.out_tree, outs)


def _written_out(jaxpr, consts, inputs, labels, at: str) -> list:
    values, read = program_.reader(jaxpr, consts, inputs)
    for equation, inside in _names.labeled(jaxpr, labels):
        arguments = [read(atom) for atom in equation.invars]
        kind = equation.primitive.name
        if kind == "name":
            outs = bind(equation, arguments, name=inside[0] + at)
        elif kind == "scan" and equation.params["length"]:
            outs = _steps(equation, arguments, inside, at)
        elif kind in CALLS and _changes(equation, inside, at):
            outs = _called(equation, arguments, inside, at)
        else:
            outs = bind(equation, arguments)
        values.update(zip(equation.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _changes(equation, labels, at: str) -> bool:
    """Whether a call has a scan, or names that are other ones now."""
    body, _ = program_.body(equation)
    renamed = [label + at for label in labels] != _names.written(body)
    return renamed or count(body)[0] > 0


def _called(equation, arguments, labels, at: str) -> list:
    body, consts = program_.body(equation)

    def run(*values):
        return _written_out(body, consts, values, labels, at)

    with where_it_was(equation):
        return program_.rematerialized(equation, run)(*arguments)


def _steps(equation, arguments, labels, at: str) -> list:
    scan = loops.parts(equation)
    constants, carry, xs = scan.split(arguments)
    order = range(scan.length)[:: -1 if equation.params["reverse"] else 1]
    ys: list = [None] * scan.length
    with where_it_was(equation):
        for i in order:
            x = [jax.lax.index_in_dim(x, i, keepdims=False) for x in xs]
            inputs = [*constants, *carry, *x]
            outs = _written_out(scan.jaxpr, scan.consts, inputs, labels, f"{at}[{i}]")
            carry, ys[i] = outs[: scan.num_carry], outs[scan.num_carry :]
        return [*carry, *map(jnp.stack, zip(*ys, strict=True))]
