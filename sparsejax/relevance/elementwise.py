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

from sparsejax.relevance.nodes import Entry, Node, value
from sparsejax.relevance.rules import Mode
from sparsejax.relevance.structure import span


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


def pass_back(
    entry: Entry, mode: Mode, q: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."] | None]:
    """The source's multiplier, and the relevance of the constant f(0)."""
    f, source = function(entry)
    a, b = source.delta, entry.outputs[0].delta
    rectified = entry.rectifier and len(span(entry)) == 1
    # a vjp, so that functions with a custom one pass
    at = lambda place: jax.vjp(f, place)[1](jnp.ones_like(b))[0]
    if rectified:
        at = lambda place: (place > 0).astype(a.dtype)
    derivative = lambda: at(source.value)
    middle = lambda: at(source.value - a / 2)
    slope, constant = lambda: _ratio(b, a, _size(entry), middle), None
    if rectified and not mode.compared:
        slope = derivative  # relu(a) / a, and 0 at 0
    rule = mode.nonlinear
    if rule == "guided":
        rule = "guided" if rectified else "gradient"
    if rule == "slope" and not mode.compared and not rectified:
        zero = f(jnp.zeros_like(a))
        zero = jnp.where(jnp.isfinite(zero), zero, 0)  # log, 1 / a: all of it is a's
        constant = zero * q
        slope = lambda: _ratio(b - zero, a, jnp.abs(b) + jnp.abs(zero), middle)
    if mode.matrix == "gradient":
        return _on_multipliers(rule, f, slope, derivative, q), constant
    keeps = slope() if constant is None else _ratio(b, a, jnp.abs(b), middle)
    if rule == "ignore":
        return keeps * q, None
    if rule in ("gradient", "slope"):
        return (derivative() if rule == "gradient" else slope()) * keeps * q, None
    # the function of the relevance that arrives, R(a) = f(R(b))
    arrived = f(b * q)
    if rule == "guided":
        arrived = arrived * derivative()
    return _ratio(arrived, a, jnp.zeros_like(a), lambda: jnp.zeros_like(a)), None


def _on_multipliers(rule, f, slope, derivative, q):
    if rule == "ignore":
        return q
    if rule == "gradient":
        return derivative() * q
    if rule == "slope":
        return slope() * q
    return f(q) * (derivative() if rule == "guided" else 1)


def _size(entry: Entry):
    """The scale of the rounding of a difference of results."""
    (out,) = entry.outputs
    size = jnp.abs(out.value)
    return size if out.baseline is None else size + jnp.abs(out.baseline)


def _ratio(top, bottom, size, otherwise: Callable):
    """top / bottom, or the derivative halfway where that is as good.

    Where `top` is a difference of numbers of this size its rounding, over a small
    `bottom`, is all there is; what agrees with the derivative up to that, is it.
    """
    far = bottom != 0
    safe = jnp.where(far, bottom, 1)
    ratio, slope = top / safe, otherwise()
    noise = 8 * jnp.finfo(top.dtype).eps * size / jnp.abs(safe)
    return jnp.where(far & (jnp.abs(ratio - slope) > noise), ratio, slope)
