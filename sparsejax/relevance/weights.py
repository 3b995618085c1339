"""Layer rules at work: how the relevance of z = s P(W a) + c reaches a and c.

Multipliers are propagated, Q = R / a, so that nothing is divided by an activation. In
the epsilon rule nothing is divided at all: with z / (z + eps sgn z) = |z| / (|z| + eps)
it is Q(a) = W' (|z| / (|z| + eps) Q(z)), and R eps / (|z| + eps) is absorbed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sparsejax.relevance.layers import Layer, through_weights
from sparsejax.relevance.rules import Kernel, LayerRule


class Passed(NamedTuple):
    """What a layer passes back.

    Attributes:
        multiplier: of the input, for what follows its values.
        direct: relevance of the input that does not follow its values, or None.
        constant: multiplier of c.
        absorbed: relevance that the epsilon keeps, summed.
        edges: relevance through each weight, if asked for.
    """

    multiplier: Any
    direct: Any
    constant: Any
    absorbed: Any
    edges: Any


def damp(z, eps: float, q):
    """The epsilon rule's multiplier before the layer, and what it absorbs."""
    size = jnp.abs(z)
    damped = q * (size / (size + eps))
    return damped, eps * jnp.sum(jnp.sign(z) * damped)


def pass_back(
    layer: Layer, rule: LayerRule, q, compared: bool, with_edges: bool
) -> Passed:
    """Split the relevance z q of a layer's output by a rule of groups."""
    a, z = layer.input.delta, layer.output.delta
    sums = _Sums(layer, a, z, compared)
    multiplier, direct = jnp.zeros_like(a), None
    constant, kept = jnp.zeros_like(z), jnp.zeros_like(z)
    edges = jnp.zeros_like(layer.kernel) if with_edges else None
    for group in rule.groups:
        weight = group.weight(z)
        parts = [p for p in group.parts if not sums.is_empty(p.inputs)]
        shifts = sum(part.constant(sums.constant) for part in group.parts)
        total = sum(sums.of(p.inputs, p.kernel) for p in parts) + shifts * sums.constant
        blip = total + jnp.where(total >= 0, rule.epsilon, -rule.epsilon)
        safe = blip != 0
        share = jnp.where(safe, weight * z * q / jnp.where(safe, blip, 1), 0)
        kept += weight * z * q - share * total
        constant += shifts * share
        for part in parts:
            back = sums.transposed(part.kernel, share)
            if callable(part.inputs):
                direct = (0 if direct is None else direct) + part.inputs(a) * back
            else:
                multiplier += sums.gate(part.inputs) * back
            if with_edges:
                edges += sums.edges(part.inputs, part.kernel, share)
    return Passed(multiplier, direct, constant, jnp.sum(kept), edges)


class _Sums:
    """The sums of a layer over parts of its inputs, each computed once."""

    def __init__(self, layer: Layer, a, z, compared: bool):
        self.layer, self.a, self.z = layer, a, z
        self.scale = layer.scale()
        self.constant = layer.constant(compared)
        self.one_sided = layer.input.nonnegative and not compared
        self._known: dict = {}

    def is_empty(self, inputs) -> bool:
        return inputs == "negative" and self.one_sided

    def gate(self, inputs: str):
        if inputs == "all" or self.one_sided:
            return 1
        right = self.a > 0 if inputs == "positive" else self.a < 0
        return right.astype(self.a.dtype)

    def level(self, inputs):
        """p(a)."""
        return inputs(self.a) if callable(inputs) else self.gate(inputs) * self.a

    def of(self, inputs, kernel: Kernel):
        """sum_i p(a_i) g(w_ij), from z itself where it can be had."""
        up, down, degree = kernel
        if degree != 1 or callable(inputs) or up == 0 or down == 0:
            return self._compute(inputs, kernel)
        whole = self._compute(inputs, Kernel())
        if up == down:
            return up * whole
        return down * whole + (up - down) * self._compute(inputs, Kernel(1.0, 0.0))

    def _compute(self, inputs, kernel: Kernel):
        if inputs == "positive" and self.one_sided:
            inputs = "all"
        if inputs == "all" and kernel == Kernel():
            return self.z - self.constant
        if (inputs, kernel) not in self._known:
            result = self._linear(kernel)(self.level(inputs))
            self._known[inputs, kernel] = result
        return self._known[inputs, kernel]

    def _linear(self, kernel: Kernel):
        """a -> sum_i a_i g(w_ij), w being the kernel times the scale."""
        return lambda a: self._scaled(kernel, lambda k: self.layer.product(a, k))

    def _scaled(self, kernel: Kernel, product):
        w, s = self.layer.kernel, self.scale
        if s is None or kernel.degree == 0:
            return product(_transform(kernel, w))
        if kernel.degree == 2 or kernel.positive == kernel.negative:
            return s**kernel.degree * product(_transform(kernel, w))
        turned = kernel._replace(positive=kernel.negative, negative=kernel.positive)
        same, other = (product(_transform(k, w)) for k in (kernel, turned))
        return s * jnp.where(s >= 0, same, other)

    def transposed(self, kernel: Kernel, q):
        like = jax.ShapeDtypeStruct(jnp.shape(self.a), self.a.dtype)
        return jax.linear_transpose(self._linear(kernel), like)(q)[0]

    def edges(self, inputs, kernel: Kernel, q):
        """sum over places of p(a_i) g(w_ij) q_j, of the kernel's shape."""
        level, w, s = self.level(inputs), self.layer.kernel, self.scale
        run = lambda kernel: self.layer.product(level, kernel)
        through = lambda k, q: through_weights(run, _transform(k, w), q)
        if s is None or kernel.degree == 0:
            return through(kernel, q)
        if kernel.degree == 2 or kernel.positive == kernel.negative:
            return through(kernel, s**kernel.degree * q)
        turned = kernel._replace(positive=kernel.negative, negative=kernel.positive)
        on = s >= 0
        same = through(kernel, jnp.where(on, s * q, 0))
        return same + through(turned, jnp.where(on, 0, s * q))


def _transform(kernel: Kernel, w):
    """g(w) before any scaling."""
    if kernel.degree == 0:
        return jnp.ones_like(w)
    if kernel.degree == 2:
        return jnp.square(w)
    up, down = kernel.positive, kernel.negative
    if up == down:
        return up * w
    return jnp.where(w >= 0, up * w, down * w)
