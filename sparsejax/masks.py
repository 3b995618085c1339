"""Masks are data: trees of zeros and ones that say what of a network is kept.

`Masks.weights` has the structure of the parameters; a leaf is a full array of 0 and 1,
or a 0-d 1 where the parameter is never pruned (a bias, say). `Masks.nodes` holds one
vector of 0 and 1 per named activation. Both are plain pytrees, so `vmap` over masks,
`grad` with respect to masks and files of masks need nothing of ours.

Functions here take any tree of masks: `Masks`, its `weights`, its `nodes`, or one
array. Leaves of no axes are never sampled and never counted.
"""

import itertools as it
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from sparsejax import checks, interpret, trees

__all__ = [
    "Masks",
    "apply",
    "bernoulli",
    "check",
    "count",
    "counts",
    "density",
    "fixed_size",
    "flip_path",
    "is_nested",
    "ones",
    "overlap",
    "scale",
    "sizes",
    "subsets",
    "zero",
]


def __dir__() -> list[str]:
    return list(__all__)


class Masks(NamedTuple):
    """What is kept of a network.

    Attributes:
        weights: tree of the structure of the parameters, each leaf 0/1 of the
            parameter's shape, or a 0-d 1 where it is never pruned.
        nodes: for each named activation a 0/1 vector over its units (its last axis).
    """

    weights: PyTree
    nodes: dict[str, Array]


def ones(
    fn: Callable,
    params: PyTree,
    *args: Any,
    prunable: Callable[[str, Any], bool] | None = None,
    **kwargs: Any,
) -> Masks:
    """The masks that keep everything.

    Args:
        fn: `fn(params, *args, **kwargs)`.
        params: parameters of `fn`.
        *args: inputs of `fn`; only shapes and dtypes matter.
        **kwargs: more inputs.
        prunable: `prunable(path, leaf)` says which leaves may be pruned; by default
            those that `fn` uses as a kernel (an operand of a dot product or of a
            convolution); of Flax's collections those in "params".

    Returns:
        `Masks` of ones. Activations of no axes, and those inside a loop or a gradient
        that `fn` takes itself, have no entry in `nodes`: no single vector could mask
        them. Leaves that are not floating (integers, keys) are never pruned.

    Raises:
        ValueError: if no leaf is prunable, one is no array, or the last axis of an
            activation does not count units: a convolution's channels are on another,
            or it grows with the inputs' first axis (traced again with one more).
    """
    checks.arrays(params)
    program = interpret.trace(fn, params, *args, **kwargs)
    leaves, structure = jax.tree.flatten(params)
    if prunable is None:
        chosen = interpret.kernels(program, leaves)
        if isinstance(params, Mapping) and "params" in params:  # Flax's collections
            first = [trees.names(path)[0] for path in trees.by_path(params)]
            chosen = [keep and k == "params" for keep, k in zip(chosen, first)]
    else:
        paths = trees.by_path(params)
        chosen = [_is_real(leaf) and prunable(k, leaf) for k, leaf in paths.items()]
    if not any(chosen):
        raise ValueError(
            "no parameter can be pruned: fn uses none of "
            f"{trees.listed(trees.by_path(params))} as a kernel; "
            "pass prunable=lambda path, leaf: ... to choose"
            if prunable is None
            else "prunable(path, leaf) chose none of "
            f"{trees.listed(trees.by_path(params))}"
        )
    weights = [
        jnp.ones(jnp.shape(leaf) if keep else (), _dtype(leaf))
        for leaf, keep in zip(leaves, chosen, strict=True)
    ]
    sites = interpret.sites(program)
    more = interpret.sites_of_one_more(fn, params, *args, **kwargs) if sites else ()
    others = {site.name: site for site in more}
    for site in sites:
        check_units(site, others.get(site.name))
    nodes = {
        site.name: jnp.ones(site.shape[-1:], site.dtype)
        for site in sites
        if not site.inside and site.shape
    }
    return Masks(jax.tree.unflatten(structure, weights), nodes)


def bernoulli(
    key: Key[Array, ""] | Any,
    tree: PyTree,
    keep_prob: float | int | Float[Array, ""],
    shape: tuple[int, ...] = (),
) -> PyTree:
    """Independent masks: every entry is 1 with probability `keep_prob`.

    Args:
        key: a key.
        tree: tree of masks that gives structure, shapes and dtypes.
        keep_prob: chance of a 1, in [0, 1].
        shape: leading axes, one mask for each index.

    Returns:
        Tree like `tree` with leaves of shape `shape + leaf.shape`.
    """
    checks.one_key(key)
    if not isinstance(keep_prob, Tracer) and not 0 <= keep_prob <= 1:
        raise ValueError(f"keep_prob must be in [0, 1], got {keep_prob}")
    shape = checks.sizes(shape, "shape", 0)
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, max(len(leaves), 1))

    def draw(key, leaf):
        if not jnp.ndim(leaf):
            return jnp.broadcast_to(leaf, shape)
        uniform = jax.random.uniform(key, shape + leaf.shape)
        return (uniform < keep_prob).astype(leaf.dtype)

    drawn = [draw(*pair) for pair in zip(keys, leaves, strict=False)]
    return jax.tree.unflatten(structure, drawn)


def fixed_size(
    key: Key[Array, ""] | Any,
    tree: PyTree,
    kept: int | Int[Array, ""],
    shape: tuple[int, ...] = (),
) -> PyTree:
    """Uniformly random masks with exactly `kept` ones over all leaves together.

    Args:
        key: a key.
        tree: tree of masks that gives structure, shapes and dtypes.
        kept: number of ones, from 0 to the number of entries.
        shape: leading axes, one mask for each index.

    Returns:
        Tree like `tree` with leaves of shape `shape + leaf.shape`.
    """
    checks.one_key(key)
    leaves, structure = jax.tree.flatten(tree)
    sizes = [leaf.size if jnp.ndim(leaf) else 0 for leaf in leaves]
    total = sum(sizes)
    if not isinstance(kept, Tracer):
        kept = checks.integer(kept, "kept")
        if not 0 <= kept <= total:
            raise ValueError(f"cannot keep {kept} of {total} entries")
    shape = checks.sizes(shape, "shape", 0)
    count = 1
    for length in shape:
        count *= length

    def one(key):
        chosen = jax.random.permutation(key, total) < kept
        pieces = jnp.split(chosen, list(it.accumulate(sizes))[:-1])
        return [
            piece.reshape(leaf.shape).astype(leaf.dtype) if jnp.ndim(leaf) else leaf
            for piece, leaf in zip(pieces, leaves, strict=True)
        ]

    drawn = jax.vmap(one)(jax.random.split(key, count))
    drawn = [leaf.reshape(shape + leaf.shape[1:]) for leaf in drawn]
    return jax.tree.unflatten(structure, drawn)


def subsets(n: int, start: int = 0, stop: int | None = None) -> Float[Array, "masks n"]:
    """The masks numbered `start` to `stop - 1` of all 2^n: column i is bit i.

    Example:
        >>> subsets(2).tolist()
        [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    total = 1 << max(n, 0)
    stop = total if stop is None else stop
    if not 0 <= n <= 31 or not 0 <= start <= stop <= total:
        raise ValueError(f"no subsets {start} to {stop} of {n} nodes (at most 31)")
    index = jnp.arange(start, stop, dtype=jnp.uint32)[:, None]
    bits = (index >> jnp.arange(n, dtype=jnp.uint32)) & jnp.uint32(1)
    return bits.astype(jnp.float32)


def flip_path(
    key: Key[Array, ""] | Any, n: int, start: Float[Array, " n"] | None = None
) -> Float[Array, "steps n"]:
    """A walk over the hypercube that flips every unit once, in random order.

    Args:
        key: a key.
        n: number of units.
        start: first mask; by default every unit is on with probability 1/2.

    Returns:
        Masks of shape `(n + 1, n)`: the first is `start`, the last its complement.

    Reference:
        Hobson, "Neural Networks, More than you wanted to Show".
    """
    checks.one_key(key)
    start_key, order_key = jax.random.split(key)
    if start is None:
        start = jax.random.bernoulli(start_key, 0.5, (n,)).astype(jnp.float32)
    time = jax.random.permutation(order_key, n)
    flipped = jnp.arange(n + 1)[:, None] > time
    return jnp.where(flipped, 1 - start, start)


def apply(params: PyTree, weights: PyTree) -> PyTree:
    """Parameters times their masks (`scale`: removed ones may be infinite or NaN).

    Raises:
        ValueError: if structures differ, or a mask has neither its parameter's shape
            nor no axes.
    """
    check(params, weights)

    # A leaf that is never pruned may be of any dtype, a key or an integer, say.
    def leaf(param, mask):
        if jnp.ndim(mask):
            param = jnp.asarray(param)
            return scale(param, jnp.asarray(mask).astype(param.dtype))
        if not _is_real(param):
            return param
        return param * jnp.asarray(mask).astype(jnp.result_type(param))

    return jax.tree.map(leaf, params, weights)


@jax.custom_jvp
def scale(value: Array, mask: Array) -> Array:
    """An array times a mask that broadcasts to it, where 0 selects away.

    Where the mask is 0 the result is 0 whatever the value is, infinite or not a number
    too. The derivatives are those of the product for every mask, fractions included: to
    the value it is the mask, to the mask the value.

    Example:
        >>> scale(jnp.array([2.0, -jnp.inf, 3.0]), jnp.array([1.0, 0.0, 0.5])).tolist()
        [2.0, 0.0, 1.5]
    """
    return jnp.where(mask == 0, 0, value * mask)


def _scale_jvp(primals, tangents):
    (value, mask), (value_dot, mask_dot) = primals, tangents

    def known(dot):
        return not isinstance(dot, jax.custom_derivatives.SymbolicZero)

    out = scale(value, mask)
    change = value_dot * mask if known(value_dot) else jnp.zeros_like(out)
    return out, change + value * mask_dot if known(mask_dot) else change


scale.defjvp(_scale_jvp, symbolic_zeros=True)


def zero(tree: PyTree, weights: PyTree) -> PyTree:
    """`tree` with exact zeros (never -0.0) where `weights` removes."""
    return jax.tree.map(zero_leaf, tree, weights)


def zero_leaf(leaf: Array, mask: Array) -> Array:
    """One leaf of `zero`; a mask of another shape, as of no axes, removes nothing."""
    if not jnp.ndim(mask) or jnp.shape(leaf) != jnp.shape(mask):
        return leaf
    return jnp.where(mask != 0, leaf, jnp.zeros_like(leaf))


def check_kind(masks: Any) -> None:
    """Raise a `ValueError` for what is not `Masks`, such as its weights alone."""
    if not isinstance(masks, Masks):
        raise ValueError(
            f"expected Masks(weights, nodes), got {checks.described(masks)}; wrap a "
            "tree of weight masks as Masks(tree, {})"
        )


def check(params: PyTree, weights: PyTree) -> None:
    """Raise a `ValueError` that names the first mask that does not fit."""
    checks.arrays(params)
    checks.arrays(weights, "masks.weights")
    trees.check_structure(weights, params, "masks.weights", "params")
    masks = trees.by_path(weights)
    for name, param in trees.by_path(params).items():
        shape = jnp.shape(masks[name])
        if shape not in ((), jnp.shape(param)):
            raise ValueError(
                f"the mask of {name!r} has shape {shape}; expected the parameter's, "
                f"{jnp.shape(param)}, or () where it is never pruned"
            )


def check_units(site: interpret.Site, other: interpret.Site | None = None) -> None:
    """Raise a `ValueError` if the last axis of an activation does not count units.

    Args:
        site: where it is named.
        other: the same place of the function of one example more, if that is known.
    """
    mend = (
        'name it with the units last: checkpoint_name(jnp.moveaxis(h, axis, -1), "...")'
        " and move them back, or lift the function of one example and vmap outside"
    )
    last = len(site.shape) - 1
    if site.features not in (None, last):
        raise ValueError(
            f"activation {site.name!r} at {site.place} has shape {site.shape} with the "
            f"channels of a convolution on axis {site.features}, but units are the last"
            f" axis; {mend}"
        )
    grows = [a != b for a, b in zip(site.shape, other.shape if other else site.shape)]
    if grows[-1:] == [True] and sum(grows) == 1:
        raise ValueError(
            f"the last axis of activation {site.name!r} at {site.place}, of shape "
            f"{site.shape}, grows with the first axis of the inputs: it counts "
            f"examples or places, not units; {mend}"
        )


def count(tree: PyTree) -> Int[Array, ""]:
    """Number of ones, over leaves with axes; exact up to 2^31."""
    return sum(_counts(tree), start=jnp.zeros((), jnp.int32))


def density(tree: PyTree) -> Float[Array, ""]:
    """Kept fraction over all leaves with axes, of which there must be one."""
    total = sum(leaf.size for leaf in _full(tree))
    if not total:
        raise ValueError("no leaf has axes and entries, so that there is no density")
    return count(tree).astype(jnp.float32) / jnp.float32(total)


def counts(tree: PyTree) -> dict[str, int]:
    """Number of ones of each leaf with axes, under its path."""
    full = {k: leaf for k, leaf in trees.by_path(tree).items() if jnp.ndim(leaf)}
    return {k: int(np.count_nonzero(np.asarray(leaf))) for k, leaf in full.items()}


def sizes(tree: PyTree) -> dict[str, int]:
    """Number of entries of each leaf with axes, under its path."""
    return {k: leaf.size for k, leaf in trees.by_path(tree).items() if jnp.ndim(leaf)}


def overlap(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Intersection over union of the ones of two masks (1 if both are empty)."""
    both = jax.tree.map(lambda p, q: (p != 0) & (q != 0), a, b)
    either = jax.tree.map(lambda p, q: (p != 0) | (q != 0), a, b)
    union = count(either)
    ratio = count(both) / jnp.maximum(union, 1)
    return jnp.where(union == 0, jnp.ones_like(ratio), ratio)


def is_nested(child: PyTree, parent: PyTree) -> Bool[Array, ""]:
    """Whether `child` keeps nothing that `parent` removed."""
    inside = jax.tree.map(lambda c, p: jnp.all((c == 0) | (p != 0)), child, parent)
    return jax.tree.reduce(operator.and_, inside, jnp.array(True))


def _is_real(leaf) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact))


def _dtype(leaf):
    return jnp.result_type(leaf) if _is_real(leaf) else jnp.float32


def _full(tree) -> list:
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.ndim(leaf)]


def _counts(tree) -> list[Int[Array, ""]]:
    return [jnp.sum(jnp.asarray(leaf, bool), dtype=jnp.int32) for leaf in _full(tree)]
