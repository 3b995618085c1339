"""How many weights go: amounts as exact numbers.

One rule for every number: of `alive` weights a fraction `p` removes `p * alive`,
rounded half to even, with `p` read as the decimal it is written as (0.2 is 1/5, not the
double beside it). It holds at any size: nothing is counted in floating point.
"""

import numbers
import operator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from sparsejax import checks, masks, trees

# A float, an integer or a `Fraction`; others are refused here, in one wording.
Amount = Any


def kept_count(alive: int, fraction: Amount) -> int:
    """How many of `alive` weights stay when `fraction` of them is removed.

    Raises:
        ValueError: if `fraction` is no number in [0, 1).

    Example:
        >>> kept_count(10, 0.25), kept_count(14, 0.25)  # half to even: 7.5 -> 8
        (8, 10)
    """
    alive = operator.index(alive)
    return alive - round(alive * exact(fraction))


def exact(fraction: Amount) -> Fraction:
    """A fraction to remove, to nine digits.

    Raises:
        ValueError: if it is no number in [0, 1).
    """
    whole = decimal(fraction, "a fraction to remove", "[0, 1)")
    # Nine digits fit the integer arithmetic of the traced form.
    rounded = whole.limit_denominator(10**9)
    if not 0 <= whole < 1 or rounded == 1:
        raise ValueError(f"a fraction to remove must be in [0, 1), got {fraction}")
    return rounded


def decimal(amount: Amount, name: str, within: str = "the reals") -> Fraction:
    """A number as the decimal it is written as.

    Args:
        amount: a float, an integer or a `Fraction`.
        name: what it is.
        within: where it must be, for an error message.

    Raises:
        ValueError: if it is no finite number, or not known yet.
    """
    if isinstance(amount, Tracer):
        raise ValueError(
            f"{name} must be a number that is known, not one that jit or vmap traces"
        )
    if isinstance(amount, jax.Array | np.ndarray) and not amount.ndim:
        amount = np.asarray(amount)[()]
    floating = isinstance(amount, np.generic) and jnp.issubdtype(
        amount.dtype, np.floating
    )
    known = isinstance(amount, numbers.Real | Decimal) or floating
    if isinstance(amount, bool) or not known:
        raise ValueError(f"{name} must be a number, got {checks.described(amount)}")
    try:
        return Fraction(str(amount))
    except ValueError:
        raise ValueError(f"{name} must be in {within}, got {amount}") from None


def portion(count: jax.Array, fraction: Fraction) -> jax.Array:
    """`count * fraction` rounded half to even, in int32 without overflow."""
    top, bottom = fraction.numerator, fraction.denominator
    whole, rest = count // bottom, count % bottom
    quotient, over = jnp.zeros_like(count), jnp.zeros_like(count)

    def carry(quotient, over):
        full = (over >= bottom).astype(jnp.int32)
        return quotient + full, over - bottom * full

    # count * top = quotient * bottom + over, one binary digit of `top` at a time
    for digit in bin(top)[2:]:
        quotient, over = carry(2 * quotient, 2 * over)
        if digit == "1":
            quotient, over = carry(quotient + whole, over + rest)
    half = 2 * over
    up = (half > bottom) | ((half == bottom) & (quotient % 2 == 1))
    return quotient + up.astype(jnp.int32)


def erk(mask: PyTree, density: Amount, *, power: Amount = 1) -> dict[str, Fraction]:
    """Fractions that leave every layer its Erdős-Rényi-kernel density.

    A leaf of shape `(..., in, out)` gets density `min(1, scale * (sum of its axes /
    product of its axes) ^ power)`, with `scale` such that all leaves together keep
    `density`. Each leaf's count is rounded half to even, to no less than one.

    Args:
        mask: the mask that the fractions are for; leaves need at least two axes.
        density: wanted over all prunable weights, in (0, 1].
        power: 1 for ERK, 0 for the same density everywhere.

    Returns:
        `{path: fraction}` for `remove(scores, mask, 0, scope=...)`. A leaf that keeps
        less already is left alone.

    Raises:
        ValueError: for a density out of range, a leaf of one axis, and inside `jit`.

    Example:
        >>> fractions = erk({"a": jnp.ones((2, 2)), "b": jnp.ones((10, 10))}, 0.52)
        >>> {path: float(fraction) for path, fraction in fractions.items()}  # to remove
        {'a': 0.0, 'b': 0.5}

    Reference:
        Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery: Making All Tickets
        Winners", 2019, arXiv:1911.11134.
    """
    whole, exponent = decimal(density, "density", "(0, 1]"), decimal(power, "power")
    if not 0 < whole <= 1:
        raise ValueError(f"density must be in (0, 1], got {density}")
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(mask)):
        raise ValueError("erk counts what a mask keeps: call it outside jit and vmap")
    full = {k: m for k, m in trees.by_path(mask).items() if jnp.ndim(m) and m.size}
    if flat := [k for k, m in full.items() if m.ndim < 2]:
        raise ValueError(f"erk needs kernels; {trees.listed(flat)} have one axis")
    raw = {k: Fraction(Fraction(sum(m.shape), m.size) ** exponent)
           for k, m in full.items()}  # fmt: skip
    budget = whole * sum(m.size for m in full.values())
    dense: set[str] = set()
    scale = Fraction(1)
    while True:
        rest = [k for k in full if k not in dense]
        if not rest:
            break
        spent = sum(full[k].size for k in dense)
        scale = (budget - spent) / sum(raw[k] * full[k].size for k in rest)
        over = {k for k in rest if scale * raw[k] > 1}
        if not over:
            break
        dense |= over
    alive = masks.counts(mask)
    target = {k: 1 if k in dense else scale * raw[k] for k in full}
    goal = {k: max(round(target[k] * full[k].size), 1) for k in full}
    kept = {k: min(goal[k], alive[k]) for k in full}
    return {k: Fraction(alive[k] - kept[k], alive[k] or 1) for k in full}
