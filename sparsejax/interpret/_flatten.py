"""A program as one list of steps: calls, loops and branches opened, values by identity.

A value keeps its identity through calls, and where it is made is said by a key: the
numbers of the equations on the way to it, and which of the last one's results it is.
Keys, not variables: two calls of one `jit` share their inner jaxpr. `_replay` changes
values at keys.
"""

import itertools as it
from collections.abc import Sequence
from typing import Any, NamedTuple

from sparsejax.interpret import _loops
from sparsejax.interpret import _program as program_
from sparsejax.interpret import primitives as families
from sparsejax.interpret._flow import RULES, Flow, Frame, Step, Value
from sparsejax.interpret._program import Program


def flatten(program: Program, params: Sequence[Any]) -> Flow:
    """The steps of a program whose first inputs are the arrays among `params`.

    Calls are opened always, loops and branches where there is a product, a lookup or a
    name inside. A custom derivative rule ends with a step that hands its results on, so
    that what is outside of it can be told from what is inside.
    """
    count = sum(map(program_.is_array, params))
    closed = program.closed
    flow = _Flattening(Flow([], set()), {})
    inputs = [
        Value(var.aval.shape, var.aval.dtype, "data", key=(-1, i))
        for i, var in enumerate(closed.jaxpr.invars)
    ]
    for i, value in enumerate(inputs[:count]):
        value.kind, value.leaves = "param", ((i, ""),)
    around = _Around((), (), (), ())
    for value in flow.run(closed.jaxpr, inputs, around):
        value.is_result = True
    return flow.flow


class _Around(NamedTuple):
    key: tuple[int, ...]
    loops: tuple[Frame, ...]
    rules: tuple[Frame, ...]
    sources: tuple


class _Flattening(NamedTuple):
    flow: Flow
    opened: dict[Any, bool]  # by jaxpr: whether there is anything of interest inside

    def run(self, jaxpr, inputs: Sequence[Value], around: _Around) -> list[Value]:
        values = {var: _constant(var) for var in jaxpr.constvars}
        values.update(zip(jaxpr.invars, inputs, strict=True))

        def read(atom):
            return values[atom] if program_.is_variable(atom) else _constant(atom)

        for i, equation in enumerate(jaxpr.eqns):
            inside = around._replace(
                key=(*around.key, i),
                sources=(equation.source_info, *around.sources),
            )
            outs = self.equation(equation, [*map(read, equation.invars)], inside)
            values.update(zip(equation.outvars, outs, strict=True))
        return [*map(read, jaxpr.outvars)]

    def equation(self, equation, inputs: list[Value], here: _Around) -> list[Value]:
        kind = equation.primitive.name
        if kind in RULES:
            return self.rule(equation, inputs, here)
        if kind in families.CALLS:
            return self.call(equation, inputs, here)
        bodies = [
            body for body in program_.inner(equation) if self.is_of_interest(body)
        ]
        if kind == "scan" and bodies:
            self.scan(equation, inputs, here)
        elif bodies:
            self.closed(equation, bodies, inputs, here)
        step = self.step(kind, equation, inputs, here)
        return step.outputs

    def call(self, equation, inputs, here: _Around) -> list[Value]:
        body, _ = program_.body(equation)
        outs = self.run(body, inputs, here)
        for j, value in enumerate(outs):
            # What nothing inside reads is as well named outside: the call stays whole.
            ours = value.key is not None and value.key[: len(here.key)] == here.key
            if ours and not value.readers:
                value.key = (*here.key, j)
        return outs

    def rule(self, equation, inputs, here: _Around) -> list[Value]:
        frame = Frame(equation.primitive.name, 0, here.key)
        body, _ = program_.body(equation)
        deeper = here._replace(rules=(*here.rules, frame))
        outs = self.run(body, inputs, deeper)
        return self.step(frame.kind, equation, outs, here).outputs

    def scan(self, equation, inputs, here: _Around) -> None:
        scan = _loops.parts(equation)
        first, body = scan.num_consts, scan.jaxpr
        frame = Frame("scan", int(scan.length), here.key)
        within = []
        for j, (value, var) in enumerate(zip(inputs, body.invars, strict=True)):
            if j >= first:
                is_slice = j >= first + scan.num_carry and value.kind != "data"
                if is_slice and value.kind == "param":
                    self.flow.stacked.add(here.key)
                value = Value(
                    var.aval.shape,
                    var.aval.dtype,
                    value.kind if is_slice else "data",
                    value.leaves if is_slice else (),
                    (*here.key, -1, j),
                    (*here.loops, frame),
                    here.rules,
                )
            within.append(value)
        deeper = here._replace(loops=(*here.loops, frame))
        for value in self.run(body, within, deeper):
            value.is_result = True

    def closed(self, equation, bodies, inputs, here: _Around) -> None:
        """What is never replayed, a `while`, a `cond`: flattened to say what is in it.

        Of a loop the last operands are carried; a branch is given all but the index.
        """
        frame = Frame(equation.primitive.name, 0, here.key)
        loops = (*here.loops, frame)
        deeper = here._replace(loops=loops)
        for body in bodies:
            given = inputs[max(0, len(inputs) - len(body.invars)) :]
            fits = [v.shape for v in given] == [v.aval.shape for v in body.invars]
            count = len(body.outvars) if frame.kind == "while" else 0
            whole = len(given) - count if fits else 0
            within = given[:whole] + [
                Value(v.aval.shape, v.aval.dtype, "data", key=here.key, loops=loops)
                for v in body.invars[whole:]
            ]
            for value in self.run(body, within, deeper):
                value.is_result = True

    def step(self, kind, equation, inputs, here: _Around) -> Step:
        number = len(self.flow.steps)
        step = Step(kind, equation.params, inputs, [], here.loops, number, here.sources)
        value_kind, leaves = self.origin(step)
        step.outputs = [
            Value(
                var.aval.shape,
                var.aval.dtype,
                value_kind,
                leaves,
                (*here.key, j),
                here.loops,
                here.rules,
                step,
            )
            for j, var in enumerate(equation.outvars)
        ]
        self.flow.steps.append(step)
        for value in dict.fromkeys(inputs):
            value.readers.append(step)
        return step

    def origin(self, step: Step) -> tuple[str, tuple]:
        """The kind of a step's results, and the parameters in them."""
        kinds = {value.kind for value in step.inputs}
        if "data" in kinds:
            first = step.inputs[0]
            if step.loops and step.kind == "dynamic_slice" and first.kind == "param":
                self.flow.stacked.add(step.loops[-1].key)  # p[i] in a `fori_loop`
                return "param", first.leaves
            return "data", ()
        if "param" not in kinds:
            return "const", ()
        leaves = tuple(dict.fromkeys(it.chain(*(v.leaves for v in step.inputs))))
        return "param", _sliced(step, leaves)

    def is_of_interest(self, jaxpr) -> bool:
        if jaxpr not in self.opened:
            kinds = {equation.primitive.name for equation in jaxpr.eqns}
            bodies = (b for e in jaxpr.eqns for b in program_.inner(e))
            self.opened[jaxpr] = bool(
                kinds & {*families.PRODUCTS, "gather", "name"}
            ) or any(map(self.is_of_interest, bodies))
        return self.opened[jaxpr]


def _constant(atom) -> Value:
    return Value(atom.aval.shape, atom.aval.dtype, "const")


def _sliced(step: Step, leaves: tuple) -> tuple:
    """The parameters, one of them with the index at which its first axis is cut."""
    if step.kind != "slice" or len(leaves) != 1:
        return leaves
    start, limit = step.params["start_indices"], step.params["limit_indices"]
    shape, ((leaf, index),) = step.inputs[0].shape, leaves
    one = shape and shape[0] > 1 and limit[0] - start[0] == 1
    whole = all(b - a == n for a, b, n in zip(start[1:], limit[1:], shape[1:]))
    return ((leaf, f"{index}[{start[0]}]"),) if one and whole else leaves
