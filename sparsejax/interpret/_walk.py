"""Run a function on values of another kind."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sparsejax.interpret import _names
from sparsejax.interpret import _program as program_
from sparsejax.interpret._program import Program, bind
from sparsejax.interpret.primitives import CALLS


class Step(NamedTuple):
    """One primitive of a function, as `walk` shows it to a rule.

    Attributes:
        name: of the primitive.
        params: its parameters; the name of an activation as in `sites`.
        label: the name of what is called, where it is a call; "" otherwise.
        shape, dtype: of its first result, if it has one.
        place: where in the user's code it comes from, for messages.
        scope: names of the modules that it is part of, "CNN/conv_0"; "" if none.
        run: applies the primitive to arrays, with other parameters if some are given:
            `run(*arguments, **params) -> list`.
        enter: walks what is called, with any rule: `enter(arguments, rule) -> list`;
            None where there is nothing inside, or a loop or a branch.
        inner: names of all the primitives inside.
        consts: arrays that the inside holds.
        shared: which results, and, of a call, which arguments inside it, are read more
            than once.
    """

    name: str
    params: dict[str, Any]
    label: str
    shape: tuple[int, ...]
    dtype: Any
    place: str
    scope: str
    run: Callable[..., list]
    enter: Callable[[Sequence, Callable], list] | None
    inner: frozenset[str]
    consts: tuple
    shared: tuple[list[bool], list[bool]]


def walk(
    program: Program, inputs: Sequence, rule: Callable[[Step, list], list]
) -> list:
    """Run a program on values of another kind: intervals, symbols, relevances.

    Args:
        program: from `trace`.
        inputs: the values of its inputs.
        rule: `(step, arguments) -> results` of one primitive. Constants of the program
            are arrays among the arguments; what else they are, the rule's own results
            say. Calls come to the rule too: it can `enter` them.

    Returns:
        The values of the flat outputs.
    """
    closed = program.closed
    around = _Around("an unknown place", "", _names.numbered(program))
    return _walk(closed.jaxpr, closed.consts, inputs, rule, around)


class _Around(NamedTuple):
    """What a jaxpr takes from what is around it: place, scope, names of its sites."""

    place: str
    scope: str
    labels: Sequence[str]


def _walk(jaxpr, consts, inputs, rule, around: _Around) -> list:
    values, read = program_.reader(jaxpr, consts, inputs)
    uses = _uses(jaxpr)
    for equation, labels in _names.labeled(jaxpr, around.labels):
        step = _step(equation, around._replace(labels=labels), uses)
        outs = rule(step, [read(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _uses(jaxpr) -> Counter:
    """How often every variable is read."""
    atoms = [*(a for equation in jaxpr.eqns for a in equation.invars), *jaxpr.outvars]
    return Counter(program_.variables(atoms))


def _step(equation, around: _Around, uses: Counter) -> Step:
    kind, params = equation.primitive.name, equation.params
    place = program_.place(equation.source_info) or around.place
    names = (around.scope, str(equation.source_info.name_stack))
    scope = "/".join(name for name in names if name)
    enter: Callable | None = None
    inner, consts, inside = frozenset(), (), []
    if kind in CALLS:
        jaxpr, consts = program_.body(equation)
        inner = frozenset(_primitives(jaxpr))
        within = _uses(jaxpr)
        inside = [within[var] > 1 for var in jaxpr.invars]
        within_this = _Around(place, scope, around.labels)

        def walk(values, rule):
            return _walk(jaxpr, consts, values, rule, within_this)

        enter = walk

    if kind == "name":
        params = {**params, "name": around.labels[0]}
    out = equation.outvars[0].aval if equation.outvars else None
    return Step(
        kind,
        params,
        str(params.get("name", "")) if enter else "",
        tuple(getattr(out, "shape", ())),
        getattr(out, "dtype", None),
        place,
        scope,
        lambda *arguments, **params: bind(equation, arguments, **params),
        enter,
        inner,
        tuple(consts),
        ([uses[var] > 1 for var in equation.outvars], inside),
    )


def unrolling(step: Step) -> str:
    """What to do about a loop that an analysis does not pass; "" for other steps."""
    if step.name != "scan":
        return ""
    return (
        f"pass sj.unrolled(fn): its {step.params['length']} steps are then written out"
    )


def _primitives(jaxpr) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for body in program_.inner(equation):
            yield from _primitives(body)
