"""Subsets of nodes by their numbers; in groups, those that share work together.

Under nested `vmap`, one for each group, nothing is batched over a group that it does
not depend on: of two layers of heads, all subsets of the second share one pass through
the first. So a batch is first of all subsets of the last group, which are counted by
the lowest bits.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Shaped


def bits(index: Int[Array, "..."], n: int) -> Float[Array, "... n"]:
    """The subsets of these numbers as 0/1 vectors."""
    shifted = index[..., None] >> jnp.arange(n, dtype=index.dtype)
    return (shifted & 1).astype(jnp.float32)


def of_groups(index: Int[Array, ""], sizes: dict[str, int]) -> dict[str, Array]:
    """The subset of a number, whose lowest bits are of the last group.

    Args:
        index: the number.
        sizes: nodes of each group, in the order of a function.
    """
    masks = {}
    for name, size in reversed(sizes.items()):
        masks[name] = bits(index, size)
        index = index >> size
    return {name: masks[name] for name in sizes}


def batched(
    fn: Callable, indices: Int[Array, " batch"], sizes: dict[str, int]
) -> PyTree:
    """`fn` of successive subsets of groups.

    Args:
        fn: function of the groups' 0/1 vectors, by name.
        indices: numbers of the subsets, a power of two of them; the first is a multiple
            of how many there are.
        sizes: nodes of each group, in the order of `fn`.
    """
    count = len(indices)
    free, varied = count.bit_length() - 1, {}
    for name, size in reversed(sizes.items()):
        varied[name] = min(size, free)
        free -= varied[name]

    def vary(names, masks):
        if not names:
            return fn(masks)
        name, *later = names

        def one(number):  # the first subset has zeros where the batch varies
            mask = masks[name] + bits(number, sizes[name])
            return vary(later, {**masks, name: mask})

        return jax.vmap(one)(jnp.arange(1 << varied[name], dtype=indices.dtype))

    results = vary([*sizes], of_groups(indices[0], sizes))
    axes = len(sizes)
    return jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[axes:]), results)


def in_order(
    results: Shaped[np.ndarray, "subsets ..."], sizes: dict[str, int]
) -> Shaped[np.ndarray, "subsets ..."]:
    """Results for all subsets of groups, the lowest bits now of the first group."""
    counts = [1 << size for size in sizes.values()]
    table = results.reshape(*counts, *results.shape[1:])
    axes = [*reversed(range(len(counts))), *range(len(counts), table.ndim)]
    return table.transpose(axes).reshape(results.shape)
