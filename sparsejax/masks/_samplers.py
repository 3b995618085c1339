"""Random masks, all masks, and walks from mask to mask."""

import itertools as it
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Key, PyTree

from sparsejax import checks


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

    Example:
        >>> tree = {"w": jnp.ones((50, 200)), "b": jnp.ones(())}  # b is never pruned
        >>> masks = bernoulli(jax.random.key(0), tree, 0.7, shape=(2,))  # two masks
        >>> masks["w"].shape, masks["b"].tolist()
        ((2, 50, 200), [1.0, 1.0])
        >>> [round(float(mask.mean()), 1) for mask in masks["w"]]
        [0.7, 0.7]
    """
    checks.one_key(key)
    if not isinstance(keep_prob, Tracer) and not 0 <= np.asarray(keep_prob) <= 1:
        raise ValueError(f"keep_prob must be in [0, 1], got {keep_prob}")
    shape = checks.sizes(shape, "shape", 0)
    leaves, structure = jax.tree.flatten(tree)
    if any(isinstance(part, Tracer) for part in (key, keep_prob, *leaves)):
        masks = _bernoulli(key, leaves, keep_prob, shape)
    else:
        numbers = math.prod(shape) * sum(jnp.size(leaf) for leaf in leaves)
        draw = _drawn if numbers > _FEW else _drawn_quickly
        masks = draw(key, leaves, keep_prob, shape)
    return jax.tree.unflatten(structure, masks)


def _bernoulli(key, leaves: list, keep_prob, shape: tuple[int, ...]) -> list:
    keys = jax.random.split(key, max(len(leaves), 1))

    def draw(key, leaf):
        if not jnp.ndim(leaf):
            return jnp.broadcast_to(leaf, shape)
        uniform = jax.random.uniform(key, shape + leaf.shape)
        return (uniform < keep_prob).astype(leaf.dtype)

    return [draw(*pair) for pair in zip(keys, leaves, strict=False)]


# Random bits take half a second to compile for every shape, a fifth of it without
# optimisations, which do not pay for a few.
_FEW = 1 << 16
_quickly: dict[str, Any] = {"xla_backend_optimization_level": 0}
_drawn = jax.jit(_bernoulli, static_argnums=3)
_drawn_quickly = jax.jit(_bernoulli, static_argnums=3, compiler_options=_quickly)


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

    Example:
        >>> tree = {"a": jnp.ones(3), "b": jnp.ones((2, 2))}
        >>> masks = fixed_size(jax.random.key(0), tree, 5, shape=(2,))  # two masks
        >>> (masks["a"].sum(axis=1) + masks["b"].sum(axis=(1, 2))).tolist()
        [5.0, 5.0]
    """
    checks.one_key(key)
    leaves, structure = jax.tree.flatten(tree)
    sizes = [leaf.size if jnp.ndim(leaf) else 0 for leaf in leaves]
    total = sum(sizes)
    if not isinstance(kept, Tracer):
        number = checks.integer(kept, "kept")
        if not 0 <= number <= total:
            raise ValueError(f"cannot keep {number} of {total} entries")
        # an array stays one, which programs of other numbers are given too
        kept = kept if isinstance(kept, jax.Array) else number
    shape = checks.sizes(shape, "shape", 0)
    count = 1
    for length in shape:
        count *= length

    def one(key):
        order = jax.random.permutation(key, total)
        chosen = order < jnp.asarray(kept, order.dtype)
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

    Example:
        >>> path = flip_path(jax.random.key(0), 3, start=jnp.array([1.0, 0.0, 0.0]))
        >>> path[0].tolist(), path[-1].tolist()
        ([1.0, 0.0, 0.0], [0.0, 1.0, 1.0])
        >>> abs(path[1:] - path[:-1]).sum(axis=1).tolist()  # one flip a step
        [1.0, 1.0, 1.0]

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
