"""The linear map between two activations of a function, read off its own steps.

Sums, moves and products with what does not depend on the input are linear as they are,
and what they add is left out. A function of each element that rises (ReLU, gelu, tanh)
reads as the identity, one that falls as minus it; several steps on the same array, as
in `x * sigmoid(x)`, are one such function, found by its values at a few numbers. The
maximum over a window or over axes reads as the mean. Anything else, a softmax or a
product of two activations, has no linear reading; only where it lies on a path between
the two activations is that an error, which names the step.

How weights act is an algebra: as they are, split by sign, or counted.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from sparsejax import interpret
from sparsejax.weights.algebra import Algebra

_LINEAR = frozenset(
    "reshape transpose broadcast_in_dim squeeze expand_dims slice pad rev concatenate "
    "split stack unstack gather dynamic_slice dynamic_update_slice scatter scatter-add "
    "copy copy_p reduce_sum cumsum reduce_window_sum reduce_precision tile select_n "
    "convert_element_type".split()
)
_SAME = frozenset("name stop_gradient optimization_barrier".split())
_BOUNDS = frozenset("max min clamp".split())
_ELEMENTWISE = _BOUNDS | frozenset(
    "add add_any sub neg mul div select_n convert_element_type abs sign tanh logistic "
    "exp exp2 expm1 log log1p sqrt rsqrt cbrt square integer_pow pow sin cos tan sinh "
    "cosh asin acos atan asinh acosh atanh erf erfc round floor ceil is_finite eq ne "
    "lt le gt ge and or xor not copy copy_p reduce_precision".split()
)
# Where functions of each element are looked at, from -64 to 64.
_POINTS = np.ldexp(np.float32(1), np.arange(-1, 7))
_POINTS = np.concatenate([-_POINTS[::-1], _POINTS])


class Signal(NamedTuple):
    """An array that depends on the source.

    Attributes:
        parts: its linear reading, a tuple of one array for each part of the algebra;
            None if it has none.
        root: the array that it is a function of, element by element.
        curve: the values of that function at `_POINTS`.
        why: what has no reading.
    """

    parts: Any
    root: "Signal | None"
    curve: np.ndarray
    why: str = ""


class Aside(NamedTuple):
    """An array that depends on the input, but not on the source."""

    value: Any


class Found(NamedTuple):
    """What the source feeds.

    Attributes:
        target: a `Signal`, or None if no path leads there.
        before: whether the target was computed before the source.
        fed: names of what the source feeds.
    """

    target: Signal | None
    before: bool
    fed: list[str]


def read(
    fn: Callable,
    params,
    x,
    source: str | None,
    target: str | None,
    algebra: Algebra,
    parts: tuple,
    cut: str | None = None,
) -> Found:
    """Follow `parts` from the source to the target.

    Args:
        fn: of one example, `fn(params, x)`.
        params: its parameters.
        x: any example: only its shape and dtype matter.
        source: an activation's name; None for x.
        target: an activation's name; None for the output.
        algebra: how weights act.
        parts: arrays of the source's shape.
        cut: an activation that lets nothing through.
    """
    program = interpret.trace(lambda x: fn(params, x), x)
    reader = _Reader(source, target, cut, algebra, parts)
    start = root(parts) if source is None else Aside(program.inputs[0])
    outputs = interpret.walk(program, [start], reader.rule)
    if target is None:
        reader.target = outputs[0]
    found = reader.target if isinstance(reader.target, Signal) else None
    return Found(found, reader.before, reader.fed)


def root(parts: tuple) -> Signal:
    """An array that is no function of another."""
    return Signal(parts, None, _POINTS)


class _Reader:
    def __init__(self, source, target, cut, algebra: Algebra, parts: tuple):
        self.source, self.end, self.cut = source, target, cut
        self.product, self.parts = algebra.product, parts
        self.target: Any = None
        self.before = False
        self.fed: list[str] = []
        self.started = source is None

    def rule(self, step, arguments: list) -> list:
        if step.name == "name":
            return [self.named(step, arguments[0])]
        signals = [x for x in arguments if isinstance(x, Signal)]
        if step.enter and (signals or "name" in step.inner):
            return step.enter(arguments, self.rule)
        if not signals:
            return _aside(step, arguments)
        if step.name in _SAME:
            return arguments
        if step.name in _ELEMENTWISE:
            return [self.elementwise(step, arguments)]
        return self.linear(step, arguments)

    def named(self, step, value):
        name = step.params["name"]
        if name == self.source:
            value, self.started = root(self.parts), True
        elif isinstance(value, Signal):
            self.fed.append(name)
        if name == self.end:
            self.target, self.before = value, not self.started
        if name == self.cut and isinstance(value, Signal):
            return Aside(jnp.zeros(step.shape, step.dtype))
        return value

    def elementwise(self, step, arguments) -> Signal:
        """One step on every element: a linear one, or part of a function."""
        (made,) = self.linear(step, arguments)
        top, curve = _curve(step, arguments)
        if top is None:
            return made
        if made.parts is not None:
            return Signal(made.parts, top, curve)
        sign = _direction(curve) if jnp.issubdtype(step.dtype, jnp.floating) else 0
        parts = (None, top.parts, self.scaled(top.parts, -1))[sign]
        return Signal(parts, top, curve, made.why)

    def linear(self, step, arguments) -> list[Signal]:
        """A step that is linear, or reads as such, in what depends on the source."""
        signals = [x for x in arguments if isinstance(x, Signal)]
        why = next((x.why for x in signals if x.parts is None), "")
        found = why or self.outputs(step, arguments)
        if isinstance(found, list):
            return [root(parts) for parts in found]
        why = why or f"the step {step.name!r} at {step.place} {found}"
        return [Signal(None, None, _POINTS, why)] * len(step.shared[0])

    def outputs(self, step, arguments) -> list[tuple] | str:
        """Parts of each result, or what keeps them from being read."""
        name = step.name
        moving = [i for i, x in enumerate(arguments) if isinstance(x, Signal)]
        first = arguments[moving[0]].parts
        others = [x for x in arguments if not isinstance(x, Signal)]
        if name in ("add", "add_any", "sub", "neg"):
            return [self.sum(name, arguments)]
        if name in _BOUNDS:
            if len(moving) > 1 or any(isinstance(x, Aside) for x in others):
                return "compares two activations"
            return [first]
        if name in ("mul", "div", "dot_general", "conv_general_dilated"):
            if len(moving) > 1 or isinstance(others[0], Aside):
                return "multiplies or divides two activations"
            weights, side = jnp.asarray(others[0], first[0].dtype), moving[0]
            if name == "div" and side:
                return "divides by an activation"
            if name == "div":
                return [self.product(lambda w, x: x * w, 1 / weights, first)]
            run = lambda w, x: step.run(*((w, x) if side else (x, w)))[0]
            return [self.product(run, weights, first)]
        if name in ("reduce_max", "reduce_min"):
            axes = step.params["axes"]
            size = math.prod(first[0].shape[a] for a in axes)
            return [self.mean(lambda x: x.sum(axes), size, first)]
        if name in ("reduce_window_max", "reduce_window_min"):
            size = math.prod(step.params["window_dimensions"])
            return [self.mean(lambda x: _window_sums(x, step.params), size, first)]
        if name in ("scan", "while", "cond"):
            return "is a loop or a branch, which is not opened"
        if name not in _LINEAR or not jnp.issubdtype(step.dtype, jnp.floating):
            return "is neither linear nor an activation function"
        if any(isinstance(x, Aside) and not is_real(x.value) for x in others):
            return "chooses by what depends on the input"
        return self.moved(step, arguments)

    def sum(self, name: str, arguments) -> tuple:
        terms = []
        for i, x in enumerate(arguments):
            if isinstance(x, Signal):
                minus = name == "neg" or (name == "sub" and i == 1)
                terms.append(self.scaled(x.parts, -1) if minus else x.parts)
        return tuple(map(sum, zip(*terms, strict=True)))

    def scaled(self, parts, number: float | int) -> tuple:
        weight = jnp.asarray(number, parts[0].dtype)
        return self.product(lambda w, x: x * w, weight, parts)

    def mean(self, total: Callable, size: int, parts) -> tuple:
        weight = jnp.asarray(1 / size, parts[0].dtype)
        return self.product(lambda w, x: total(x) * w, weight, parts)

    def moved(self, step, arguments) -> list[tuple]:
        """The step on every part alone, zeros beside it."""

        def given(x, i):
            if isinstance(x, Signal):
                return x.parts[i]
            x = x.value if isinstance(x, Aside) else x
            return jnp.zeros_like(x) if is_real(x) else x

        count = len(self.parts)
        runs = [step.run(*(given(x, i) for x in arguments)) for i in range(count)]
        return list(zip(*runs, strict=True))


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
    if not alike or tops[0].parts is None:
        return None, _POINTS
    (like, *_) = tops[0].parts
    points = _POINTS.astype(like.dtype)
    spread = lambda x: np.broadcast_to(np.ravel(x)[0], points.shape)

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


def _window_sums(x, params):
    more = {k: params[k] for k in ("padding", "base_dilation", "window_dilation")}
    sizes = params["window_dimensions"], params["window_strides"]
    return jax.lax.reduce_window(x, np.zeros((), x.dtype), jax.lax.add, *sizes, **more)


def is_real(x) -> bool:
    """Whether an array is of real numbers."""
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)
