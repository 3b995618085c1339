"""Examples: trees of arrays with one leading axis, in memory or read block by block."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from sparsejax import checks, trees

_BLOCK_BYTES = 2**27  # of examples that are read at once where not all of them are


class Examples(NamedTuple):
    """Inputs and labels, checked.

    Attributes:
        x: inputs, every leaf with a leading axis over the examples.
        y: labels, likewise.
        count: how many examples there are.
        whole: whether `x` is held in memory.
    """

    x: PyTree
    y: PyTree
    count: int
    whole: bool


class Block(NamedTuple):
    """Some batches of an epoch.

    Attributes:
        x: inputs.
        y: labels.
        order: of the examples of the block.
        first: step of training that `order` begins with.
        start: first step to do.
    """

    x: PyTree
    y: PyTree
    order: Int[np.ndarray, "*seeds examples"]
    first: np.int32
    start: np.int32


def examples(data: Any) -> Examples:
    """`(x, y)`, if they are trees of arrays of as many examples.

    Raises:
        ValueError: names the leaf that is none, or has another number of examples.
    """
    named = getattr(data, "_fields", ())[:2] == ("x", "y")
    if not isinstance(data, tuple | list) or not (named or len(data) == 2):
        raise ValueError(
            f"data must be a pair (x, y) of inputs and labels, got "
            f"{checks.described(data)}"
        )
    for name, part in zip("xy", data, strict=False):
        if isinstance(part, Iterator):
            raise ValueError(
                f"{name} is {checks.described(part)}; expected arrays: np.stack([*"
                f"{name}])"
            )
    x, y = (jax.tree.map(_array, part, is_leaf=_numbers) for part in data[:2])
    for name, leaf in _leaves(x, y).items():
        _check_leaf(name, leaf, read=name.startswith("x"))
    counts = {name: len(leaf) for name, leaf in _leaves(x, y).items()}
    for name, part in {"x": x, "y": y}.items():
        if not jax.tree.leaves(part):
            raise ValueError(f"{name} has no arrays; data must be a pair (x, y)")
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"x and y must be of the same examples; their leading axes are {counts}"
        )
    count = next(iter(counts.values()))
    if not count:
        raise ValueError("there are no examples: the leading axis of x has length 0")
    return Examples(x, y, count, all(map(_held, jax.tree.leaves(x))))


def in_memory(data: Any) -> Examples:
    """`examples(data)`, refused if `x` is read block by block."""
    found = examples(data)
    for name, leaf in _leaves(found.x, found.y).items():
        if not isinstance(leaf, np.ndarray | jax.Array):
            raise ValueError(
                f"{name} is {checks.described(leaf)}; expected an array in memory: "
                "take parts of x and y, and the mean of what is found"
            )
    return found


def batch_shapes(found: Examples, size: int) -> PyTree:
    """Shapes and dtypes of a batch of inputs."""

    def shape(leaf):
        one = leaf if _held(leaf) else np.asarray(leaf[np.zeros(1, np.int32)])
        dtype = jax.dtypes.canonicalize_dtype(one.dtype, allow_extended_dtype=True)
        return jax.ShapeDtypeStruct((size, *one.shape[1:]), dtype)

    return jax.tree.map(shape, found.x)


def whole(found: Examples, order, size, first, start, stop) -> Iterator:
    """All of an epoch as one block, and the step it ends before."""
    yield Block(found.x, found.y, order, np.int32(first), np.int32(start)), stop


def blocks(found: Examples, order, size, first, start, stop) -> Iterator:
    """An epoch in blocks of batches, each read while the one before is used."""
    if order.ndim > 1:
        raise ValueError("stacked networks read x in one order only: give one data_key")

    def pick(tree, rows):
        return jax.tree.map(lambda leaf: np.asarray(leaf[rows]), tree)

    one = jax.tree.leaves(pick(found.x, order[:1]))
    many = max(1, _BLOCK_BYTES // (sum(leaf.nbytes for leaf in one) * size))
    y = jax.tree.map(np.asarray, found.y)

    def read(at):
        rows = order[(at - first) * size : (at + many - first) * size]
        rows = rows[: (stop - at) * size]
        return pick(found.x, rows), pick(y, rows), len(rows)

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(read, start)
        for at in range(start, stop, many):
            *pair, count = coming.result()
            if at + many < stop:
                coming = ahead.submit(read, at + many)
            x, y_ = jax.tree.map(jnp.asarray, pair)
            same, here = np.arange(count, dtype=np.int32), np.int32(at)
            yield Block(x, y_, same, here, here), min(at + many, stop)


def order(key: Key[Array, "..."], epoch: int, count: int) -> Int[np.ndarray, "..."]:
    """The examples' order in one epoch, for one key or for each of several.

    Drawn by NumPy from the key's bits: XLA's permutation is a sort, slow on a CPU.
    """
    bits = np.asarray(jax.random.key_data(key))

    def draw(seed):
        return np.random.default_rng([*seed, epoch]).permutation(count)

    orders = [draw(seed) for seed in bits.reshape(-1, bits.shape[-1])]
    return np.asarray(orders, np.int32).reshape(*key.shape, count)


def not_finite(found: Examples) -> str:
    """What of the examples in memory is not finite; empty if nothing is."""
    for name, leaf in _leaves(found.x, found.y).items():
        if not _held(leaf) or not jnp.issubdtype(leaf.dtype, jnp.inexact):
            continue
        finite = np.isfinite(np.asarray(leaf)).reshape(len(leaf), -1).all(axis=1)
        if not finite.all():
            return (
                f"{name} is NaN or infinite in {(~finite).sum()} of {len(leaf)} "
                f"examples, the first of them example {finite.argmin()}"
            )
    return ""


def _leaves(x, y) -> dict[str, Any]:
    def join(name, path):
        return f"{name}/{path}" if path else name

    parts = {"x": trees.by_path(x), "y": trees.by_path(y)}
    return {join(n, path): a for n, part in parts.items() for path, a in part.items()}


def _numbers(tree) -> bool:
    """Whether this is a list of numbers, and so one array."""
    if not isinstance(tree, list | tuple):
        return False
    leaves = jax.tree.leaves(tree)
    return bool(leaves) and all(isinstance(a, int | float | complex) for a in leaves)


def _array(leaf):
    return np.asarray(leaf) if _numbers(leaf) else leaf


def _held(leaf) -> bool:
    """Whether this is an array in memory."""
    arrays = isinstance(leaf, np.ndarray | jax.Array)
    return arrays and not isinstance(leaf, np.memmap)


def _check_leaf(name: str, leaf: Any, read: bool) -> None:
    for convert in ("to_numpy", "numpy"):
        if hasattr(leaf, convert):
            raise ValueError(
                f"{name} is {checks.described(leaf)}; pass arrays of NumPy or JAX, as "
                f"{name.split('/')[0]}.{convert}() gives"
            )
    if isinstance(leaf, np.ndarray | jax.Array):
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OSUmM":
            raise ValueError(f"{name} is {checks.described(leaf)}; expected numbers")
        if not leaf.ndim:
            raise ValueError(f"{name} has no axes; the first must be over the examples")
        return
    rows = hasattr(leaf, "__len__") and hasattr(leaf, "__getitem__")
    if not (read and rows) or isinstance(leaf, str | bytes):
        kind = " or what has len(x) and x[rows]" if read else " in memory"
        raise ValueError(f"{name} is {checks.described(leaf)}; expected an array{kind}")
