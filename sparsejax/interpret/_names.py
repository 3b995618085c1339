"""Named activations: where they are, how they are called, how they are changed.

Of several places with one name the second is "name#2", the third "name#3", in the order
of the program; everything that speaks of activations calls them so.
"""

import itertools as it
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from sparsejax.interpret import _axes, _guard
from sparsejax.interpret import _program as program_
from sparsejax.interpret._program import (
    Program,
    bind,
    is_array,
    trace,
    where_it_was,
)
from sparsejax.interpret.primitives import CALLS, REMATS


class Site(NamedTuple):
    """One place where a function names an activation.

    Attributes:
        name: the name; "name#2" for the second of that name, and so on.
        shape, dtype: of the activation.
        inside: the loop or branch around it, "scan", "while" or "cond", where it is
            many values; "gradient" where fn differentiates it; "" for none.
        features: the axis of a convolution's output channels, where it can be followed
            to here; None where it can't.
        place: where in the user's code, for messages.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any
    inside: str
    features: int | None
    place: str


def sites(program: Program) -> list[Site]:
    """Every activation named by `jax.ad_checkpoint.checkpoint_name`, in order."""
    found = list(_sites(program.closed.jaxpr))
    names = _numbers([equation.params["name"] for equation, *_ in found])
    axes = _axes.of_names(program.closed.jaxpr)
    return [
        Site(name, aval.shape, aval.dtype, inside, axis, _place(sources))
        for name, axis, (equation, inside, sources) in zip(
            names, axes, found, strict=True
        )
        for aval in (equation.outvars[0].aval,)
    ]


def sites_of_one_more(fn: Callable, *args, **kwargs) -> list[Site]:
    """The sites of `fn(params, *args)` where the inputs' first axis is longer by one.

    None where no input has two axes, or `fn` does not take one more.
    """
    params, *inputs = args
    leaves, structure = jax.tree.flatten((inputs, kwargs))
    sizes = [x.shape[0] for x in leaves if is_array(x) and len(x.shape) > 1]
    if not sizes:
        return []

    def more(x):
        if not is_array(x) or x.shape[:1] != (sizes[0],):
            return x
        return jax.ShapeDtypeStruct((sizes[0] + 1, *x.shape[1:]), x.dtype)

    try:
        inputs, kwargs = jax.tree.unflatten(structure, map(more, leaves))
        return sites(trace(fn, params, *inputs, **kwargs))
    except Exception:  # whatever fn raises where its inputs are of one size only
        return []


def _place(sources) -> str:
    """The innermost place in the user's code."""
    known = filter(None, map(program_.place, sources))
    return next(known, "an unknown place")


def numbered(program: Program) -> list[str]:
    """The names of `sites`."""
    return _numbers([e.params["name"] for e, *_ in _sites(program.closed.jaxpr)])


def labeled(jaxpr, labels: Sequence[str]) -> Iterator[tuple[Any, list[str]]]:
    """Every equation of a jaxpr with the names of the sites in it, of all of its."""
    rest = iter(labels)
    for equation in jaxpr.eqns:
        yield equation, list(it.islice(rest, _count(equation)))


def evaluate(
    program: Program,
    names: frozenset[str],
    visit: Callable[[str, Any, dict], tuple[Any, dict]],
    removed: Mapping[str, Any] | None = None,
) -> tuple[Any, dict]:
    """Run a program, calling `visit` at the activations in `names`.

    Args:
        program: from `trace`.
        names: names to stop at; everything else runs as it is.
        visit: `(name, value, state) -> (value, state)`; the program goes on with the
            returned value, still under its name. `state` starts as `{}`.
        removed: masks of names, 0 where `visit` takes an entry away. Steps that make
            such an entry alone have no derivative there if it is not finite: what is
            not used has no gradient, also where a product would be 0 times infinity.

    Returns:
        The function's output and the final state.
    """
    closed, labels = program.closed, numbered(program)
    how = _How(names, visit, removed or {})
    outs, state = _evaluate(
        closed.jaxpr, closed.consts, program.inputs, labels, how, {}
    )
    return jax.tree.unflatten(program.out_tree, outs), state


class _How(NamedTuple):
    names: frozenset[str]
    visit: Callable
    removed: Mapping[str, Any]


def _evaluate(jaxpr, consts, inputs, labels, how: _How, state: dict):
    values, read = program_.reader(jaxpr, consts, inputs)
    equations = list(labeled(jaxpr, labels))
    changed = frozenset(id(e) for e, inside in equations if how.names & {*inside})
    for equation, inside in equations:
        wanted = id(equation) in changed
        if equation.primitive.name == "name" and wanted:
            mask = how.removed.get(inside[0])
            steps = [] if mask is None else _guard.region(jaxpr, equation, changed)
            value = read(equation.invars[0])
            if steps:
                value = _guard.safe(steps, equation, read, mask)
            with where_it_was(equation):
                value, state = how.visit(inside[0], value, state)
            outs = bind(equation, [value])
        elif equation.primitive.name in CALLS and wanted:
            arguments = [read(atom) for atom in equation.invars]
            outs, state = _call(equation, arguments, inside, how, state)
        else:
            outs = bind(equation, [read(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars], state


def _call(equation, arguments, labels, how, state):
    params = equation.params
    jaxpr, consts = program_.body(equation)

    def run(state, *values):
        return _evaluate(jaxpr, consts, values, labels, how, state)

    if equation.primitive.name in REMATS:
        run = jax.checkpoint(
            run, prevent_cse=params["prevent_cse"], policy=params["policy"]
        )
    with where_it_was(equation):
        return run(state, *arguments)


def _sites(jaxpr, inside="", outer=()) -> Iterator[tuple[Any, str, tuple]]:
    """The equations that name activations, what is around them, and their sources."""
    for equation in jaxpr.eqns:
        kind, source = equation.primitive.name, equation.source_info
        around = inside or ("gradient" if _differentiates(source) else "")
        if kind == "name":
            yield equation, around, (source, *outer)
        deeper = around if kind in CALLS else around or kind
        for body in program_.inner(equation):
            yield from _sites(body, deeper, (source, *outer))


def _differentiates(source) -> bool:
    """Whether an equation was made by differentiating, by grad, jvp, vjp and so on.

    A derivative is written down beside the value and reads nothing of the name, so that
    a change of the value would not be in it.
    """
    parts = source.name_stack.stack
    made_by = {part.name for part in parts if type(part).__name__ == "Transform"}
    return bool(made_by & {"jvp", "transpose"})


def _count(equation) -> int:
    named = equation.primitive.name == "name"
    return named + sum(1 for b in program_.inner(equation) for _ in _sites(b))


def _numbers(names: Sequence[str]) -> list[str]:
    """Names that differ: the next free number for what is there already."""
    taken: dict[str, None] = {}
    for name in names:
        numbers = (f"{name}#{i}" for i in it.count(2))
        new = next(n for n in it.chain([name], numbers) if n not in taken)
        taken[new] = None
    return list(taken)
