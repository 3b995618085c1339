"""Take the lowest scores away, in exact numbers.

One rule for every number: of `alive` weights a fraction `p` removes `p * alive`,
rounded half to even, with `p` read as the decimal it is written as (0.2 is 1/5, not the
double beside it). Among equal scores the lowest flat index goes first, leaves taken in
the order of the tree. Both hold at any size: nothing is counted in floating point.

On the host, NumPy's partition finds the threshold. Inside `jit` and `vmap` it is found
by bisection on the bits of the scores, which needs no sort: XLA's sorts are several
times slower (`benchmarks/README.md`).
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from sparsejax import masks, trees

Amount = float | int | Fraction
Scope = str | Mapping[str, Amount]


def remaining(alive: int, fraction: Amount) -> int:
    """How many of `alive` weights stay when `fraction` of them is removed.

    Example:
        >>> remaining(10, 0.25), remaining(14, 0.25)  # half to even: 2.5 -> 2, 3.5 -> 4
        (8, 10)
    """
    return alive - round(alive * _exact(fraction))


def remove(
    scores: PyTree,
    mask: PyTree,
    fraction: Amount,
    *,
    scope: Scope = "layer",
    allow_empty: bool = False,
) -> PyTree:
    """A new mask without the lowest-scored fraction of what `mask` keeps.

    Args:
        scores: tree of the structure of `mask`; higher = keep.
        mask: tree of 0/1 arrays, such as `Masks.weights` or `Masks.nodes`; 0-d leaves
            are never pruned.
        fraction: of the entries still kept, in [0, 1).
        scope: "layer" removes that fraction of every leaf; "global" ranks all leaves
            together; a dict from path to fraction sets single leaves, the others take
            `fraction`.
        allow_empty: let a leaf lose its last entry. Inside `jit` and `vmap`, where
            numbers are not known, neither this nor NaN is checked.

    Returns:
        A mask nested in `mask`, of the same structure and dtypes.

    Raises:
        ValueError: for a fraction outside [0, 1) (to nine digits), an unknown path,
            scores that do not fit or are NaN, and a leaf that would be emptied.
    """
    leaves, structure = jax.tree.flatten(mask)
    names = list(trees.by_path(mask))
    if jax.tree.structure(scores) != structure:
        raise ValueError(
            f"scores {trees.listed(trees.by_path(scores))} must have the structure of "
            f"the mask, {trees.listed(names)}"
        )
    ranked = jax.tree.leaves(scores)
    chosen = [i for i, leaf in enumerate(leaves) if jnp.ndim(leaf)]
    if not chosen:
        raise ValueError(
            f"no leaf of {trees.listed(names)} can be pruned: none has axes"
        )
    for i in chosen:
        if jnp.shape(ranked[i]) != leaves[i].shape:
            raise ValueError(
                f"scores of {names[i]!r} have shape {jnp.shape(ranked[i])}, "
                f"expected {leaves[i].shape}"
            )
    traced = any(isinstance(leaf, Tracer) for leaf in [*leaves, *ranked])
    keep = _keep_traced if traced else _keep_on_host
    fractions = _fractions(fraction, scope, [names[i] for i in chosen])
    groups = [chosen] if fractions is None else [[i] for i in chosen]
    new = list(leaves)
    for group, part in zip(groups, fractions or [_exact(fraction)], strict=True):
        kept = keep([ranked[i] for i in group], [leaves[i] for i in group], part)
        for i, leaf in zip(group, kept, strict=True):
            dtype = jax.dtypes.canonicalize_dtype(leaves[i].dtype)
            new[i] = jnp.asarray(leaf).astype(dtype)
    new_mask = jax.tree.unflatten(structure, new)
    if not traced and not allow_empty:
        check_not_emptied(mask, new_mask)
    return new_mask


def check_not_emptied(before: PyTree, after: PyTree) -> None:
    """Raise a `ValueError` that names the leaves that lost their last entry."""
    old, new = masks.counts(before), masks.counts(after)
    if lost := [name for name in new if old[name] and not new[name]]:
        raise ValueError(
            f"pruning would empty {trees.listed(lost)}: nothing could pass any more; "
            "remove less, prune by layer, or allow it with allow_empty=True"
        )


def erk(
    mask: PyTree, density: float | int, *, power: float | int = 1
) -> dict[str, Fraction]:
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

    Reference:
        Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery: Making All Tickets
        Winners", 2019, arXiv:1911.11134.
    """
    if not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1], got {density}")
    full = {k: m for k, m in trees.by_path(mask).items() if m.ndim}
    if flat := [k for k, m in full.items() if m.ndim < 2]:
        raise ValueError(f"erk needs kernels; {trees.listed(flat)} have one axis")
    raw = {k: (sum(m.shape) / m.size) ** power for k, m in full.items()}
    budget = density * sum(m.size for m in full.values())
    dense: set[str] = set()
    scale = 1.0
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
    target = {k: 1.0 if k in dense else scale * raw[k] for k in full}
    goal = {k: max(round(target[k] * full[k].size), 1) for k in full}
    kept = {k: min(goal[k], alive[k]) for k in full}
    return {k: Fraction(alive[k] - kept[k], alive[k] or 1) for k in full}


def _exact(fraction: Amount) -> Fraction:
    if not 0 <= fraction < 1:
        raise ValueError(f"a fraction to remove must be in [0, 1), got {fraction}")
    # Nine digits fit the integer arithmetic of the traced form.
    exact = Fraction(str(fraction)).limit_denominator(10**9)
    if exact == 1:
        raise ValueError(f"a fraction to remove must be in [0, 1), got {fraction}")
    return exact


def _fractions(fraction, scope, names) -> list[Fraction] | None:
    """One fraction for each name; `None` for all names together."""
    if scope == "global":
        return None
    if scope == "layer":
        return [_exact(fraction)] * len(names)
    if isinstance(scope, str):
        raise ValueError(f"scope must be 'layer', 'global' or a dict, got {scope!r}")
    if unknown := [name for name in scope if name not in names]:
        raise ValueError(
            f"scope names {trees.listed(unknown)}; what can be pruned is "
            f"{trees.listed(names)}"
        )
    return [_exact(scope.get(name, fraction)) for name in names]


def _keep_on_host(scores, alive, fraction) -> list[np.ndarray]:
    rows = lambda arrays: [np.asarray(a).reshape(-1) for a in arrays]
    join = lambda arrays: arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    score, kept = join(rows(scores)), join([a != 0 for a in rows(alive)])
    if score.dtype.kind not in "fiu":  # bfloat16 and friends
        score = score.astype(np.float32)
    if np.isnan(score).any():
        raise ValueError("scores must not be NaN")
    count = int(np.count_nonzero(kept))
    removed = count - remaining(count, fraction)
    if removed:
        floating = score.dtype.kind == "f"
        top = np.inf if floating else np.iinfo(np.dtype(score.dtype.name)).max
        candidates = np.where(kept, score, score.dtype.type(top))
        candidates.partition(removed - 1)
        threshold = candidates[removed - 1]
        below = kept & (score < threshold)
        ties = removed - int(np.count_nonzero(below))
        kept &= ~below
        kept[np.flatnonzero(kept & (score == threshold))[:ties]] = False
    ends = np.cumsum([np.size(a) for a in alive])[:-1]
    pieces = zip(np.split(kept, ends), alive, strict=True)
    return [piece.reshape(np.shape(a)) for piece, a in pieces]


def _keep_traced(scores, alive, fraction) -> list[jax.Array]:
    flat = lambda arrays: jnp.concatenate([jnp.ravel(a) for a in arrays])
    kept = flat(alive) != 0
    count = jnp.sum(kept, dtype=jnp.int32)
    removed = _portion(count, fraction)
    order = _ordered_bits(flat(scores))
    everything = jnp.iinfo(order.dtype)
    order = jnp.where(kept, order, jnp.asarray(everything.max, order.dtype))
    below = lambda t: jnp.sum(order < t, dtype=jnp.int32)
    # The largest t with at most `removed` scores below it is the first to be kept,
    # or one of those that tie with it.
    threshold = _last(lambda t: below(t) <= removed, everything, order.dtype)
    index = jnp.arange(order.size, dtype=jnp.int32)
    tied = kept & (order == threshold)
    ties = removed - below(threshold)
    within = lambda i: jnp.sum(tied & (index < i), dtype=jnp.int32) <= ties
    end = _last(within, _Range(0, order.size), jnp.int32)
    kept &= ~((order < threshold) | (tied & (index < end)))
    ends = np.cumsum([np.size(a) for a in alive])[:-1].tolist()
    pieces = zip(jnp.split(kept, ends), alive, strict=True)
    return [piece.reshape(jnp.shape(a)) for piece, a in pieces]


class _Range(NamedTuple):
    min: int
    max: int


def _last(holds: Callable, bounds: Any, dtype: Any) -> jax.Array:
    """The last integer within bounds for which `holds`, by bisection."""

    def halve(_, ends):
        low, high = ends
        # the mean rounded up, without overflow
        middle = (low & high) + ((low ^ high) >> 1) + ((low ^ high) & 1)
        good = holds(middle)
        return jnp.where(good, middle, low), jnp.where(good, high, middle - 1)

    low, high = int(bounds.min), int(bounds.max)
    ends = jnp.asarray(low, dtype), jnp.asarray(high, dtype)
    return jax.lax.fori_loop(0, (high - low).bit_length(), halve, ends)[0]


def _ordered_bits(score: jax.Array) -> jax.Array:
    """Signed integers that sort as the scores do; -0.0 equals 0.0."""
    wide = score.dtype.itemsize == 8  # with 64-bit types enabled
    signed = jnp.int64 if wide else jnp.int32
    if jnp.issubdtype(score.dtype, jnp.unsignedinteger):
        bits = score.astype(jnp.uint64 if wide else jnp.uint32)
        return jax.lax.bitcast_convert_type(bits, signed) ^ jnp.iinfo(signed).min
    if jnp.issubdtype(score.dtype, jnp.integer):
        return score.astype(signed)
    score = score.astype(jnp.float64 if wide else jnp.float32)
    bits = jax.lax.bitcast_convert_type(jnp.where(score == 0, 0, score), signed)
    return jnp.where(bits < 0, bits ^ jnp.iinfo(signed).max, bits)


def _portion(count: jax.Array, fraction: Fraction) -> jax.Array:
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
