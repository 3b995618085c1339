"""Layer rules at work: how the relevance of z = s P(W a) + c reaches a and c.

Multipliers are propagated, Q = R / a, so that nothing is divided by an activation. In
the epsilon rule nothing is divided at all: with z / (z + eps sgn z) = |z| / (|z| + eps)
it is Q(a) = W' (|z| / (|z| + eps) Q(z)), and R eps / (|z| + eps) is absorbed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sparsejax.relevance._layers import Layer, through_weights
from sparsejax.relevance._rules import Kernel, LayerRule, Part


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


def damp(z, eps: float, q, positive: bool):
    """The epsilon rule's multiplier before the layer, and what it absorbs.

    `positive`: whether q is 0 wherever z is not positive, so that no signs are needed
    (and z need not be kept: a good part of the time on a CPU).
    """
    size = jnp.abs(z)
    damped = q * (size / (size + eps))
    return damped, eps * jnp.sum(damped if positive else jnp.sign(z) * damped)


def pass_back(
    layer: Layer, rule: LayerRule, q, compared: bool, gated: bool, with_edges: bool
) -> Passed:
    """Split the relevance z q of a layer's output by a rule of groups.

    `gated`: whether q is 0 wherever z is not positive.
    """
    a, z = layer.input.delta, layer.output.delta
    sums = _Sums(layer, a, z, compared)
    multiplier, direct = jnp.zeros_like(a), None
    constant, absorbed = jnp.zeros_like(z), jnp.zeros((), z.dtype)
    edges = jnp.zeros_like(layer.kernel) if with_edges else None
    for group in rule.groups:
        if gated and group.sign < 0:
            continue
        parts = [p for p in group.parts if not sums.is_empty(p.inputs)]
        alike = parts and len({part.kernel.degree for part in parts}) == 1
        whole = alike and layer.can_join
        bundles = [parts] if whole else [[part] for part in parts]
        shifts = sum(part.constant(sums.constant) for part in group.parts)
        total = sum(map(sums.of, bundles)) + shifts * sums.constant
        certain = gated and group.sign > 0 and rule.epsilon > 0
        share, lost = _share(group.weight(z) * z * q, total, rule.epsilon, certain)
        absorbed += lost
        constant += shifts * share
        backs = [back for bundle in bundles for back in sums.transposed(bundle, share)]
        for part, back in zip(parts, backs, strict=True):
            if callable(part.inputs):
                direct = (0 if direct is None else direct) + part.inputs(a) * back
            else:
                multiplier += sums.gate(part.inputs) * back
            if with_edges:
                edges += sums.edges(part.inputs, part.kernel, share)
    return Passed(multiplier, direct, constant, absorbed, edges)


def _share(relevance, total, eps: float, certain: bool):
    """Relevance / blip(total), and what the epsilon absorbs.

    `certain`: whether the total is not negative where there is relevance; each array
    of a layer's size that is not needed is a good part of the time on a CPU.
    """
    if certain:
        share = relevance / (total + eps)
        return share, eps * jnp.sum(share)
    extra = jnp.where(total >= 0, eps, -eps)
    empty = total == 0  # nothing to give it to: all is absorbed
    share = relevance / jnp.where(empty, 1, total + extra)
    absorbed = jnp.sum(share * jnp.where(empty, 1, extra))
    return jnp.where(empty, 0, share), absorbed


class _Sums:
    """The sums of a layer over parts of its inputs.

    Several parts are one product, of their inputs side by side with their kernels.
    """

    def __init__(self, layer: Layer, a, z, compared: bool):
        self.layer, self.a, self.z = layer, a, z
        self.scale = layer.scale()
        self.constant = layer.constant(compared)
        self.one_sided = layer.input.nonnegative and not compared

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

    def of(self, parts: Sequence[Part]):
        """sum of p(a_i) g(w_ij) over parts, from z itself where it can be had."""
        levels = [self.level(part.inputs) for part in parts]
        if len(parts) > 1 or callable(parts[0].inputs):
            return self._linear(parts)(levels)
        inputs, (up, down, degree), _ = parts[0]
        some = inputs != "all" and not self.one_sided
        if some or degree != 1 or not up * down:
            return self._linear(parts)(levels)
        whole = self.z - self.constant
        if up == down:
            return up * whole
        positive = [Part(inputs, Kernel(1.0, 0.0))]
        return down * whole + (up - down) * self._linear(positive)(levels)

    def transposed(self, parts: Sequence[Part], q) -> list:
        """For each part the multipliers of its p(a)."""
        kernels, finish = self._forms(parts)
        like = self.layer.entry.outputs[0].value
        like = [jax.ShapeDtypeStruct(like.shape, like.dtype) for _ in kernels]
        pairs = zip(kernels, jax.linear_transpose(finish, *like)(q), strict=True)
        shape = jax.eval_shape(self._beside, [self.a for _ in parts])
        back = sum(self.layer.transposed(kernel, u, shape) for kernel, u in pairs)
        levels = [jax.ShapeDtypeStruct(self.a.shape, self.a.dtype) for _ in parts]
        return jax.linear_transpose(self._beside, levels)(back)[0]

    def edges(self, inputs, kernel: Kernel, q):
        """sum over places of p(a_i) g(w_ij) q_j, of the kernel's shape."""
        level, w, s = self.level(inputs), self.layer.kernel, self.scale

        def run(kernel):
            return self.layer.product(level, kernel)

        def through(k, q):
            return through_weights(run, _transform(k, w), q)

        if s is None or kernel.degree == 0:
            return through(kernel, q)
        if kernel.degree == 2 or kernel.positive == kernel.negative:
            return through(kernel, s**kernel.degree * q)
        on = s >= 0
        same = through(kernel, jnp.where(on, s * q, 0))
        return same + through(_turned(kernel), jnp.where(on, 0, s * q))

    def _linear(self, parts: Sequence[Part]):
        """levels -> sum of level_i g(w_ij), w being the kernel times the scale."""
        kernels, finish = self._forms(parts)

        def run(levels):
            levels = self._beside(levels)
            return finish(*(self.layer.bare_product(levels, k) for k in kernels))

        return run

    def _beside(self, levels: list):
        return self.layer.side_by_side(levels, 0)

    def _forms(self, parts: Sequence[Part]):
        """g(w_ij) of all parts, before scaling, and what to make of the products."""
        w, s = self.layer.kernel, self.scale
        form = [part.kernel for part in parts]
        (degree,) = {kernel.degree for kernel in form}
        even = degree == 2 or all(k.positive == k.negative for k in form)
        once = s is None or degree == 0 or even
        forms = [form] if once else [form, [_turned(kernel) for kernel in form]]
        kernels = [
            self.layer.side_by_side([_transform(kernel, w) for kernel in form], 1)
            for form in forms
        ]

        def finish(same, other=None):
            same = self.layer.moved(same)
            if s is None or degree == 0:
                return same
            if other is None:
                return s**degree * same
            return s * jnp.where(s >= 0, same, self.layer.moved(other))

        return kernels, finish


def _turned(kernel: Kernel) -> Kernel:
    """The same of a weight whose sign is turned."""
    return kernel._replace(positive=kernel.negative, negative=kernel.positive)


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
