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

# Closer to its reference than this, a quotient gives way to the derivative.
TINY = 1e-10


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
    slope, constant = lambda: _ratio(b, a, derivative), None
    if rectified:
        derivative = lambda: (source.value > 0).astype(a.dtype)
        if not mode.compared:
            slope = derivative  # relu(a) / a, and 0 at 0
    else:
        derivative = lambda: jax.jvp(f, (source.value,), (jnp.ones_like(a),))[1]
    rule = mode.nonlinear
    if rule == "guided":
        rule = "guided" if rectified else "gradient"
    if rule == "slope" and not mode.compared and not rectified:
        zero = f(jnp.zeros_like(a))
        zero = jnp.where(jnp.isfinite(zero), zero, 0)  # log, 1 / a: all of it is a's
        constant = zero * q
        slope = lambda: _ratio(b - zero, a, derivative)
    if mode.matrix == "gradient":
        return _on_multipliers(rule, f, slope, derivative, q), constant
    keeps = slope() if constant is None else _ratio(b, a, derivative)
    if rule == "ignore":
        return keeps * q, None
    if rule in ("gradient", "slope"):
        return (derivative() if rule == "gradient" else slope()) * keeps * q, None
    # the function of the relevance that arrives, R(a) = f(R(b))
    arrived = f(b * q)
    if rule == "guided":
        arrived = arrived * derivative()
    return _ratio(arrived, a, lambda: jnp.zeros_like(a)), None


def _on_multipliers(rule, f, slope, derivative, q):
    if rule == "ignore":
        return q
    if rule == "gradient":
        return derivative() * q
    if rule == "slope":
        return slope() * q
    return f(q) * (derivative() if rule == "guided" else 1)


def _ratio(top, bottom, otherwise: Callable):
    """top / bottom; the derivative where the bottom is close to 0."""
    far = jnp.abs(bottom) >= TINY
    return jnp.where(far, top / jnp.where(far, bottom, 1), otherwise())
