"""Run a program again with values changed at keys (`_flatten`)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from sparsejax.interpret import _loops
from sparsejax.interpret import _program as program_
from sparsejax.interpret._program import Program, bind, where_it_was

_Key = tuple[int, ...]


def replay(program: Program, changes: Mapping[_Key, Callable[[Any], Any]]) -> Any:
    """The output of a program where the value at every key is `change(value)`.

    A change keeps shape and dtype. Calls and scans are opened where there is a key
    inside: a scan is made again by `jax.lax.scan`, what was rematerialised is so again,
    and a custom derivative rule gives way to the derivative of what is inside it.

    Args:
        program: from `trace`.
        changes: a function for each key, which `flatten` gives to values.

    Returns:
        The function's output.
    """
    opened = {key[:n] for key in changes for n in range(len(key) - 1)}
    closed = program.closed
    outs = _run(closed.jaxpr, closed.consts, program.inputs, (), changes, opened)
    return jax.tree.unflatten(program.out_tree, outs)


def _run(jaxpr, consts, inputs, key: _Key, changes, opened) -> list:
    inputs = _changed(inputs, (*key, -1), changes)
    values, read = program_.reader(jaxpr, consts, inputs)
    for i, equation in enumerate(jaxpr.eqns):
        here = (*key, i)
        arguments = [read(atom) for atom in equation.invars]
        if here in opened:
            with where_it_was(equation):
                outs = _opened(equation, arguments, here, changes, opened)
        else:
            outs = bind(equation, arguments)
        if any((*here, j) in changes for j in range(len(outs))):
            with where_it_was(equation):
                outs = _changed(outs, here, changes)
        values.update(zip(equation.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _changed(values: Sequence, key: _Key, changes: Mapping) -> list:
    return [
        changes[(*key, j)](value) if (*key, j) in changes else value
        for j, value in enumerate(values)
    ]


def _opened(equation, arguments: Sequence, key: _Key, changes, opened) -> Sequence:
    body, consts = program_.body(equation)

    def run(*arguments):
        return _run(body, consts, arguments, key, changes, opened)

    if equation.primitive.name == "scan":
        return _loops.again(equation, run, arguments)
    return program_.rematerialized(equation, run)(*arguments)
