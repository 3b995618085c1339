"""Removing units whose mean effect the next layer's bias takes over.

With I the units kept, a layer that reads x gets

    b~_j = b_j + sum_{i not in I} mean(x_i) w_ij,    w~_ij = w_ij if i in I else 0,

so that units that are constant on the data can go and the function stays the same. The
layers that read the units are found in the function itself, whatever library it is
written in: `interpret.walk` follows the units to the kernels that they are multiplied
by, and from there to the biases.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import ArrayLike, PyTree

from sparsejax import checks, interpret, lift, trees
from sparsejax import masks as masks_
from sparsejax.prune._remover import Remover


def remove_nodes(
    fn: Callable,
    params: PyTree,
    nodes: Mapping[str, ArrayLike] | Any,
    x: PyTree,
    *,
    sequential: bool = False,
    per_example: bool = False,
) -> PyTree:
    """Parameters without some of the units, their mean effect moved into biases.

    Every layer that reads the units must be dense or a convolution, with a bias, behind
    nothing but reshapes, slices, padding with zeros, casts, scalings or average
    pooling. What the removed units add before the bias is averaged over the examples
    and over the places that share the bias: of a dense layer the formula above, of a
    convolution the mean over positions too (at padded borders less is added).

    Kernel entries that multiply a removed unit become exact zeros. Its own incoming
    weights stay: nothing reads the unit any more, and `compact` drops it.

    Args:
        fn: `fn(params, x)` with named activations.
        params: parameters.
        nodes: for each activation a 0/1 vector over its units, 0 = removed, as
            `Masks.nodes`. Activations without an entry are kept.
        x: a batch of inputs.
        sequential: take means from the network without the units removed in earlier
            layers; by default from the network given.
        per_example: whether `fn` takes one example; `x` has many along its first axis.

    Returns:
        Parameters of the same structure, shapes and dtypes. `jit` works, and `vmap`
        over parameters and masks.

    Raises:
        ValueError: if a mask is not 0/1 or does not fit its activation, if a bias would
            no longer be finite, or if anything else reads the units: it names
            activation, primitive and place in the code.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda p, x: checkpoint_name(x, "inputs") @ p["kernel"] + p["bias"]
        >>> params = {"kernel": jnp.array([[2.0], [3.0]]), "bias": jnp.array([1.0])}
        >>> x = jnp.array([[0.0, 4.0], [1.0, 6.0]])
        >>> small = remove_nodes(fn, params, {"inputs": jnp.array([1.0, 0.0])}, x)
        >>> small["kernel"].tolist(), small["bias"].tolist()
        ([[2.0], [0.0]], [16.0])

    Reference:
        Hobson, "Neural Networks, More than you wanted to Show".
    """
    if any(0 in jnp.shape(leaf) for leaf in jax.tree.leaves(x)):
        raise ValueError("x is empty; means are taken over its examples")
    if not isinstance(nodes, Mapping):
        raise ValueError(
            f"nodes must be a dict of masks, as Masks.nodes; got "
            f"{checks.described(nodes)}"
        )
    for name, mask in nodes.items():
        if not checks.is_array(mask):
            raise ValueError(
                f"nodes[{name!r}] is {checks.described(mask)}, expected an array"
            )
        if not isinstance(mask, Tracer) and not np.isin(np.asarray(mask), (0, 1)).all():
            raise ValueError(f"nodes[{name!r}] must be 0 or 1, got {np.asarray(mask)}")
    axis = "examples" if per_example else None
    leaves, structure = jax.tree.flatten(params)

    def change(arrays, nodes, x):
        params = [arrays.get(i, leaf) for i, leaf in enumerate(leaves)]
        params = jax.tree.unflatten(structure, params)
        program = interpret.trace(fn, params, x)
        sites = interpret.sites(program)
        for site in lift.check_names(sites, nodes, changed=True):
            lift.check_not_looped(site)
            masks_.check_units(site)
            _check(site.name, nodes[site.name], site.shape)
        return Remover(params, nodes, sequential, axis).run(program)

    if per_example:
        change = jax.vmap(change, (None, None, 0), out_axes=None, axis_name=axis)
    arrays = {i: leaf for i, leaf in enumerate(leaves) if hasattr(leaf, "shape")}
    # compiled, so that copies of activations are not held
    changed = interpret.Compiled(change)(arrays, dict(nodes), x)
    for i, leaf in changed.items():
        _check_finite(leaf, leaves[i], [*trees.by_path(params)][i], nodes, x)
        leaves[i] = leaf
    return jax.tree.unflatten(structure, leaves)


def _check(name: str, mask, shape: tuple[int, ...]) -> None:
    if not shape or jnp.shape(mask) != shape[-1:]:
        raise ValueError(
            f"nodes[{name!r}] has shape {jnp.shape(mask)}, but the activation has "
            f"shape {shape}, that is {shape[-1:]} units; if fn uses vmap itself, pass "
            "the function of one example and per_example=True"
        )


def _check_finite(new, old, path: str, nodes, x) -> None:
    """Refuse a parameter that is finite no longer, where its values are known."""
    if isinstance(new, Tracer):
        return
    if not (~np.isfinite(new) & np.isfinite(old)).any():  # compiles nothing
        return
    rows = [
        a.reshape(len(a), -1) for a in map(np.asarray, jax.tree.leaves(x)) if a.ndim
    ]
    finite = [jnp.isfinite(row).all(axis=1) for row in rows]
    found = ", ".join(f"{int((~ok).sum())} of {len(ok)}" for ok in finite)
    raise ValueError(
        f"parameter {path!r} would no longer be finite without the units of "
        f"{trees.listed(nodes)}; examples of x that are not finite: {found}. Leave "
        "them out"
    )
