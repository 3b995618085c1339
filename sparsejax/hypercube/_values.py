"""The values of all subsets, for any function of a 0/1 vector of nodes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from sparsejax import checks, sweep
from sparsejax.hypercube import _memory as memory
from sparsejax.hypercube._subsets import batched, bits, in_order, of_groups


def evaluate(
    fn: Callable[[Any], PyTree],
    n: int | Mapping[str, int],
    *,
    batch_size: int | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    mesh: Mesh | Any = None,
) -> PyTree:
    """`fn` of every subset of n nodes.

    Masks are made within the compiled program: memory is that of the results and of one
    batch. Nodes in groups, such as the heads of each layer, share work: what `fn` makes
    of the earlier groups alone is computed once for all that a batch holds of the later
    ones. Where `fn` is the loss of a network with a masked last hidden layer,
    `evaluate_readout` is some fifty times faster.

    Args:
        fn: function of a node vector (float32, 1 where a node is kept), to a scalar or
            a tree of arrays; of a dictionary of them if n names groups. For gradients
            pass `jax.value_and_grad(fn)`.
        n: number of nodes, 1 to 30; or `{group: number}`, in the order in which `fn`
            computes with them.
        batch_size: as in `sweep.evaluate`; with groups, the power of two below.
        checkpoint: as in `sweep.evaluate`.
        progress: show a bar.
        mesh: devices that the subsets are split over, as in `sweep.evaluate`.

    Returns:
        NumPy arrays with a leading axis of 2^n, in the order of `masks.subsets`; the
        nodes of groups are counted one group after the other.

    Raises:
        ValueError: if n is out of range, the results do not fit into memory, or `fn`
            returns anything but arrays.

    Example:
        >>> evaluate(lambda m: m[0] + 2 * m[1], 2, progress=False).tolist()
        [0.0, 1.0, 2.0, 3.0]
        >>> def fn(masks):
        ...     return masks["first"].sum() * masks["second"].sum()
        >>> evaluate(fn, {"first": 2, "second": 1}, progress=False).tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0]
    """
    sizes = [*n.values()] if isinstance(n, Mapping) else [n]
    integers = all(isinstance(size, int | np.integer) for size in sizes)
    if not integers or min(sizes, default=0) < 1 or sum(sizes) > 30:
        raise ValueError(
            f"n is {n}; all 2^n subsets can be evaluated for 1 to 30 nodes; for more, "
            "sample: estimate_shapley, estimate_mean, or sweep.evaluate of random masks"
        )
    options = {"checkpoint": checkpoint, "progress": progress, "mesh": mesh}
    if isinstance(n, Mapping):
        groups = {name: int(size) for name, size in n.items()}
        return _of_groups(fn, groups, batch_size, options)
    _check_memory(fn, jax.ShapeDtypeStruct((n,), jnp.float32), n)
    return sweep.evaluate(
        fn,
        lambda index: bits(index, n),
        count=1 << n,
        batch_size=batch_size,
        **options,
    )


def _of_groups(fn, sizes: dict[str, int], batch_size, options: dict) -> PyTree:
    """`fn` of every subset of nodes in groups."""
    total = sum(sizes.values())
    shapes = {k: jax.ShapeDtypeStruct((v,), jnp.float32) for k, v in sizes.items()}
    _check_memory(fn, shapes, total, copies=2)  # to bring them into order
    if batch_size is not None:  # the power of two below
        size = checks.integer(batch_size, "batch_size", 1)
        batch_size = 1 << min(size.bit_length() - 1, total)
    results = sweep.evaluate(
        fn,
        lambda index: of_groups(index, sizes),
        count=1 << total,
        batch_size=batch_size,
        batched=lambda fn, indices: batched(fn, indices, sizes),
        **options,
    )
    return jax.tree.map(lambda leaf: in_order(leaf, sizes), results)


def _check_memory(fn, mask, n: int, copies: int = 1) -> None:
    shapes = sweep.result_shapes(fn, mask)
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    memory.check(copies * each << n, f"the results of all 2^{n} subsets")
