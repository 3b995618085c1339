"""Scores: one number a weight or unit, higher = keep.

Any function that returns a tree of the structure of the mask is a score; these are the
usual ones. Leaves that have no order, such as keys, score a 0-d 0, and are never pruned
anyway. Products of 16-bit numbers are taken in float32: small ones would all be zero.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from sparsejax import checks, interpret, lift, masks, trees


def magnitude(params: PyTree) -> PyTree:
    """|w|.

    Raises:
        ValueError: if a leaf is no array.

    Example:
        >>> magnitude({"w": jnp.array([-2.0, 0.5])})["w"].tolist()
        [2.0, 0.5]

    Reference:
        Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient
        Neural Networks", 2015, arXiv:1506.02626.
    """
    checks.arrays(params)
    return jax.tree.map(_size, params)


def random(key: Any, params: PyTree) -> PyTree:
    """Independent uniform numbers: a random order of the weights.

    Raises:
        ValueError: if a leaf is no array, or the key not one of `jax.random.key`.

    Example:
        >>> scores = random(jax.random.key(0), {"w": jnp.zeros((2, 3))})["w"]
        >>> scores.shape, bool(((scores >= 0) & (scores < 1)).all())
        ((2, 3), True)
    """
    checks.one_key(key)
    checks.arrays(params)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, max(len(leaves), 1))[: len(leaves)]

    def draw(key, leaf):
        return jax.random.uniform(key, jnp.shape(leaf))

    return jax.tree.unflatten(structure, [*map(draw, keys, leaves)])


def snip(params: PyTree, grads: PyTree) -> PyTree:
    """|w g|, the loss's first-order change when a weight is removed.

    Args:
        params: parameters.
        grads: gradient of the loss with respect to them, usually at initialisation,
            over a batch; of leaves that have none, anything.

    Raises:
        ValueError: if a leaf is no array, or the trees differ.

    Example:
        >>> loss = lambda w: w[0] ** 2 + 5 * w[1]
        >>> w = jnp.array([3.0, -1.0])
        >>> snip(w, jax.grad(loss)(w)).tolist()  # 3 * 6 and 1 * 5
        [18.0, 5.0]

    Reference:
        Lee, Ajanthan, Torr, "SNIP: Single-shot Network Pruning based on Connection
        Sensitivity", 2018, arXiv:1810.02340.
    """
    checks.arrays(params)
    trees.check_structure(grads, params, "grads", "params")
    for path, grad in trees.by_path(grads).items():
        if not checks.is_array(grad):
            raise ValueError(f"the gradient of {path!r} is {checks.described(grad)}")

    def product(w, g):
        if not jnp.issubdtype(_dtype(w), jnp.inexact):
            return jnp.zeros(())
        return jnp.abs(_wide(w) * _wide(g))

    return jax.tree.map(product, params, grads)


def activation_std(
    fn: Callable, params: PyTree, *args: Any, names: str | Iterable[str] | None = None
) -> dict[str, Array]:
    """Standard deviation of every unit over examples (and places in the image).

    In a scan over layers every layer's units have their own; in one over time the steps
    count as examples.

    Args:
        fn: `fn(params, *args)` with named activations `(examples, ..., units)`.
        params: parameters.
        *args: a batch of inputs.
        names: which activation, or activations; by default all.

    Returns:
        `{name: (units,)}`, in a scan `(layers, units)` or `(1, units)`: the structure
        of `masks.ones(...).nodes`. Constant units score 0.

    Raises:
        ValueError: as in `activations`, with `units`, but for loops.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda params, x: checkpoint_name(x * params, "h")
        >>> x = jnp.array([[0.0, 1.0], [2.0, 1.0]])
        >>> activation_std(fn, jnp.array([3.0, 1.0]), x)["h"].tolist()
        [3.0, 0.0]

    Reference:
        Hobson, "Neural Networks, More than you wanted to Show".
    """
    _, acts = lift.activations(fn, names)(params, *args)
    program = interpret.trace(fn, params, *args)
    layered = interpret.layered(program, jax.tree.leaves(params))
    sites = {site.name: site for site in interpret.sites(program)}
    for name in acts:
        masks.check_units(sites[name])

    def spread(name, h):
        loops, units = layered[name], sites[name].shape[-1:]
        places = range(h.ndim - len(units))
        gone = tuple(i for i in places if i >= len(loops) or not loops[i])
        sizes = [size if own else 1 for size, own in zip(h.shape, loops)]
        return jnp.std(_wide(h), axis=gone).reshape(*sizes, *units)

    return {name: spread(name, h) for name, h in acts.items()}


def _size(leaf) -> Array:
    dtype = _dtype(leaf)
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return jnp.zeros(())
    if jnp.issubdtype(dtype, jnp.signedinteger):  # -128 has no opposite in int8
        return jnp.abs(leaf).astype(f"uint{jnp.iinfo(dtype).bits}")
    return jnp.asarray(leaf) if dtype == jnp.bool_ else jnp.abs(leaf)


def _wide(leaf) -> Array:
    small = jnp.issubdtype(_dtype(leaf), jnp.floating) and _dtype(leaf).itemsize < 4
    return jnp.asarray(leaf).astype(jnp.float32) if small else jnp.asarray(leaf)


def _dtype(leaf) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)
