"""The linear map between two activations of a function, read off its own steps.

Sums, moves and products with what does not depend on the input are linear as they are,
and what they add is left out. A function of each element that rises (ReLU, gelu, tanh)
reads as the identity, one that falls as minus it; several steps on the same array, as
in `x * sigmoid(x)`, are one such function, found by its values at a few numbers. The
maximum over a window or over axes reads as the mean. Anything else, a softmax or a
product of two activations, has no linear reading; only where it lies on a path between
the two activations is that an error, which names the step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from sparsejax import interpret
from sparsejax.interpret import primitives as families
from sparsejax.weights import _linear as linear
from sparsejax.weights import _moves as moves
from sparsejax.weights._linear import Node

# Over axes and windows; sums along an axis are read as moves.
_POOLS = families.SUMS - {"cumsum"} | families.MAXIMA
_PRODUCTS = {"dot_general": linear.dot, "conv_general_dilated": linear.conv}
# Where functions of each element are looked at, from -64 to 64.
_POINTS = np.ldexp(np.float32(1), np.arange(-1, 7))
_POINTS = np.concatenate([-_POINTS[::-1], _POINTS])


class Signal(NamedTuple):
    """An array that depends on the source.

    Attributes:
        node: its linear reading; None if it has none.
        root: the array that it is a function of, element by element, if not of itself.
        curve: the values of that function at `_POINTS`.
        why: what has no reading.
    """

    node: Any
    root: "Signal | None" = None
    curve: np.ndarray = _POINTS
    why: str = ""


class Aside(NamedTuple):
    """An array that depends on the input, but not on the source."""

    value: Any


class Found(NamedTuple):
    """What the source feeds.

    Attributes:
        source: the node that all others are linear in.
        target: None if no path leads there.
        before: whether the target was computed before the source.
        fed: every other activation that the source feeds.
    """

    source: Node
    target: Signal | None
    before: bool
    fed: dict[str, Signal]


def read(
    fn: Callable, params, x, source: str | None, target: str | None, start: Node
) -> Found:
    """Read a function from one activation to another.

    Args:
        fn: of one example, `fn(params, x)`.
        params: its parameters.
        x: any example: only its shape and dtype matter.
        source: an activation's name; None for x.
        target: an activation's name; None for the output.
        start: a node of the source's shape and dtype.
    """
    program = interpret.trace(lambda x: fn(params, x), x)
    reader = _Reader(source, target, start)
    first = Aside(program.inputs[0]) if source else Signal(start)
    outputs = interpret.walk(program, [first], reader.rule)
    last = reader.target if target else outputs[0]
    last = last if isinstance(last, Signal) else None
    return Found(start, last, reader.before, reader.fed)


class _Reader:
    def __init__(self, source: str | None, target: str | None, start: Node):
        self.source, self.end, self.start = source, target, start
        self.target: Any = None
        self.before, self.started = False, source is None
        self.fed: dict[str, Signal] = {}

    def rule(self, step, arguments: list) -> list:
        if step.name == "name":
            return [self.named(step, arguments[0])]
        signals = [x for x in arguments if isinstance(x, Signal)]
        if step.enter and (signals or "name" in step.inner):
            return step.enter(arguments, self.rule)
        if not signals:
            return _aside(step, arguments)
        if step.name in families.IDENTITIES:
            return arguments
        if step.name in families.ELEMENTWISE:
            return [self.elementwise(step, arguments)]
        return self.linear(step, arguments)

    def named(self, step, value):
        name = step.params["name"]
        if name == self.source:
            value, self.started = Signal(self.start), True
        elif isinstance(value, Signal):
            if value.node is not None:  # a node of its own, to cut or begin at
                value = value._replace(node=linear.add(step.shape, [value.node]))
            self.fed[name] = value
        if name == self.end:
            self.target, self.before = value, not self.started
        return value

    def elementwise(self, step, arguments) -> Signal:
        """One step on every element: a linear one, or part of a function."""
        (made,) = self.linear(step, arguments)
        top, curve = _curve(step, arguments)
        if top is None:
            return made
        if made.node is not None:
            return Signal(made.node, top, curve)
        sign = _direction(curve) if jnp.issubdtype(step.dtype, jnp.floating) else 0
        if sign:
            return Signal(_signed(top.node, sign), top, curve)
        return Signal(None, top, curve, made.why)

    def linear(self, step, arguments) -> list[Signal]:
        """A step that is linear, or reads as such, in what depends on the source."""
        signals = [x for x in arguments if isinstance(x, Signal)]
        why = next((x.why for x in signals if x.node is None), "")
        found = why or _nodes(step, arguments)
        if isinstance(found, list):
            return [Signal(node) for node in found]
        why = why or f"the step {step.name!r} at {step.place} {found}"
        return [Signal(None, why=why)] * len(step.shared[0])


def _nodes(step, arguments) -> list[Node] | str:
    """The results of a step on what can be read, or what keeps them from being read."""
    name = step.name
    moving = [i for i, x in enumerate(arguments) if isinstance(x, Signal)]
    nodes = [arguments[i].node for i in moving]
    others = [x for x in arguments if not isinstance(x, Signal)]
    if name in families.ADDITIONS:
        minus = [name == "neg" or (name == "sub" and i == 1) for i in moving]
        signs = [-1 if less else 1 for less in minus]
        return [linear.add(step.shape, list(map(_signed, nodes, signs)))]
    if name in families.BOUNDS:
        if len(moving) > 1 or any(isinstance(x, Aside) for x in others):
            return "compares two activations"
        return [linear.add(step.shape, nodes)]
    if name in families.SCALINGS or name in _PRODUCTS:
        if len(moving) > 1 or isinstance(others[0], Aside):
            return "multiplies or divides two activations"
        weights, (x,), (side,) = others[0], nodes, moving
        if name == "div" and side:
            return "divides by an activation"
        if name in families.SCALINGS:
            factor = 1 / weights if name == "div" else weights
            return [linear.scale(step.shape, x, factor)]
        return [_PRODUCTS[name](step, x, side, jnp.asarray(weights))]
    if name in _POOLS:
        pool = linear.pool if name.startswith("reduce_window") else linear.reduce
        return [pool(step, nodes[0], mean=name in families.MAXIMA)]
    if name in families.LOOPS:
        mend = interpret.unrolling(step)
        return f"is a loop or a branch, which is not opened{mend and '; ' + mend}"
    if name not in families.LINEAR or not jnp.issubdtype(step.dtype, jnp.floating):
        return "is neither linear nor an activation function"
    if any(isinstance(x, Aside) and not _is_real(x.value) for x in others):
        return "chooses by what depends on the input"
    bare = {Signal: lambda x: x.node, Aside: lambda x: x.value}
    return moves.move(step, [bare.get(type(x), lambda x: x)(x) for x in arguments])


def _signed(node: Node, sign: int) -> Node:
    return node if sign > 0 else linear.scale(node.shape, node, -1)


def _aside(step, arguments) -> list:
    """A step on what does not depend on the source."""
    values = [x.value if isinstance(x, Aside) else x for x in arguments]
    if any(isinstance(x, Aside) for x in arguments):
        return [Aside(out) for out in step.run(*values)]
    if any(isinstance(x, Tracer) for x in values):
        return step.run(*values)
    with jax.ensure_compile_time_eval():  # so that numbers stay known as such
        return step.run(*values)


def _curve(step, arguments) -> tuple[Signal | None, np.ndarray]:
    """The array that a result is a function of, if of one, and that function."""
    signals = [x for x in arguments if isinstance(x, Signal)]
    tops = [x if x.root is None else x.root for x in signals]
    numbers = [x for x in arguments if not isinstance(x, Signal)]
    alike = all(top is tops[0] for top in tops) and all(map(_is_number, numbers))
    if not alike or tops[0].node is None:
        return None, _POINTS
    points = _POINTS.astype(tops[0].node.dtype)

    def spread(x):
        return np.broadcast_to(np.ravel(x)[0], points.shape)

    def given(x):
        if isinstance(x, Signal):
            return points if x.root is None else x.curve
        return spread(x) if np.ndim(x) else x

    with jax.ensure_compile_time_eval():
        (curve,) = step.run(*map(given, arguments))
    return tops[0], np.asarray(curve)


def _is_number(x) -> bool:
    """Whether an array is known and is one number everywhere."""
    known = not isinstance(x, Aside | Tracer)
    return known and np.size(x) > 0 and bool((np.asarray(x) == np.ravel(x)[0]).all())


def _direction(curve: np.ndarray) -> int:
    """1 for a function that rises, no faster than a line and but for a dip.

    -1 for one that falls; 0 for any other, as those that turn back or explode.
    """
    steps = np.diff(curve.astype(np.float64))
    up, down = steps.clip(0).sum(), (-steps).clip(0).sum()
    far, near = abs(curve[-1] - curve[0]), abs(curve[-2] - curve[1])
    if not np.isfinite(curve).all() or far > 2.5 * near:
        return 0
    return int(up > 10 * down) - int(down > 10 * up)


def _is_real(x) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)
