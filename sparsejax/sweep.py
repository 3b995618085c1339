"""One function under very many masks.

`fn` is written for one tree of masks; here it is compiled once for a chunk of them and
called chunk after chunk, so that memory depends on the chunk alone. The last chunk is
padded, so that results do not depend on where the chunks fall, beyond rounding.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from tqdm import tqdm

from sparsejax import trees


def evaluate(
    fn: Callable[[PyTree], PyTree],
    masks: PyTree | Callable[[Any], PyTree],
    *,
    count: int | None = None,
    batch_size: int = 256,
    progress: bool = True,
) -> PyTree:
    """`fn` of every mask.

    Args:
        fn: function of one mask tree, to a tree of arrays.
        masks: stacked masks, every leaf with the same leading axis; or a function from
            an index (int32) to one mask tree, which is then never held as a whole.
        count: number of masks; needed if `masks` is a function.
        batch_size: masks at a time.
        progress: show a bar.

    Returns:
        The results as NumPy arrays, each with a leading axis over the masks.

    Raises:
        ValueError: if the number of masks is missing, zero or not the same everywhere.

    Example:
        >>> total = evaluate(lambda m: m.sum(), jnp.eye(3), progress=False)
        >>> total.tolist()
        [1.0, 1.0, 1.0]
    """
    if callable(masks):
        make = masks
        if count is None:
            raise ValueError("pass count=, the number of masks that the function makes")
        total = count
    else:
        masks = jax.tree.map(jnp.asarray, masks)
        lengths = {k: leaf.shape[:1] for k, leaf in trees.by_path(masks).items()}
        if len(set(lengths.values())) != 1 or () in lengths.values():
            raise ValueError(f"masks have leading axes of different lengths: {lengths}")
        (have,) = next(iter(lengths.values()))
        if count not in (None, have):
            raise ValueError(f"count is {count}, but there are {have} masks")
        total = have
        make = lambda index: jax.tree.map(lambda leaf: leaf[index], masks)
    if total < 1 or batch_size < 1:
        raise ValueError(f"cannot evaluate {total} masks, {batch_size} at a time")
    batch_size = min(batch_size, total)
    chunk = jax.jit(jax.vmap(lambda index: fn(make(index))))
    results = []
    for start in tqdm(range(0, total, batch_size), disable=not progress, unit="chunk"):
        # past the end the last mask stands in
        index = np.minimum(np.arange(start, start + batch_size), total - 1)
        results.append(jax.device_get(chunk(jnp.asarray(index, jnp.int32))))
    join = lambda *parts: np.concatenate(parts)[:total]
    return jax.tree.map(join, *results)
