"""The masks that keep everything of a function."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from sparsejax import checks, interpret, trees
from sparsejax.masks import _nodes
from sparsejax.masks._apply import is_real
from sparsejax.masks._masks import Masks


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
    chosen = _prunable(program, params, prunable)
    weights = [
        jnp.ones(jnp.shape(leaf) if keep else (), _dtype(leaf))
        for leaf, keep in zip(leaves, chosen, strict=True)
    ]
    sites = [s for s in interpret.sites(program) if not s.inside and s.shape]
    own = _nodes.axes_of(axes or {}, [site.name for site in sites])
    more = interpret.sites_of_one_more(fn, params, *args, **kwargs) if sites else ()
    others = {site.name: site for site in more}
    for site in sites:
        if site.name not in own:
            _nodes.check_units(site, others.get(site.name))
    layered = interpret.layered(program, leaves)
    nodes = {
        site.name: jnp.ones(
            _nodes.shape(site, own.get(site.name, -1), layered[site.name]), site.dtype
        )
        for site in sites
    }
    return Masks(jax.tree.unflatten(structure, weights), nodes)


def _prunable(program, params, prunable: Callable | None) -> list[bool]:
    """Which leaves may be pruned."""
    if prunable is None:
        chosen = interpret.kernels(program, jax.tree.leaves(params))
        if isinstance(params, Mapping) and "params" in params:  # Flax's collections
            first = [trees.names(path)[0] for path in trees.by_path(params)]
            chosen = [keep and k == "params" for keep, k in zip(chosen, first)]
    else:
        paths = trees.by_path(params)
        chosen = [is_real(leaf) and prunable(k, leaf) for k, leaf in paths.items()]
    if not any(chosen):
        raise ValueError(
            "no parameter can be pruned: fn uses none of "
            f"{trees.listed(trees.by_path(params))} as a kernel; "
            "pass prunable=lambda path, leaf: ... to choose"
            if prunable is None
            else "prunable(path, leaf) chose none of "
            f"{trees.listed(trees.by_path(params))}"
        )
    return chosen


def _dtype(leaf):
    return jnp.result_type(leaf) if is_real(leaf) else jnp.float32
