"""Names for the leaves of a tree: `'dense_0/kernel'`, and back.

Paths are how masks, files, metrics and error messages speak of one array among many.

A path is the names on the way to a leaf, joined by "/": keys of dicts, attributes,
numbers in lists. Where a name itself has a "/" (as in Haiku), that is written "%2F",
and "%" is written "%25", so that no two leaves share a path. The same form is meant
wherever a path is asked for or given: the keys of `masks.counts`, `scope={path: ...}`
and patterns of `prune`, `prunable(path, leaf)`, `trainable(path, leaf)`. `joined` makes
a path of names, `names` takes it apart:

    >>> joined("mlp/linear", "w"), names("mlp%2Flinear/w")
    ('mlp%2Flinear/w', ['mlp/linear', 'w'])
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from sparsejax._words import listed

__all__ = [
    "by_path",
    "check_structure",
    "float_dtype",
    "from_arrays",
    "joined",
    "listed",
    "map_with_path",
    "names",
    "nested",
    "path",
    "to_arrays",
]


def __dir__() -> list[str]:
    return list(__all__)


def joined(*names: str) -> str:
    """The path that these names make, from the root to the leaf."""
    return "/".join(name.replace("%", "%25").replace("/", "%2F") for name in names)


def names(path: str) -> list[str]:
    """The names that a path is made of: `joined` undone."""
    return [name.replace("%2F", "/").replace("%25", "%") for name in path.split("/")]


def path(keys) -> str:
    """The string for one key path of `jax.tree_util`."""
    return joined(*[jax.tree_util.keystr((key,), simple=True) for key in keys])


def by_path(tree: Any) -> dict[str, Any]:
    """Every leaf under its path, in the order of the tree.

    Raises:
        ValueError: if two leaves have the same path, as under the keys 1 and "1".

    Example:
        >>> by_path({"dense_0": {"bias": 1, "kernel": 2}})
        {'dense_0/bias': 1, 'dense_0/kernel': 2}
    """
    found: dict[str, Any] = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if (name := path(keys)) in found:
            raise ValueError(
                f"two leaves have the path {name!r}: {jax.tree_util.keystr(keys)} and "
                "another whose keys read the same; rename one"
            )
        found[name] = leaf
    return found


def check_structure(tree: Any, like: Any, name: str, like_name: str) -> None:
    """Raise a `ValueError` that says where the structures of two trees differ."""
    if jax.tree.structure(tree) == jax.tree.structure(like):
        return
    have, want = by_path(tree), by_path(like)
    missing = [path for path in want if path not in have]
    unknown = [path for path in have if path not in want]
    other = "" if missing or unknown else "; paths are the same, containers are not"
    raise ValueError(
        f"{name} must have the structure of {like_name}; "
        f"missing: {listed(missing)}; unknown: {listed(unknown)}{other}"
    )


def map_with_path(function: Callable, tree: Any, *rest: Any) -> Any:
    """`jax.tree.map` for a function whose first argument is the leaf's path."""
    return jax.tree_util.tree_map_with_path(
        lambda keys, *leaves: function(path(keys), *leaves), tree, *rest
    )


def to_arrays(tree: Any) -> dict[str, np.ndarray]:
    """The leaves as NumPy arrays under their paths, ready for a file; keys as data.

    Raises:
        ValueError: if a leaf is no array.
    """
    arrays = {name: _raw(leaf) for name, leaf in by_path(tree).items()}
    if foreign := [name for name, array in arrays.items() if array.dtype == object]:
        raise ValueError(f"leaves that are not arrays: {listed(foreign)}")
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    """A tree of the structure, shapes and dtypes of `like` from arrays under paths.

    Args:
        arrays: from `to_arrays`, or from an earlier version of it that left "/" and "%"
            in names as they are, if no two leaves had the same path then.
        like: any tree of that form; values do not matter.

    Raises:
        ValueError: if a leaf is missing or has another shape or dtype.
    """
    stored = _stored(list(by_path(like)), arrays)

    def leaf(name, template):
        data = _raw(template)
        if stored[name] not in arrays:
            raise ValueError(f"no array {name!r}; there are {listed(arrays)}")
        array = arrays[stored[name]]
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

    Raises:
        ValueError: if an array has the path of another, or lies within it.

    Example:
        >>> nested({"a/b": 1, "a/c": 2, "d": 3})
        {'a': {'b': 1, 'c': 2}, 'd': 3}
    """
    tree: dict[str, Any] = {}
    folders: dict[tuple[str, ...], dict[str, Any]] = {(): tree}
    for path, array in arrays.items():
        *above, last = names(path)
        for depth, name in enumerate(above):
            here, inner = tuple(above[:depth]), tuple(above[: depth + 1])
            if inner not in folders and name not in folders[here]:
                folders[inner] = folders[here][name] = {}
            if inner not in folders:
                raise ValueError(f"an array lies at {joined(*inner)!r}, and {path!r}")
        if last in folders[tuple(above)]:
            raise ValueError(f"several arrays lie at {path!r}")
        folders[tuple(above)][last] = array
    return tree


def float_dtype(tree: Any) -> np.dtype:
    """In what to compute with a tree: the one type of its floats, or a wider one.

    Of several types float64 if it is among them, else float32; also without any.
    """
    kinds = {getattr(leaf, "dtype", None) for leaf in jax.tree.leaves(tree)}
    floats = [k for k in kinds if k and jax.numpy.issubdtype(k, jax.numpy.floating)]
    if len(floats) == 1:
        return np.dtype(floats[0])
    return np.dtype("float64" if np.dtype("float64") in floats else "float32")


def _stored(paths: list[str], arrays: Mapping[str, Any]) -> dict[str, str]:
    """Where each leaf lies in a file: at its path, or as files were written before."""
    if not all(path in arrays for path in paths):
        before = {path: "/".join(names(path)) for path in paths}
        told_apart = len(set(before.values())) == len(paths)
        if told_apart and all(path in arrays for path in before.values()):
            return before
    return {path: path for path in paths}


def _raw(leaf) -> np.ndarray:
    """A leaf as a type that files know: keys by their data, bfloat16 by its bits."""
    array = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    foreign = array.dtype.kind == "V"
    return array.view(f"u{array.dtype.itemsize}") if foreign else array


def _is_key(leaf) -> bool:
    return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )
