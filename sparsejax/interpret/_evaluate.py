"""Run a function with some of its named activations read or changed."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from sparsejax.interpret import _guard, _loops, _names
from sparsejax.interpret import _program as program_
from sparsejax.interpret._program import Program, bind, where_it_was
from sparsejax.interpret.primitives import CALLS


def evaluate(
    program: Program,
    operands: Mapping[str, Any],
    visit: Callable[[str, Any, Any], tuple[Any, Any]],
    removed: Callable[[str, Any], Any] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Run a program, calling `visit` at some of its named activations.

    Args:
        program: from `trace`.
        operands: for each name to stop at a tree of arrays, or None, that `visit` is
            given there. In scans they have one leading axis for each, of its length
            (a step takes its own) or of size one (all steps take the same).
        visit: `(name, value, operand) -> (value, output)`; the program goes on with the
            returned value, still under its name.
        removed: `(name, operand) -> mask`, 0 where `visit` takes an entry away, or
            None. Steps that make such an entry alone have no derivative there if it is
            not finite: what is not used has no gradient, also where a product would be
            0 times infinity.

    Returns:
        The function's output, and the output of `visit` under each name, in scans
        stacked along one leading axis for each.
    """
    closed, labels = program.closed, _names.numbered(program)
    how = _How(visit, removed)
    outs, outputs = _evaluate(
        closed.jaxpr, closed.consts, program.inputs, labels, how, operands
    )
    return jax.tree.unflatten(program.out_tree, outs), outputs


class _How(NamedTuple):
    visit: Callable
    removed: Callable | None


def _evaluate(jaxpr, consts, inputs, labels, how: _How, operands: Mapping[str, Any]):
    values, read = program_.reader(jaxpr, consts, inputs)
    outputs: dict[str, Any] = {}
    equations = list(_names.labeled(jaxpr, labels))
    changed = frozenset(id(e) for e, inside in equations if {*inside} & {*operands})
    for equation, inside in equations:
        kind = equation.primitive.name
        arguments = [read(atom) for atom in equation.invars]
        within = {name: operands[name] for name in inside if name in operands}
        if kind == "name" and within:
            (name, operand), (value,) = *within.items(), arguments
            mask = None if how.removed is None else how.removed(name, operand)
            steps = [] if mask is None else _guard.region(jaxpr, equation, changed)
            if steps:
                value = _guard.safe(steps, equation, read, mask)
            with where_it_was(equation):
                value, outputs[name] = how.visit(name, value, operand)
            outs = bind(equation, [value])
        elif within and kind in (*CALLS, "scan"):
            run = _scan if kind == "scan" else _call
            outs, outputs_within = run(equation, arguments, inside, how, within)
            outputs |= outputs_within
        else:
            outs = bind(equation, arguments)
        values.update(zip(equation.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars], outputs


def _call(equation, arguments, labels, how: _How, operands):
    jaxpr, consts = program_.body(equation)

    def run(operands, *values):
        return _evaluate(jaxpr, consts, values, labels, how, operands)

    with where_it_was(equation):
        return program_.rematerialized(equation, run)(operands, *arguments)


def _scan(equation, arguments, labels, how: _How, operands):
    """The scan rebuilt: operands of its length are more xs, outputs are more ys."""
    scan, params = _loops.parts(equation), equation.params
    constants, carry, xs = scan.split(arguments)
    leaves, structure = jax.tree.flatten(operands)
    own = [leaf.shape[0] == scan.length for leaf in leaves]

    def step(carry, x):
        x, stacked = x
        stacked = iter(stacked)
        here = [
            next(stacked) if is_own else leaf[0]
            for leaf, is_own in zip(leaves, own, strict=True)
        ]
        outs, outputs = _evaluate(
            scan.jaxpr,
            scan.consts,
            [*constants, *carry, *x],
            labels,
            how,
            jax.tree.unflatten(structure, here),
        )
        return outs[: scan.num_carry], (outs[scan.num_carry :], outputs)

    stacked = [leaf for leaf, is_own in zip(leaves, own, strict=True) if is_own]
    with where_it_was(equation):
        carry, (ys, outputs) = jax.lax.scan(
            step,
            carry,
            (xs, stacked),
            length=scan.length,
            reverse=params["reverse"],
            unroll=params["unroll"],
        )
    return [*carry, *ys], outputs
