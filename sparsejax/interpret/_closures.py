"""What a function closes over becomes an input of its program.

To XLA an array that a function closes over is a constant: it is written into the
program, folded into whatever can be computed of it, which takes longer than all the
rest, and another array is another program. Here a traced function is run once more with
such arrays as inputs, those included that calls, loops and branches inside it hold.

Only for programs that are compiled as they are, with gradients taken already: custom
rules of derivatives are left out.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from sparsejax.interpret import _loops
from sparsejax.interpret import _program as program_
from sparsejax.interpret._program import bind, where_it_was
from sparsejax.interpret.primitives import CALLS, REMATS

# NumPy arrays below this many bytes stay constants: tables of indices, mostly.
_SMALL = 1024


class Open(NamedTuple):
    """A program, and what it closes over as its first inputs.

    Attributes:
        closed: the jaxpr, from the arrays and the function's own inputs to its outputs.
        arrays: what was closed over; of random keys their data.
    """

    closed: Any
    arrays: list


def opened(closed, inputs: Sequence) -> Open:
    """A traced function with what it closes over as inputs.

    Args:
        closed: its jaxpr.
        inputs: its flat inputs, arrays or their shapes and dtypes.
    """
    everywhere = [*closed.consts, *_within(closed)]
    held = {id(array): array for array in everywhere if _is_hoisted(array)}
    arrays = [_plain(array) for array in held.values()]

    def run(arrays, inputs):
        restored = map(_restored, held.values(), arrays)
        return _run(closed, inputs, dict(zip(held, restored, strict=True)))

    return Open(jax.make_jaxpr(run)(arrays, list(inputs)), arrays)


def _is_hoisted(array) -> bool:
    if isinstance(array, jax.Array):
        return not isinstance(array, Tracer)
    if not hasattr(type(array), "__array__"):  # a reference that fn writes to
        return False
    return array.nbytes >= _SMALL and array.dtype != jax.dtypes.float0


def _is_key(array) -> bool:
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def _plain(array):
    """An array that a program can be given time and again.

    A key would be used up the first time; what NumPy holds could change meanwhile.
    """
    if _is_key(array):
        return jax.random.key_data(array)
    return array if isinstance(array, jax.Array) else jnp.array(np.asarray(array))


def _restored(array, value):
    if _is_key(array):
        return jax.random.wrap_key_data(value, impl=jax.random.key_impl(array))
    return value


def _bodies(equation) -> Iterator[Any]:
    """What an equation calls, with the arrays that it holds."""
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if hasattr(item, "eqns"):
                yield item


def _within(closed) -> Iterator[Any]:
    """Arrays that calls, loops and branches inside a jaxpr hold."""
    for equation in closed.eqns:
        for body in _bodies(equation):
            yield from getattr(body, "consts", ())
            yield from _within(body)


def _run(body, inputs: Sequence, known: dict[int, Any]) -> list:
    """Run a jaxpr with other values for arrays that it holds.

    Args:
        body: the jaxpr.
        inputs: of it.
        known: the values, by the `id` of the arrays.
    """
    jaxpr, consts = getattr(body, "jaxpr", body), getattr(body, "consts", ())
    consts = [known.get(id(array), array) for array in consts]
    values, read = program_.reader(jaxpr, consts, inputs)
    for equation in jaxpr.eqns:
        outs = _step(equation, [*map(read, equation.invars)], known)
        values.update(zip(equation.outvars, outs, strict=True))
    return [*map(read, jaxpr.outvars)]


def _step(equation, arguments: list, known: dict[int, Any]) -> list:
    kind, bodies = equation.primitive.name, [*_bodies(equation)]
    held = {
        id(array): known[id(array)]
        for body in bodies
        for array in [*getattr(body, "consts", ()), *_within(body)]
        if id(array) in known
    }
    rebuild = _REBUILT.get(kind)
    if rebuild is None or not held:
        return bind(equation, arguments)
    with where_it_was(equation):
        return rebuild(equation, arguments, held)


def _call(equation, arguments, held) -> list:
    return _run(next(_bodies(equation)), arguments, held)


def _remat(equation, arguments, held) -> list:
    body = _widened(equation.params["jaxpr"], held)
    changed = getattr(body, "jaxpr", body) if _is_open(equation) else body
    return bind(equation, [*held.values(), *arguments], jaxpr=changed)


def _scan(equation, arguments, held) -> list:
    scan, params = _loops.parts(equation), equation.params
    constants, carry, xs = scan.split(arguments)

    def step(carry, x):
        outs = _run(params["jaxpr"], [*constants, *carry, *x], held)
        return outs[: scan.num_carry], outs[scan.num_carry :]

    knobs = {name: params[name] for name in ("length", "reverse", "unroll")}
    carry, ys = jax.lax.scan(step, carry, xs, **knobs)
    return [*carry, *ys]


def _while(equation, arguments, held) -> list:
    params, changes, extra = equation.params, {}, list(held.values())
    at = 0
    operands = []
    for part in ("cond", "body"):
        count = params[f"{part}_nconsts"]
        operands += [*extra, *arguments[at : at + count]]
        changes[f"{part}_nconsts"] = len(extra) + count
        changes[f"{part}_jaxpr"] = _widened(params[f"{part}_jaxpr"], held)
        at += count
    return bind(equation, [*operands, *arguments[at:]], **changes)


def _cond(equation, arguments, held) -> list:
    branches = tuple(_widened(body, held) for body in equation.params["branches"])
    which, *rest = arguments
    return bind(equation, [which, *held.values(), *rest], branches=branches)


def _widened(body, held: dict[int, Any]) -> Any:
    """A jaxpr with the arrays that it holds as its first inputs."""
    jaxpr = getattr(body, "jaxpr", body)

    def run(values, inputs):
        return _run(body, inputs, dict(zip(held, values, strict=True)))

    inputs = [var.aval for var in jaxpr.invars]
    return jax.make_jaxpr(run)(list(held.values()), inputs)


def _is_open(equation) -> bool:
    """Whether the jaxpr of a call is of the kind that holds no arrays."""
    return not hasattr(equation.params["jaxpr"], "consts")


_REBUILT: dict[str, Callable] = {
    **dict.fromkeys(CALLS - REMATS, _call),
    **dict.fromkeys(REMATS, _remat),
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}
