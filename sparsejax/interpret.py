"""Walk the jaxpr of any JAX function: find its named activations, change them, tell
which of its parameters are kernels, or run it on values of another kind.

This is the only file that touches JAX's internal representation (`jax.extend`); the
rest of the library asks it. Calls (`jit`, `custom_jvp`, `custom_vjp`, `remat`) are
opened only where there is something of interest inside, so that everything else keeps
its own meaning, its derivative rules included. A custom derivative rule *around* a name
that is edited or read gives way to the derivative of what is inside it, because the
rule knows nothing of the edit. Loops and branches (`scan`, `while`, `cond`) are never
opened: a name inside one stands for many values.
"""

import itertools as it
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import core as jex

_REMATS = frozenset({"remat", "remat2", "checkpoint"})
_CALLS = _REMATS | {
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
}
# Frames that tell a user nothing: of JAX, of the layers' libraries, and ours.
_LIBRARIES = re.compile(
    r"site-packages[\\/](jax|flax|equinox|haiku)[\\/]|^"
    + re.escape(os.path.dirname(__file__))
)
_PRODUCTS = frozenset({"dot_general", "conv_general_dilated", "ragged_dot_general"})


class Program(NamedTuple):
    """A function traced for given arguments: flat arrays to flat outputs."""

    closed: Any
    inputs: list
    out_tree: Any


class Step(NamedTuple):
    """One primitive of a function, as `walk` shows it to a rule.

    Attributes:
        name: of the primitive.
        params: its parameters.
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


class Site(NamedTuple):
    """One place where a function names an activation."""

    name: str
    shape: tuple[int, ...]
    dtype: Any
    inside: str  # the loop or branch around it, "" for none


def trace(fn: Callable, *args, **kwargs) -> Program:
    """Trace `fn(*args, **kwargs)` to a `Program` whose inputs are those arrays.

    What is no array (a flag, a name, a Python number) is passed on as it is.
    """
    leaves, structure = jax.tree.flatten((args, kwargs))
    arrays = [leaf for leaf in leaves if _is_array(leaf)]

    def call(arrays):
        given = iter(arrays)
        full = [next(given) if _is_array(leaf) else leaf for leaf in leaves]
        args, kwargs = jax.tree.unflatten(structure, full)
        return fn(*args, **kwargs)

    closed, shapes = jax.make_jaxpr(call, return_shape=True)(arrays)
    return Program(closed, arrays, jax.tree.structure(shapes))


def sites(program: Program) -> list[Site]:
    """Every activation named by `jax.ad_checkpoint.checkpoint_name`, in order."""
    return list(_sites(program.closed.jaxpr, ""))


def evaluate(
    program: Program,
    names: frozenset[str],
    visit: Callable[[str, Any, dict], tuple[Any, dict]],
) -> tuple[Any, dict]:
    """Run a program, calling `visit` at the activations in `names`.

    Args:
        program: from `trace`.
        names: names to stop at; everything else runs as it is.
        visit: `(name, value, state) -> (value, state)`; the program goes on with the
            returned value, still under its name. `state` starts as `{}`.

    Returns:
        The function's output and the final state.
    """
    closed = program.closed
    outs, state = _evaluate(
        closed.jaxpr, closed.consts, program.inputs, names, visit, {}
    )
    return jax.tree.unflatten(program.out_tree, outs), state


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
    around = "an unknown place", ""
    return _walk(closed.jaxpr, closed.consts, inputs, rule, around)


def kernels(program: Program, params: Sequence[Any]) -> list[bool]:
    """Which leaves of the parameters, the program's first inputs, are kernels.

    A kernel is an operand of a dot product or a convolution, directly or after
    operations on parameters and constants alone (reshapes, scalings, sums of
    parameters). Where several parameters are combined first, as in `kernel * scale`,
    those with at least two axes count.
    """
    jaxpr = program.closed.jaxpr
    shapes = [var.aval.shape for var in jaxpr.invars]
    count = sum(map(_is_array, params))
    origins = [frozenset([i]) if i < count else None for i in range(len(shapes))]
    groups, _ = _products(jaxpr, origins)
    whole = lambda group, i: len(group) == 1 or len(shapes[i]) >= 2
    found = {i for group in groups for i in group if shapes[i] and whole(group, i)}
    index = it.count()
    return [_is_array(leaf) and next(index) in found for leaf in params]


def _is_array(leaf) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _inner(equation) -> Iterator[Any]:
    """The jaxprs in the parameters of an equation."""
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, jex.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, jex.Jaxpr):
                yield item


def _sites(jaxpr, inside: str) -> Iterator[Site]:
    for equation in jaxpr.eqns:
        kind = equation.primitive.name
        if kind == "name":
            aval = equation.outvars[0].aval
            yield Site(equation.params["name"], aval.shape, aval.dtype, inside)
        for body in _inner(equation):
            yield from _sites(body, inside if kind in _CALLS else inside or kind)


def _evaluate(jaxpr, consts, inputs, names, visit, state):
    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))
    read = lambda atom: atom.val if isinstance(atom, jex.Literal) else values[atom]
    for equation in jaxpr.eqns:
        arguments = [read(atom) for atom in equation.invars]
        kind = equation.primitive.name
        if kind == "name" and equation.params["name"] in names:
            value, state = visit(equation.params["name"], arguments[0], state)
            outs = _bind(equation, [value])
        elif kind in _CALLS and _mentions(equation, names):
            outs, state = _call(equation, arguments, names, visit, state)
        else:
            outs = _bind(equation, arguments)
        values.update(zip(equation.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars], state


def _walk(jaxpr, consts, inputs, rule, around: tuple[str, str]) -> list:
    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))
    read = lambda atom: atom.val if isinstance(atom, jex.Literal) else values[atom]
    uses = _uses(jaxpr)
    for equation in jaxpr.eqns:
        step = _step(equation, around, uses)
        outs = rule(step, [read(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _uses(jaxpr) -> Counter:
    """How often every variable is read."""
    atoms = [*(a for equation in jaxpr.eqns for a in equation.invars), *jaxpr.outvars]
    return Counter(atom for atom in atoms if not isinstance(atom, jex.Literal))


def _step(equation, around: tuple[str, str], uses: Counter) -> Step:
    place = _place(equation.source_info) or around[0]
    names = (around[1], str(equation.source_info.name_stack))
    scope = "/".join(name for name in names if name)
    enter: Callable | None = None
    inner, consts, inside = frozenset(), (), []
    if equation.primitive.name in _CALLS:
        jaxpr, consts = _body(equation)
        inner = frozenset(_primitives(jaxpr))
        within = _uses(jaxpr)
        inside = [within[var] > 1 for var in jaxpr.invars]
        within_this = place, scope
        enter = lambda values, rule: _walk(jaxpr, consts, values, rule, within_this)
    out = equation.outvars[0].aval if equation.outvars else None
    return Step(
        equation.primitive.name,
        equation.params,
        str(equation.params.get("name", "")) if enter else "",
        tuple(getattr(out, "shape", ())),
        getattr(out, "dtype", None),
        place,
        scope,
        lambda *arguments, **params: _bind(equation, arguments, **params),
        enter,
        inner,
        tuple(consts),
        ([uses[var] > 1 for var in equation.outvars], inside),
    )


def _primitives(jaxpr) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for body in _inner(equation):
            yield from _primitives(body)


def _place(source) -> str:
    """File, line and scope of an equation in the user's own code; "" if not known."""
    frames = source.traceback.frames if source.traceback else ()
    own = (f for f in frames if not _LIBRARIES.search(f.file_name))
    where = [f"{f.file_name}:{f.line_num}" for f in it.islice(own, 1)]
    scope = str(source.name_stack)
    return " in ".join([*where, scope] if scope else where)


def _mentions(equation, names) -> bool:
    found = (site.name for body in _inner(equation) for site in _sites(body, ""))
    return any(name in names for name in found)


def _call(equation, arguments, names, visit, state):
    params = equation.params
    jaxpr, consts = _body(equation)
    run = lambda state, *values: _evaluate(jaxpr, consts, values, names, visit, state)
    if equation.primitive.name in _REMATS:
        run = jax.checkpoint(
            run, prevent_cse=params["prevent_cse"], policy=params["policy"]
        )
    return run(state, *arguments)


def _body(equation) -> tuple[Any, Sequence]:
    """The jaxpr and the constants of what a call calls."""
    params = equation.params
    body = next(params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in params)
    return getattr(body, "jaxpr", body), getattr(body, "consts", ())


def _bind(equation, arguments, **changes) -> list:
    primitive = equation.primitive
    params = primitive.get_bind_params({**equation.params, **changes})
    with equation.ctx.manager:
        outs = primitive.bind(*arguments, **params)
    return outs if primitive.multiple_results else [outs]


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
    read = lambda atom: frozenset() if isinstance(atom, jex.Literal) else made_of[atom]
    for equation in jaxpr.eqns:
        kind = equation.primitive.name
        parts = [read(atom) for atom in equation.invars]
        outs = [_union(parts)] * len(equation.outvars)
        if kind in _PRODUCTS:
            groups += [part for part in parts if part]
        for body in _inner(equation):
            # cond: (index, *operands); while: (*constants of the test, *the body's)
            into = parts[len(parts) - len(body.invars) :]
            if len(into) != len(body.invars):
                continue
            if kind == "scan":  # what a step returns is what the next one is given
                carried = _same_shape(equation.outvars, body.outvars)
                first = _same_shape(equation.invars, body.invars) - carried
                _, after = _products(body, into)
                for i in range(carried):
                    into[first + i] = _union([into[first + i], after[i]])
            found, after = _products(body, into)
            groups += found
            if kind in _CALLS:
                outs = after
        made_of.update(zip(equation.outvars, outs, strict=True))
    return groups, [read(atom) for atom in jaxpr.outvars]


def _same_shape(outer, inner) -> int:
    """How many of a scan's variables its body sees whole: constants and carry."""
    pairs = zip(outer, inner, strict=True)
    return sum(a.aval.shape == b.aval.shape for a, b in pairs)


def _union(parts: Sequence[_Origin]) -> _Origin:
    known = [part for part in parts if part is not None]
    return frozenset().union(*known) if len(known) == len(parts) else None
