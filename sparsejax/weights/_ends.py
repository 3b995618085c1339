"""Two activations of a function, and what can be asked of them before any numbers."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sparsejax import checks, interpret, lift, trees
from sparsejax.weights import _linear as linear
from sparsejax.weights import _reading as reading


class Place(NamedTuple):
    """An activation: its name (None for the input, or the output), shape and dtype."""

    name: str | None
    shape: tuple[int, ...]
    dtype: Any


class Ends(NamedTuple):
    """Two activations of `fn(params, x)`, and a place on the second one's map."""

    fn: Callable
    x: Place
    source: Place
    target: Place
    position: tuple[int, ...]


def connect(fn, params, x, source, target, position) -> Ends:
    """Check names and place.

    Args:
        fn: of one example.
        params: its parameters.
        x: shape and dtype of an example.
        source, target: names, or None for input and output.
        position: on the target's map; None for the middle.
    """
    for name in (source, target):
        if name is not None and not isinstance(name, str):
            raise ValueError(f"expected one activation's name, got {name!r}")
    if source is not None and source == target:
        raise ValueError(f"source and target are both {source!r}; name two activations")
    names = tuple(name for name in (source, target) if name is not None)
    try:
        out, acts = _activations.eval_shape(fn, names, params, x)
    except Exception as error:
        where = f"raised by fn of one example of shape {tuple(x.shape)}"
        unfit = isinstance(error, TypeError | ValueError | AttributeError | LookupError)
        if not unfit or checks.takes(fn, params, x):
            error.add_note(where)
            raise
        refused = ValueError(
            f"fn(params, x) does not take one array x, {x.dtype} of shape "
            f"{tuple(x.shape)}: {checks.first_line(error)}; close over other inputs: "
            f"{checks.one_input()}; {checks.from_lookup()}"
        )
        refused.add_note(where)
        raise refused from error
    input_ = Place(None, tuple(x.shape), x.dtype)
    first = input_ if source is None else _node(source, acts[source])
    last = _node(target, out if target is None else acts[target])
    return Ends(fn, input_, first, last, _place(last, position))


def read(ends: Ends, params) -> reading.Found:
    """What lies between two activations."""
    x = jnp.zeros(ends.x.shape, ends.x.dtype)
    start = linear.Node(ends.source.shape, ends.source.dtype)
    names = ends.source.name, ends.target.name
    return reading.read(ends.fn, params, x, *names, start)


def required(ends: Ends, found: reading.Found) -> linear.Node:
    """The target, read; a `ValueError` if no path leads there, or one is not linear."""
    last = connected(ends, found)
    if last.node is None:
        raise ValueError(
            f"from {_said(ends.source, 'input')} to {_said(ends.target, 'output')} "
            f"there is no linear reading: {last.why}. Name activations on one side of "
            "that step, or take weights.gradients"
        )
    return last.node


def connected(ends: Ends, found: reading.Found) -> reading.Signal:
    """The target, read or not; a `ValueError` if no path leads there."""
    if found.target is not None:
        return found.target
    source, target = _said(ends.source, "input"), _said(ends.target, "output")
    order = f"{target} is computed first: is it the other way round? " * found.before
    raise ValueError(
        f"no path leads from {source} to {target}. {order}{source} feeds the "
        f"activations {trees.listed(found.fed)}"
    )


def seen(
    ends: Ends, params
) -> tuple[reading.Found, linear.Node, dict[linear.Node, linear.Box]]:
    """What lies between, the target, and what its position needs of every map.

    Raises:
        ValueError: as `required`, and if the position needs nothing of the source.
    """
    found = read(ends, params)
    end = required(ends, found)
    place = (*((i, i + 1) for i in ends.position), (0, ends.target.shape[-1]))
    want = linear.demand(end, place)
    if found.source not in want:
        raise ValueError(
            f"position {ends.position} of {_said(ends.target, 'output')} sees nothing "
            f"of {_said(ends.source, 'input')}, only padding; choose another"
        )
    *window, _ = want[found.source]  # all channels, needed or not
    want[found.source] = (*window, (0, ends.source.shape[-1]))
    return found, end, want


def box(used: np.ndarray) -> linear.Box:
    """The smallest window that holds all that is used, everything if nothing is."""
    if not used.any() or not used.ndim:
        return tuple((0, n) for n in used.shape)
    return tuple((int(i.min()), int(i.max()) + 1) for i in np.nonzero(used))


@partial(interpret.Compiled, static_argnums=(0, 1))
def _activations(fn, names, params, x):
    if not names:
        return fn(params, x), {}
    return lift.activations(fn, names, units=True)(params, x)


def _node(name: str | None, value) -> Place:
    if not hasattr(value, "shape"):
        raise ValueError(
            f"fn returns {checks.described(value)}; name the activation of it that is "
            f"the target, or let fn return one array: {checks.one_output(value)}"
        )
    node = Place(name, value.shape, value.dtype)
    if not node.shape:
        raise ValueError(f"{_said(node, 'output')} is one number; units need an axis")
    return node


def _place(target: Place, position) -> tuple[int, ...]:
    *sides, _ = target.shape
    if position is None:
        return tuple((n - 1) // 2 for n in sides)
    whole = all(isinstance(i, int | np.integer) for i in position)
    inside = whole and all(0 <= i < n for i, n in zip(position, sides, strict=False))
    if len(position) != len(sides) or not inside:
        raise ValueError(
            f"position is {tuple(position)}, but the map of "
            f"{_said(target, 'output')} has shape {tuple(sides)}"
        )
    return tuple(map(int, position))


def _said(node: Place, otherwise: str) -> str:
    return f"the {otherwise}" if node.name is None else repr(node.name)
