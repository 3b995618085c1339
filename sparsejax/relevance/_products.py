"""Products: of an array with constants, and of two that both depend on the input.

With one such factor the multiplier is the transpose's. Of two, B(u, v) is bilinear:

    gradient   Q(u) = B(., v)' Q,   Q(v) = B(u, .)' Q
    uniform    half of each: R(u) = R(v) = R / 2; against a baseline
               B(u, v) - B(u0, v0) = B(u - u0, (v + v0) / 2) + B((u + u0) / 2, v - v0)
    detach     Q(u) = B(., v)' Q, nothing for the factor v that weighs.

A quotient is the product with 1 / v.

Papers: Achtibat et al., "AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for
Transformers", 2024 (arXiv 2402.05602; uniform); Ali et al., "XAI for Transformers:
Better Explanations through Conservative Propagation", 2022 (arXiv 2202.07304; detach).
"""

import jax
import jax.numpy as jnp

from sparsejax.interpret import primitives as families
from sparsejax.relevance import _convolutions as convolutions
from sparsejax.relevance._nodes import Entry, Node, baseline, value
from sparsejax.relevance._rules import Mode

# Products that layers are made of, with the kinds of these layers.
WEIGHTED = {"dot_general": "dense", "conv_general_dilated": "conv"}
KNOWN = families.SCALINGS | WEIGHTED.keys()


def pass_back(entry: Entry, mode: Mode, q) -> list:
    """Multipliers of the operands of a product; None where they get nothing."""
    data = entry.of("data", "stopped") if mode.compared else entry.of("data")
    result: list = [None] * len(entry.inputs)
    if len(data) < 2:
        for i in data or entry.of("param", "stopped"):
            result[i] = _transposed(entry, i, [value(x) for x in entry.inputs], q)
        return result
    if mode.product == "detach":
        kept = _kept(entry)
        if kept is not None:
            result[kept] = _transposed(entry, kept, list(map(value, entry.inputs)), q)
            return result
    scale = 1.0 if mode.product == "gradient" else 0.5
    if entry.step.name == "div":
        return [scale * part for part in _quotient(entry, mode, q)]
    operands = [value(x) for x in entry.inputs]
    if mode.compared and mode.product != "gradient":  # 2 x the midpoints
        operands = [value(x) + baseline(x) for x in entry.inputs]
    return [scale * _transposed(entry, i, operands, q) for i in (0, 1)]


def difference(entry: Entry):
    """B(u, v) - B(u0, v0), of the differences of the factors that have one."""
    data = entry.of("data", "stopped")
    step, u, v = entry.step, *entry.inputs
    if len(data) == 1:
        (i,) = data
        return step.run(
            *(x.delta if j == i else value(x) for j, x in enumerate((u, v)))
        )[0]
    if step.name == "div":
        parts = _halfway(u, v)
        return sum(x.delta * part / 2 for x, part in zip((u, v), parts, strict=True))

    def both(x):
        return value(x) + baseline(x)

    return (step.run(u.delta, both(v))[0] + step.run(both(u), v.delta)[0]) / 2


def _halfway(u, v):
    """Twice the midpoints' multipliers of u / v."""
    (u, u0), (v, v0) = ((value(x), baseline(x)) for x in (u, v))
    return 1 / v + 1 / v0, -(u + u0) / (v * v0)


def _quotient(entry: Entry, mode: Mode, q) -> list:
    """Twice the midpoints' multipliers of u / v, or the derivatives."""
    u, v = map(value, entry.inputs)
    if mode.compared and mode.product != "gradient":
        parts = [q * part for part in _halfway(*entry.inputs)]
    elif mode.product == "gradient":
        parts = q / v, -q * u / v**2
    else:  # half of the relevance each, whatever v would be at zero
        parts = q / v, q * u / v**2
    return [fold(part, jnp.shape(x)) for part, x in zip(parts, (u, v), strict=True)]


def _kept(entry: Entry) -> int | None:
    """The factor that is not detached, if one weighs the other."""
    if entry.step.name == "div":
        return 0
    gates = [isinstance(x, Node) and x.gate for x in entry.inputs]
    return gates.index(False) if sum(gates) == 1 else None


def _transposed(entry: Entry, i: int, operands: list, q):
    """The transpose in operand i of a product with the other operands."""
    step, other = entry.step, operands[1 - i]
    shape = jnp.shape(value(entry.inputs[i]))
    if step.name in ("mul", "div"):
        return fold(q * other if step.name == "mul" else q / other, shape)

    like = jax.ShapeDtypeStruct(shape, jnp.result_type(operands[i]))
    return transpose(step, i, other, q, like)


def transpose(step, i: int, other, q, like):
    """The transpose in operand i of a matrix product or convolution."""
    if i == 0 and convolutions.is_narrow(step, other):
        return convolutions.transpose(step, other, q, like)

    def run(x):
        return step.run(*([x, other] if i == 0 else [other, x]))[0]

    return jax.linear_transpose(run, jax.ShapeDtypeStruct(like.shape, like.dtype))(q)[0]


def fold(q, shape: tuple[int, ...]):
    """Sum over the axes along which an operand of this shape was repeated."""
    if jnp.shape(q) == shape:
        return q
    if not shape:
        return jnp.sum(q)
    axes = [i for i, n in enumerate(shape) if n == 1 and jnp.shape(q)[i] != 1]
    return jnp.sum(q, axis=tuple(axes), keepdims=True)
