"""Named activations: where they are and how they are called.

Of several places with one name the second is "name#2", the third "name#3", in the order
of the program; everything that speaks of activations calls them so.
"""

import itertools as it
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from sparsejax.interpret import _axes
from sparsejax.interpret import _program as program_
from sparsejax.interpret._program import Program, is_array, trace
from sparsejax.interpret.primitives import CALLS


class Site(NamedTuple):
    """One place where a function names an activation.

    Attributes:
        name: the name; "name#2" for the second of that name, and so on.
        shape, dtype: of the activation, in a scan at one step.
        loops: lengths of the scans around it, outermost first.
        inside: "while" or "cond" around it, where there may be none of it, or any
            number; "gradient" where fn differentiates it; "" for none.
        features: the axis of a convolution's output channels, where it can be followed
            to here; None where it can't.
        place: where in the user's code, for messages.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any
    loops: tuple[int, ...]
    inside: str
    features: int | None
    place: str


def sites(program: Program) -> list[Site]:
    """Every activation named by `jax.ad_checkpoint.checkpoint_name`, in order."""
    found = list(_sites(program.closed.jaxpr))
    names = _numbers([equation.params["name"] for equation, *_ in found])
    axes = _axes.of_names(program.closed.jaxpr)
    result = []
    for name, axis, (equation, around) in zip(names, axes, found, strict=True):
        aval = equation.outvars[0].aval
        lengths, inside, sources = around
        place = _place((equation.source_info, *sources))
        result.append(Site(name, aval.shape, aval.dtype, lengths, inside, axis, place))
    return result


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
    return _numbers(written(program.closed.jaxpr))


def written(jaxpr) -> list[str]:
    """The names of a jaxpr's sites as the user wrote them, without numbers."""
    return [equation.params["name"] for equation, _ in _sites(jaxpr)]


def labeled(jaxpr, labels: Sequence[str]) -> Iterator[tuple[Any, list[str]]]:
    """Every equation of a jaxpr with the names of the sites in it, of all of its."""
    rest = iter(labels)
    for equation in jaxpr.eqns:
        yield equation, list(it.islice(rest, _count(equation)))


class _Around(NamedTuple):
    """What is around a place: lengths of scans, what forbids a change, sources."""

    loops: tuple[int, ...]
    inside: str
    sources: tuple


def _sites(
    jaxpr, around: _Around = _Around((), "", ())
) -> Iterator[tuple[Any, _Around]]:
    """The equations that name activations, and what is around them."""
    for equation in jaxpr.eqns:
        kind, source = equation.primitive.name, equation.source_info
        differentiates = "gradient" if _differentiates(source) else ""
        here = around._replace(inside=around.inside or differentiates)
        if kind == "name":
            yield equation, here
        loops, inside, _ = here
        if kind == "scan":
            loops = (*loops, equation.params["length"])
        elif kind not in CALLS:
            inside = inside or kind
        for body in program_.inner(equation):
            deeper = _Around(loops, inside, (source, *around.sources))
            yield from _sites(body, deeper)


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
