"""How many stacked networks go through one program at once.

Together they share the batch, and their products are larger; but what a step touches
leaves the cache, and then every one of them waits for memory. So on CPUs they train in
groups, one group after the other inside of the compiled program, each as large as what
a step of it touches fits in. Other devices take all at once.
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

# What a step may touch: parameters, the optimizer's state, masks, and what the forward
# pass leaves for gradients. From measurements: see benchmarks/README.md.
_CACHE = 8 * 2**20


def size(count: int, each: int) -> int:
    """Networks at a time, of `count` that touch `each` bytes in a step.

    Groups of one length where there are such of at least half of what fits.

    Example:
        >>> size(16, 2**20), size(5, 2**22), size(4, 2**24), size(3, 1)
        (8, 2, 1, 3)
    """
    if jax.default_backend() != "cpu":
        return count
    most = min(count, max(1, _CACHE // max(each, 1)))
    equal = max(n for n in range(1, most + 1) if count % n == 0)
    return equal if 2 * equal > most else -(-count // -(-count // most))


def in_groups(run: Callable[[Any], PyTree], args: PyTree, each: int) -> PyTree:
    """`jax.vmap(run)(args)`, a group after the other."""
    count = len(jax.tree.leaves(args)[0])
    at_once = size(count, each)
    if at_once == count:
        return jax.vmap(run)(args)
    return jax.lax.map(run, args, batch_size=at_once if at_once > 1 else None)


def num_bytes(tree: PyTree) -> int:
    """Bytes of the arrays of a tree, or of their shapes.

    Example:
        >>> num_bytes({"w": jax.numpy.ones((2, 3))})
        24
    """
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
