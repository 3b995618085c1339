"""Names for the leaves of a tree: `'dense_0/kernel'`, and back.

Paths are how masks, files, metrics and error messages speak of one array among many.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np


def path(keys) -> str:
    """The string for one key path of `jax.tree_util`."""
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def by_path(tree: Any) -> dict[str, Any]:
    """Every leaf under its path, in the order of the tree.

    Example:
        >>> by_path({"dense_0": {"bias": 1, "kernel": 2}})
        {'dense_0/bias': 1, 'dense_0/kernel': 2}
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path(keys): leaf for keys, leaf in leaves}


def map_with_path(function: Callable, tree: Any, *rest: Any) -> Any:
    """`jax.tree.map` for a function whose first argument is the leaf's path."""
    return jax.tree_util.tree_map_with_path(
        lambda keys, *leaves: function(path(keys), *leaves), tree, *rest
    )


def to_arrays(tree: Any) -> dict[str, np.ndarray]:
    """The leaves as NumPy arrays under their paths, ready for a file; keys as data."""
    return {name: _raw(leaf) for name, leaf in by_path(tree).items()}


def from_arrays(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    """A tree of the structure, shapes and dtypes of `like` from arrays under paths.

    Raises:
        ValueError: if a leaf is missing or has another shape or dtype.
    """

    def leaf(name, template):
        data = _raw(template)
        if name not in arrays:
            raise ValueError(f"no array {name!r}; there are {listed(arrays)}")
        array = arrays[name]
        if array.shape != data.shape or array.dtype != data.dtype:
            raise ValueError(
                f"array {name!r} is {array.dtype}{array.shape}, "
                f"expected {data.dtype}{data.shape}"
            )
        if not _is_key(template):
            return jax.numpy.asarray(array.view(np.asarray(template).dtype))
        array = jax.numpy.asarray(array)
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(template))

    return map_with_path(leaf, like)


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts from arrays under their paths.

    Example:
        >>> nested({"a/b": 1, "a/c": 2, "d": 3})
        {'a': {'b': 1, 'c': 2}, 'd': 3}
    """
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *folders, last = path.split("/")
        place = tree
        for name in folders:
            place = place.setdefault(name, {})
        place[last] = array
    return tree


def listed(names: Iterable[Any], most: int = 12) -> str:
    """Names for an error message: quoted, cut after `most`.

    Example:
        >>> listed("abc", most=2)
        "'a', 'b' and 1 more"
    """
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(repr(name) for name in names[:most]) or "none") + more


def _raw(leaf) -> np.ndarray:
    """A leaf as a type that files know: keys by their data, bfloat16 by its bits."""
    array = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    foreign = array.dtype.kind == "V"
    return array.view(f"u{array.dtype.itemsize}") if foreign else array


def _is_key(leaf) -> bool:
    return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )
