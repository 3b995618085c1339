"""The masks of a sweep: stacked, or made from an index."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sparsejax import checks, meshes, trees


def read(masks, count) -> tuple[PyTree, Callable, int]:
    """Stacked masks (or nothing), a function of them and an index, and their number."""
    if callable(masks):
        if count is None:
            raise ValueError(
                "pass count=, the number of masks that the function makes; stacked "
                "masks in a tree that can be called, as an Equinox module, look like "
                "one: put them in a tuple, and take them out in fn"
            )
        if not 1 <= count < 2**31:
            raise ValueError(f"count is {count}; expected 1 to 2^31 - 1 masks")
        function = masks
        return (), lambda _, index: function(index), count
    if isinstance(masks, Iterator):
        masks = _mask("", masks)
    masks = trees.map_with_path(_mask, masks)
    lengths = {k: leaf.shape[:1] for k, leaf in trees.by_path(masks).items()}
    if not lengths:
        raise ValueError("there are no masks: the tree of masks has no arrays")
    if len(set(lengths.values())) != 1 or () in lengths.values():
        raise ValueError(
            f"masks have leading axes of different lengths: {lengths}; stack every "
            "leaf, or close over what does not vary"
        )
    (have,) = next(iter(lengths.values()))
    if count not in (None, have):
        raise ValueError(f"count is {count}, but there are {have} masks")
    if not have:
        raise ValueError("there are no masks: the leading axis has length 0")
    return masks, lambda masks, i: jax.tree.map(lambda leaf: leaf[i], masks), have


def _mask(path, leaf) -> Array | np.ndarray:
    """One leaf of stacked masks; arrays of NumPy stay where they are."""
    number = isinstance(leaf, Array | np.ndarray | np.generic | int | float)
    if not number or (isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OSU"):
        where = f"masks[{path!r}]" if path else "masks"
        raise ValueError(
            f"{where} is {checks.described(leaf)}; expected stacked arrays, or a "
            "function from an index to one mask with count="
        )
    if isinstance(leaf, np.ndarray):
        return leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype), copy=False)
    return meshes.gathered(jnp.asarray(leaf))
