"""A traced function, and how one of its equations is bound again.

An equation is bound where it came from: under its own mesh and settings, and with the
file, line and modules of the user's code, which later errors and profiles show.
"""

import itertools as it
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core as jex
from jax.extend import source_info_util

from sparsejax import checks
from sparsejax.interpret.primitives import REMATS

# Frames that tell a user nothing: of JAX, of the layers' libraries, and ours.
_LIBRARIES = re.compile(
    r"site-packages[\\/](jax|flax|equinox|haiku)[\\/]|^"
    + re.escape(os.path.dirname(os.path.dirname(__file__)))
)


class Program(NamedTuple):
    """A function traced for given arguments: flat arrays to flat outputs."""

    closed: Any
    inputs: list
    out_tree: Any


def trace(fn: Callable, *args, **kwargs) -> Program:
    """Trace `fn(*args, **kwargs)` to a `Program` whose inputs are those arrays.

    What is no array (a flag, a name, a Python number) is passed on as it is.

    Raises:
        ValueError: for arrays of other libraries.
    """
    leaves, structure = jax.tree.flatten((args, kwargs))
    for leaf in leaves:
        ours = checks.is_array(leaf) or isinstance(leaf, np.ndarray)
        if is_array(leaf) and not ours:
            raise ValueError(
                f"fn is given {checks.described(leaf)}; expected arrays of NumPy or "
                "JAX: np.asarray(...)"
            )
    arrays = [leaf for leaf in leaves if is_array(leaf)]

    def call(arrays):
        given = iter(arrays)
        full = [next(given) if is_array(leaf) else leaf for leaf in leaves]
        args, kwargs = jax.tree.unflatten(structure, full)
        return fn(*args, **kwargs)

    try:
        closed, shapes = jax.make_jaxpr(call, return_shape=True)(arrays)
    except OfBatches:
        raise
    except Exception as error:
        if len(args) > 1 and _takes_batches(fn, args, kwargs):
            raise OfBatches(args) from error
        raise
    return Program(closed, arrays, jax.tree.structure(shapes))


class OfBatches(ValueError):
    """A function of batches was given one example."""

    def __init__(self, args: Sequence):
        (x,) = [checks.described(x) for x in args[1:2]]
        super().__init__(
            f"fn takes batches, but x is one example, {x}; pass "
            "lambda params, x: fn(params, x[None])[0]"
        )


def _takes_batches(fn: Callable, args: Sequence, kwargs) -> bool:
    """Whether a function that fails takes the same inputs with one axis more."""

    def more(leaf):
        known = is_array(leaf)
        return jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype) if known else leaf

    params, *inputs = args
    return checks.takes(
        lambda params, inputs: fn(params, *inputs, **kwargs),
        params,
        jax.tree.map(more, inputs),
    )


def is_array(leaf) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def reader(jaxpr, consts: Sequence, inputs: Sequence) -> tuple[dict, Callable]:
    """The values of a jaxpr's variables so far, and how an atom is read."""
    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))
    return values, lambda a: a.val if isinstance(a, jex.Literal) else values[a]


def is_variable(atom) -> bool:
    return not isinstance(atom, jex.Literal)


def variables(atoms: Sequence) -> Iterator[Any]:
    """Those atoms that are no literals."""
    return filter(is_variable, atoms)


def inner(equation) -> Iterator[Any]:
    """The jaxprs in the parameters of an equation."""
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, jex.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, jex.Jaxpr):
                yield item


def body(equation) -> tuple[Any, Sequence]:
    """The jaxpr and the constants of what a call calls."""
    params = equation.params
    found = next(params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in params)
    return getattr(found, "jaxpr", found), getattr(found, "consts", ())


def rematerialized(equation, run: Callable) -> Callable:
    """What a call calls, forgotten and run again for gradients if that call is."""
    if equation.primitive.name not in REMATS:
        return run
    params = equation.params
    return jax.checkpoint(
        run, prevent_cse=params["prevent_cse"], policy=params["policy"]
    )


def place(source) -> str:
    """File, line and scope of an equation in the user's own code; "" if not known."""
    frames = source.traceback.frames if source.traceback else ()
    own = (f for f in frames if not _LIBRARIES.search(f.file_name))
    where = [f"{f.file_name}:{f.line_num}" for f in it.islice(own, 1)]
    scope = str(source.name_stack)
    return " in ".join([*where, scope] if scope else where)


@contextmanager
def where_it_was(equation) -> Iterator[None]:
    """The mesh, the settings, the traceback and the modules of an equation."""
    source = equation.source_info
    stack = source_info_util.current_name_stack() + source.name_stack
    with (
        source_info_util.user_context(source.traceback, name_stack=stack),
        equation.ctx.manager,
    ):
        yield


def bind(equation, arguments: Sequence, **changes) -> list:
    """The results of an equation for other arguments or parameters."""
    primitive = equation.primitive
    params = primitive.get_bind_params({**equation.params, **changes})
    with where_it_was(equation):
        outs = primitive.bind(*arguments, **params)
    return list(outs) if primitive.multiple_results else [outs]
