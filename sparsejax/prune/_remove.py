"""Take the lowest scores away, in exact numbers.

How many go is said in `prune.amounts`. Among equal scores the lowest flat index goes
first, leaves taken in the order of the tree.

Scores are compared as the integers of `prune.order`. On the host, NumPy's partition
finds the threshold. Inside `jit` and `vmap` it is found by bisection, which needs no
sort: XLA's sorts are several times slower (`benchmarks/README.md`).
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from sparsejax import checks, masks, meshes, trees
from sparsejax.prune import _order as order
from sparsejax.prune._amounts import Amount, exact, kept_count, portion

# "layer", "global" or a dict from path to fraction; others are refused in one wording.
Scope = Any


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
        scores: tree of the structure of `mask`; higher = keep. Of leaves that are
            never pruned, and of entries that are removed already, they do not matter.
        mask: tree of 0/1 arrays, such as `Masks.weights` or `Masks.nodes`; 0-d leaves
            are never pruned.
        fraction: of the entries still kept, in [0, 1).
        scope: "layer" removes that fraction of every leaf; "global" ranks all leaves
            together; a dict from path (see `trees`) to fraction sets single leaves,
            the others take `fraction`.
        allow_empty: let a leaf lose its last entry. Inside `jit` and `vmap`, where
            numbers are not known, neither this nor NaN is checked; NaN ranks highest.

    Returns:
        A mask nested in `mask`, of the same structure and dtypes.

    Raises:
        ValueError: for a fraction outside [0, 1) (to nine digits), an unknown path,
            scores that do not fit or are NaN, no real numbers, or ranked together
            though no type holds all of them exactly; and a leaf that would be emptied.

    Example:
        >>> scores = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0, 4.0])}
        >>> mask = {"a": jnp.ones(2), "b": jnp.ones(2)}
        >>> {k: m.tolist() for k, m in remove(scores, mask, 0.5).items()}
        {'a': [0.0, 1.0], 'b': [0.0, 1.0]}
        >>> new = remove(scores, mask, 0.25, scope="global")
        >>> {k: m.tolist() for k, m in new.items()}
        {'a': [0.0, 1.0], 'b': [1.0, 1.0]}
    """
    leaves, structure = jax.tree.flatten(mask)
    names = list(trees.by_path(mask))
    trees.check_structure(scores, mask, "scores", "the mask")
    ranked = jax.tree.leaves(scores)
    chosen = _prunable(names, leaves, ranked)
    traced = any(isinstance(leaf, Tracer) for leaf in [*leaves, *ranked])
    keep = _keep_traced if traced else _keep_on_host
    fractions = _fractions(fraction, scope, [names[i] for i in chosen])
    groups = [chosen] if fractions is None else [[i] for i in chosen]
    new = list(leaves)
    for group, part in zip(groups, fractions or [exact(fraction)], strict=True):

        def pick(of, group=group):
            return [of[i] for i in group]

        kept = keep(pick(names), pick(ranked), pick(leaves), part)
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


def _prunable(names, leaves, scores) -> list[int]:
    """The leaves that may be pruned, by number, if their scores fit."""
    for name, leaf in zip(names, leaves, strict=True):
        if not checks.is_array(leaf):
            raise ValueError(
                f"the mask of {name!r} is {checks.described(leaf)}, expected an array"
            )
    chosen = [i for i, leaf in enumerate(leaves) if jnp.ndim(leaf)]
    if not chosen:
        raise ValueError(
            f"no leaf of {trees.listed(names)} can be pruned: none has axes"
        )
    for i in chosen:
        if not checks.is_array(scores[i]):
            raise ValueError(
                f"scores of {names[i]!r} are {checks.described(scores[i])}, expected "
                "an array"
            )
        if jnp.shape(scores[i]) != leaves[i].shape:
            raise ValueError(
                f"scores of {names[i]!r} have shape {jnp.shape(scores[i])}, "
                f"expected {leaves[i].shape}"
            )
    return chosen


def _check_nan(names, scores, alive) -> None:
    for name, score, mask in zip(names, scores, alive, strict=True):
        kept = np.asarray(mask) != 0
        if jnp.issubdtype(score.dtype, np.inexact) and np.isnan(score[kept]).any():
            count = np.count_nonzero(np.isnan(score[kept]))
            raise ValueError(
                f"scores must not be NaN; those of {name!r} are at {count} of "
                f"{np.count_nonzero(kept)} entries that the mask keeps"
            )


def _fractions(fraction, scope, names) -> list[Fraction] | None:
    """One fraction for each name; `None` for all names together."""
    if scope == "global":
        return None
    if scope == "layer":
        return [exact(fraction)] * len(names)
    if not isinstance(scope, Mapping):
        raise ValueError(f"scope must be 'layer', 'global' or a dict, got {scope!r}")
    if unknown := [name for name in scope if name not in names]:
        raise ValueError(
            f"scope names {trees.listed(unknown)}; what can be pruned is "
            f"{trees.listed(names)}"
        )
    return [exact(scope.get(name, fraction)) for name in names]


def _keep_on_host(names, scores, alive, fraction) -> list[np.ndarray]:
    scores = [np.asarray(score) for score in scores]
    dtype = order.common(names, scores)
    _check_nan(names, scores, alive)

    def join(arrays):
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    rank = join([order.integers(score, dtype).reshape(-1) for score in scores])
    kept = join([np.asarray(a).reshape(-1) != 0 for a in alive])
    count = int(np.count_nonzero(kept))
    removed = count - kept_count(count, fraction)
    if removed:
        candidates = np.where(kept, rank, np.iinfo(rank.dtype).max)
        candidates.partition(removed - 1)
        threshold = candidates[removed - 1]
        below = kept & (rank < threshold)
        ties = removed - int(np.count_nonzero(below))
        kept &= ~below
        kept[np.flatnonzero(kept & (rank == threshold))[:ties]] = False
    ends = np.cumsum([np.size(a) for a in alive])[:-1]
    pieces = zip(np.split(kept, ends), alive, strict=True)
    return [piece.reshape(np.shape(a)) for piece, a in pieces]


def _keep_traced(names, scores, alive, fraction) -> list[jax.Array]:
    scores = [meshes.gathered(_as_jax(score)) for score in scores]
    alive = [meshes.gathered(jnp.asarray(a)) for a in alive]
    dtype = order.common(names, scores)

    def flat(arrays):
        return jnp.concatenate([jnp.ravel(a) for a in arrays])

    kept = flat([jnp.asarray(a).astype(bool) for a in alive])
    count = jnp.sum(kept, dtype=jnp.int32)
    removed = portion(count, fraction)
    rank = flat([_ranks(score, dtype) for score in scores])
    everything = jnp.iinfo(rank.dtype)
    rank = jnp.where(kept, rank, jnp.asarray(everything.max, rank.dtype))

    def below(t):
        return jnp.sum(rank < t, dtype=jnp.int32)

    # The largest t with at most `removed` scores below it is the first to be kept,
    # or one of those that tie with it.
    threshold = _last(lambda t: below(t) <= removed, everything, rank.dtype)
    index = jnp.arange(rank.size, dtype=jnp.int32)
    tied = kept & (rank == threshold)
    ties = removed - below(threshold)

    def within(i):
        return jnp.sum(tied & (index < i), dtype=jnp.int32) <= ties

    end = _last(within, _Range(0, rank.size), jnp.int32)
    kept &= ~((rank < threshold) | (tied & (index < end)))
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


def _as_jax(score) -> jax.Array:
    """Scores inside `jit`, where 64-bit types may not be enabled."""
    array = jnp.asarray(score)
    if isinstance(score, np.ndarray) and score.dtype.kind in "iu" and score.size:
        fits = jnp.iinfo(array.dtype)
        if score.min() < fits.min or score.max() > fits.max:
            raise ValueError(
                f"scores of {score.dtype} do not fit {array.dtype} inside jit; enable "
                "jax_enable_x64, or rank them outside"
            )
    return array


def _ranks(score, dtype) -> jax.Array:
    """Ranks of scores, NaN above all: found by its bits, for XLA would convert them."""
    rank = order.integers(score, dtype)
    if dtype.kind != "f":
        return rank
    infinite = int(np.array(np.inf, dtype).view(rank.dtype))
    nan = (rank > infinite) | (rank < -infinite)
    return jnp.where(nan, jnp.iinfo(rank.dtype).max, rank)
