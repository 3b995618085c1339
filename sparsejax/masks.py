"""Masks are data: trees of zeros and ones that say what of a network is kept.

`Masks.weights` has the structure of the parameters; a leaf is a full array of 0 and 1,
or a 0-d 1 where the parameter is never pruned (a bias, say). `Masks.nodes` holds for
each named activation an array of 0 and 1, one entry for each decision: a vector over
its units, or an array over heads, positions or layers. Both are plain pytrees, so
`vmap` over masks, `grad` with respect to masks and files of masks need nothing of ours.

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
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, PyTree

from sparsejax import checks, interpret, trees
from sparsejax._patterns import matches

__all__ = [
    "Masks",
    "apply",
    "bernoulli",
    "blend",
    "check",
    "check_fits",
    "check_kind",
    "check_units",
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
    "zero_leaf",
]


def __dir__() -> list[str]:
    return list(__all__)


class Masks(NamedTuple):
    """What is kept of a network.

    Attributes:
        weights: tree of the structure of the parameters, each leaf 0/1 of the
            parameter's shape, or a 0-d 1 where it is never pruned.
        nodes: for each named activation a 0/1 array that broadcasts to it from the
            right without enlarging it: `(units,)` for its last axis, `(heads, 1)` for
            the one before, `(1,)` for all of it. In a scan the loop's axis comes first:
            `(layers, units)`, or `(1, units)` for the same at every step; in a scan in
            a scan two of them.
    """

    weights: PyTree
    nodes: dict[str, Array]


def ones(
    fn: Callable,
    params: PyTree,
    *args: Any,
    prunable: Callable[[str, Any], bool] | None = None,
    axes: Mapping[str, Any] | None = None,
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
        axes: `{name: axis or axes}` that a mask has of an activation (at one step, if
            it is in a loop), in place of its last axis; `()` for one entry for all of
            it. A name may be a pattern, as in `{"*/attn/out:in": -2}`; the first that
            fits counts, a name before any pattern.

    Returns:
        `Masks` of ones. In a scan, a mask has one entry for each step where the loop
        runs over slices of parameters (the layers of a stack), one for all steps where
        it does not (a loop over time). Activations of no axes, and those inside a
        `while`, a `cond` or a gradient that `fn` takes itself, have no entry in
        `nodes`: no single array could mask them. Leaves that are not floating
        (integers, keys) are never pruned.

    Raises:
        ValueError: if no leaf is prunable, one is no array, an axis does not exist, or
            the last axis of an activation, unless it is to have others, does not count
            units: a convolution's channels are on another, or it grows with the inputs'
            first axis (traced again with one more).

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> def fn(params, x):
        ...     heads = (x @ params).reshape(3, 2, 4)
        ...     return checkpoint_name(heads, "z").sum()
        >>> masks = ones(fn, jnp.ones((5, 8)), jnp.ones((3, 5)), axes={"z": -2})
        >>> masks.nodes["z"].shape
        (2, 1)
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
    sites = [s for s in interpret.sites(program) if not s.inside and s.shape]
    own = _axes(axes or {}, [site.name for site in sites])
    more = interpret.sites_of_one_more(fn, params, *args, **kwargs) if sites else ()
    others = {site.name: site for site in more}
    for site in sites:
        if site.name not in own:
            check_units(site, others.get(site.name))
    layered = interpret.layered(program, leaves)
    nodes = {
        site.name: jnp.ones(
            _node_shape(site, own.get(site.name, -1), layered[site.name]), site.dtype
        )
        for site in sites
    }
    return Masks(jax.tree.unflatten(structure, weights), nodes)


def _axes(axes: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """The axes of those names that have some of their own."""
    for pattern in axes:
        if not any(pattern == name or matches(name, pattern) for name in names):
            raise ValueError(
                f"axes[{pattern!r}] fits none of the activations that can be masked, "
                f"{trees.listed(names)}"
            )
    result = {}
    for name in names:
        fitting = [axes[pattern] for pattern in axes if matches(name, pattern)]
        if name in axes or fitting:
            result[name] = axes[name] if name in axes else fitting[0]
    return result


def _node_shape(site: interpret.Site, axes: Any, layered) -> tuple[int, ...]:
    """Shape of the mask of an activation: its loops, then these axes of it."""
    count = len(site.shape)
    numbers = checks.sizes(axes, f"axes[{site.name!r}]", -count)
    if any(axis >= count for axis in numbers):
        raise ValueError(
            f"axes[{site.name!r}] is {axes}, but the activation has shape {site.shape},"
            f" with axes {-count} to {count - 1}"
        )
    masked = {axis % count for axis in numbers}
    sizes = [size if axis in masked else 1 for axis, size in enumerate(site.shape)]
    loops = [length if own else 1 for length, own in zip(site.loops, layered)]
    return (*loops, *sizes[min(masked, default=count - 1) :])


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


@jax.custom_jvp
def blend(value: Array, mask: Array, other: Array) -> Array:
    """An array where a mask is 1, and another where it is 0; exact at both.

    Between, `value * mask + other * (1 - mask)`. `mask` and `other` broadcast to
    `value`. The derivatives are those of that formula for every mask; to the mask it is
    `value - other`.

    Example:
        >>> mask = jnp.array([1.0, 0.0, 0.5])
        >>> blend(jnp.array([2.0, jnp.inf, 3.0]), mask, jnp.array([jnp.nan, 5, 1])).tolist()
        [2.0, 5.0, 2.0]
    """  # noqa: E501
    between = value * mask + other * (1 - mask)
    return jnp.where(mask == 0, other, jnp.where(mask == 1, value, between))


def _blend_jvp(primals, tangents):
    value, mask, other = primals
    out = blend(value, mask, other)
    change = jnp.zeros_like(out)
    factors = (mask, value - other, 1 - mask)
    for factor, tangent in zip(factors, tangents, strict=True):
        if not isinstance(tangent, jax.custom_derivatives.SymbolicZero):
            change = change + factor * tangent
    return out, change


blend.defjvp(_blend_jvp, symbolic_zeros=True)


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


def check_units(
    site: interpret.Site,
    other: interpret.Site | None = None,
    mask: ArrayLike | None = None,
) -> None:
    """Raise a `ValueError` if the last axis of an activation does not count units.

    Args:
        site: where it is named.
        other: the same place of the function of one example more, if that is known.
        mask: what is to mask it, if anything; it may be of other axes.
    """
    if mask is not None and jnp.ndim(mask) != len(site.loops) + 1:
        return
    mend = (
        'name it with the units last: checkpoint_name(jnp.moveaxis(h, axis, -1), "...")'
        " and move them back, mask another axis: masks.ones(..., axes={name: axis}), or"
        " lift the function of one example and vmap outside"
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


def check_fits(site: interpret.Site, array: ArrayLike, name: str) -> None:
    """Raise a `ValueError` if an array does not broadcast to an activation.

    Args:
        site: where it is named.
        array: mask, or what takes the place of what a mask removes.
        name: of the array, for the message.
    """
    shape, loops = jnp.shape(array), len(site.loops)
    around, rest = shape[:loops], shape[loops:]
    fits = len(shape) > loops and len(rest) <= len(site.shape)
    pairs = [*zip(around, site.loops), *zip(rest[::-1], site.shape[::-1])]
    if fits and all(size in (1, whole) for size, whole in pairs):
        return
    said = f"{name} has shape {shape}, but the activation {site.name!r} at {site.place}"
    one = site.shape[-1:]
    if loops:
        lengths = " by ".join(map(str, site.loops))
        raise ValueError(
            f"{said} has shape {site.shape} in a loop of {lengths} steps; a mask has "
            f"the loop's axis first, {(*site.loops, *one)}, or {(1,) * loops + one} "
            "for the same at every step"
        )
    example = f"such as {one} for units" if one else "which has no axes"
    if len(site.shape) > 1:
        example += f" or {(site.shape[-2], 1)} for the axis before"
    raise ValueError(
        f"{said} has shape {site.shape}; expected one that broadcasts to it from the "
        f"right, {example}; if fn uses vmap itself, lift the function of one example "
        "and vmap outside"
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
