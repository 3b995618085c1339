"""The values of all subsets, for any function of a 0/1 vector of nodes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PyTree

from sparsejax import sweep
from sparsejax.hypercube import _memory as memory


def evaluate(
    fn: Callable[[Float[Array, " n"]], PyTree],
    n: int,
    *,
    batch_size: int | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    mesh: Mesh | Any = None,
) -> PyTree:
    """`fn` of every subset of n nodes.

    Masks are made within the compiled program: memory is that of the results and of one
    batch. Where `fn` is the loss of a network with a masked last hidden layer,
    `evaluate_readout` is some fifty times faster.

    Args:
        fn: function of a node vector (float32, 1 where a node is kept), to a scalar or
            a tree of arrays. For gradients pass `jax.value_and_grad(fn)`.
        n: number of nodes, 1 to 30.
        batch_size: as in `sweep.evaluate`.
        checkpoint: as in `sweep.evaluate`.
        progress: show a bar.
        mesh: devices that the subsets are split over, as in `sweep.evaluate`.

    Returns:
        NumPy arrays with a leading axis of 2^n, in the order of `masks.subsets`.

    Raises:
        ValueError: if n is out of range, the results do not fit into memory, or `fn`
            returns anything but arrays.

    Example:
        >>> evaluate(lambda m: m[0] + 2 * m[1], 2, progress=False).tolist()
        [0.0, 1.0, 2.0, 3.0]
    """
    if not isinstance(n, int | np.integer) or not 1 <= n <= 30:
        raise ValueError(
            f"n is {n}; all 2^n subsets can be evaluated for 1 to 30 nodes; for more, "
            "sample: estimate_shapley, estimate_mean, or sweep.evaluate of random masks"
        )
    shapes = sweep.result_shapes(fn, jax.ShapeDtypeStruct((n,), jnp.float32))
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    memory.check(each << n, f"the results of all 2^{n} subsets")
    return sweep.evaluate(
        fn,
        lambda index: bits(index, n),
        count=1 << n,
        batch_size=batch_size,
        checkpoint=checkpoint,
        progress=progress,
        mesh=mesh,
    )


def bits(index: Int[Array, "..."], n: int) -> Float[Array, "... n"]:
    """The subsets of these numbers as 0/1 vectors."""
    shifted = index[..., None] >> jnp.arange(n, dtype=index.dtype)
    return (shifted & 1).astype(jnp.float32)
