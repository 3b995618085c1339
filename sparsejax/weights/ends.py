"""Two activations of a function, and what can be asked of them before any numbers."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import lift, trees
from sparsejax.weights import reading
from sparsejax.weights.algebra import CONNECTED, Algebra

Window = tuple[tuple[int, int], ...]  # first and past-the-last index of every axis


class Node(NamedTuple):
    """An activation: its name (None for the input, or the output), shape and dtype."""

    name: str | None
    shape: tuple[int, ...]
    dtype: Any


class Ends(NamedTuple):
    """Two activations of `fn(params, x)`, and a place on the second one's map."""

    fn: Callable
    x: Node
    source: Node
    target: Node
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
    if source is not None and source == target:
        raise ValueError(f"source and target are both {source!r}; name two activations")
    names = tuple(name for name in (source, target) if name is not None)
    try:
        out, acts = _activations.eval_shape(fn, names, params, x)
    except Exception as error:
        error.add_note(f"raised by fn of one example of shape {tuple(x.shape)}")
        raise
    input_ = Node(None, tuple(x.shape), jnp.dtype(x.dtype))
    first = input_ if source is None else _node(source, acts[source])
    last = _node(target, out if target is None else acts[target])
    return Ends(fn, input_, first, last, _place(last, position))


def chosen(units: Sequence[int] | None, count: int) -> np.ndarray:
    """Numbers of units, checked against how many there are."""
    found = np.arange(count) if units is None else np.asarray(units)
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu":
        raise ValueError(f"units are {units}; expected a list of numbers, or None")
    wrong = found[(found < 0) | (found >= count)]
    if len(wrong):
        raise ValueError(
            f"there are no units {wrong.tolist()}; there are {count}, from 0 to "
            f"{count - 1}"
        )
    return found.astype(np.int32)


def pull(ends: Ends, params, algebra: Algebra, cut: str | None = None) -> Callable:
    """From parts of the target back to parts of the source, linearly.

    Raises (when called):
        ValueError: if no path leads from source to target, or one has no reading.
    """

    def forward(*parts):
        signal = required(ends, _find(ends, params, algebra, parts, cut))
        if signal.parts is None:
            source, target = _said(ends.source, "input"), _said(ends.target, "output")
            raise ValueError(
                f"from {source} to {target} there is no linear reading: "
                f"{signal.why}. Name activations on one side of that step, or take "
                "weights.gradients"
            )
        return signal.parts

    return jax.linear_transpose(forward, *[_like(ends)] * len(algebra.seeds))


def connected(ends: Ends, params, cut: str | None = None) -> reading.Found:
    """What the source feeds, without numbers."""
    found = []

    def run(params, part):
        found.append(_find(ends, params, CONNECTED, (part,), cut))

    jax.eval_shape(run, params, _like(ends))
    return found[0]


def required(ends: Ends, found: reading.Found) -> reading.Signal:
    """What arrives at the target; a `ValueError` if nothing does."""
    if found.target is not None:
        return found.target
    source, target = _said(ends.source, "input"), _said(ends.target, "output")
    order = f"{target} is computed first: is it the other way round? " * found.before
    raise ValueError(
        f"no path leads from {source} to {target}. {order}{source} feeds the "
        f"activations {trees.listed(found.fed)}"
    )


def field(ends: Ends, params) -> Window:
    """The receptive field on the source's map, whatever the parameters are."""
    return box(np.asarray(_reached(ends, params)))


def box(used: np.ndarray) -> Window:
    """The smallest window that holds all that is used, everything if nothing is."""
    if not used.any() or not used.ndim:
        return tuple((0, n) for n in used.shape)
    return tuple((int(i.min()), int(i.max()) + 1) for i in np.nonzero(used))


@partial(jax.jit, static_argnums=0)
def _reached(ends: Ends, params):
    # what is made of parameters is nowhere known to be zero
    unknown = lambda p: jnp.full_like(p, jnp.nan) if reading.is_real(p) else p
    back = pull(ends, jax.tree.map(unknown, params), CONNECTED)
    seed = jnp.zeros(ends.target.shape, ends.target.dtype).at[ends.position].set(1)
    (reached,) = back((seed,))
    return (reached != 0).any(-1)


def _find(ends: Ends, params, algebra, parts, cut) -> reading.Found:
    x = jnp.zeros(ends.x.shape, ends.x.dtype)
    fn, source, target = ends.fn, ends.source.name, ends.target.name
    return reading.read(fn, params, x, source, target, algebra, parts, cut)


@partial(jax.jit, static_argnums=(0, 1))
def _activations(fn, names, params, x):
    return lift.activations(fn, names)(params, x) if names else (fn(params, x), {})


def _node(name: str | None, value) -> Node:
    if not hasattr(value, "shape"):
        raise ValueError(
            f"fn returns {jax.tree.structure(value)}; name the activation of it that "
            "is the target, or let fn return one array"
        )
    node = Node(name, value.shape, value.dtype)
    if not node.shape:
        raise ValueError(f"{_said(node, 'output')} is one number; units need an axis")
    return node


def _like(ends: Ends) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(ends.source.shape, ends.source.dtype)


def _place(target: Node, position) -> tuple[int, ...]:
    *sides, _ = target.shape
    if position is None:
        return tuple((n - 1) // 2 for n in sides)
    inside = all(0 <= i < n for i, n in zip(position, sides, strict=False))
    if len(position) != len(sides) or not inside:
        raise ValueError(
            f"position is {tuple(position)}, but the map of "
            f"{_said(target, 'output')} has shape {tuple(sides)}"
        )
    return tuple(map(int, position))


def _said(node: Node, otherwise: str) -> str:
    return f"the {otherwise}" if node.name is None else repr(node.name)
