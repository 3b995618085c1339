"""Multipliers of a function of each element, b = f(a).

With Q = R / a: the gradient rule is Q(a) = f'(a) Q(b), the slope rule (f(a) - f(0)) / a
Q(b), the rest of f on the constant f(0); against a baseline the slope is the secant
(f(a) - f(a0)) / (a - a0). Both are exact where a function is linear on that stretch.

Papers: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013
(arXiv 1311.2901; repeat); Springenberg et al., "Striving for Simplicity: The All
Convolutional Net", 2014 (arXiv 1412.6806; guided); Shrikumar et al., "Learning
Important Features Through Propagating Activation Differences", 2017 (arXiv 1704.02685;
secant).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax.relevance._nodes import Entry, Node, value
from sparsejax.relevance._rules import Mode
from sparsejax.relevance._structure import span


def function(entry: Entry) -> tuple[Callable, Node]:
    """What an entry computes of its source, and the source."""
    source = entry.source
    assert source is not None, "only nonlinear steps have a source"
    steps = span(entry)

    def run(a):
        values = {source: a}
        for one in steps:
            given = [
                values.get(x, value(x)) if isinstance(x, Node) else x
                for x in one.inputs
            ]
            values.update(zip(one.outputs, one.step.run(*given), strict=True))
        return values[entry.outputs[0]]

    return run, source


def against(entry: Entry) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """What the function is of the baseline, and its slope from there."""
    f, source = function(entry)
    other, b, a = f(source.baseline), entry.outputs[0].value, source.delta
    middle = _derivative(entry, f)(source.value - a / 2)
    size = jnp.abs(b) + jnp.abs(other) + jnp.abs(source.value * middle)
    return other, _ratio(b - other, a, size, middle)


def pass_back(
    entry: Entry, mode: Mode, q: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."] | None]:
    """The source's multiplier, and the relevance of the constant f(0)."""
    f, source = function(entry)
    a, b = source.delta, entry.outputs[0].delta
    at = _derivative(entry, f)
    derivative, middle = lambda: at(source.value), lambda: at(source.value - a / 2)

    def whole():
        return _ratio(b, a, jnp.abs(b), middle())  # b / a

    slope, constant, rule = whole, None, mode.nonlinear
    if mode.compared:
        slope = whole = lambda: entry.slope
    elif _is_rectifier(entry):
        slope = whole = derivative  # relu(a) / a, and 0 at 0
    elif rule == "slope":
        zero = f(jnp.zeros_like(a))
        zero = jnp.where(jnp.isfinite(zero), zero, 0)  # log, 1 / a: all of it is a's
        constant = zero * q

        def slope():
            return _ratio(b - zero, a, jnp.abs(b) + jnp.abs(zero), middle())

    if rule == "guided":
        rule = "guided" if _is_rectifier(entry) else "gradient"
    if mode.matrix == "gradient":
        return _on_multipliers(rule, f, slope, derivative, q), constant
    if rule == "ignore":
        return whole() * q, None
    if rule in ("gradient", "slope"):
        return (derivative() if rule == "gradient" else slope()) * whole() * q, None
    # the function of the relevance that arrives, R(a) = f(R(b))
    arrived = f(b * q)
    if rule == "guided":
        arrived = arrived * derivative()
    return _ratio(arrived, a, jnp.zeros_like(a), jnp.zeros_like(a)), None


def _on_multipliers(rule, f, slope, derivative, q):
    if rule == "ignore":
        return q
    if rule == "gradient":
        return derivative() * q
    if rule == "slope":
        return slope() * q
    return f(q) * (derivative() if rule == "guided" else 1)


def _is_rectifier(entry: Entry) -> bool:
    """Whether the function is a ReLU, and nothing before it."""
    return entry.rectifier and len(span(entry)) == 1


def _derivative(entry: Entry, f: Callable) -> Callable:
    """f', by a vjp, so that functions with a custom one pass; of ReLUs 0 at 0."""
    if _is_rectifier(entry):
        return lambda place: (place > 0).astype(place.dtype)

    def at(place):
        b, back = jax.vjp(f, place)
        return back(jnp.ones_like(b))[0]

    return at


def _ratio(top, bottom, size, slope):
    """top / bottom, or the slope there where that is as good.

    Where `top` is a difference of numbers of this size its rounding, over a small
    `bottom`, is all there is; what agrees with the derivative up to that, is it.
    """
    far = bottom != 0
    safe = jnp.where(far, bottom, 1)
    ratio = top / safe
    noise = 8 * jnp.finfo(top.dtype).eps * size / jnp.abs(safe)
    alike = jnp.abs(ratio - slope) <= noise  # of a NaN not, so that it shows
    return jnp.where(far & ~alike, ratio, slope)
