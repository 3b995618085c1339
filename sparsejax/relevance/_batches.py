"""One function at many points: all at once while they are few, else in batches.

Inside a user's `jit`, batches are a loop of the program; outside, calls of one program.
"""

from collections.abc import Callable
from numbers import Integral

import jax
from jaxtyping import PyTree

from sparsejax import interpret, meshes

_MOST = {"cpu": 1 << 20}  # numbers of all the inputs of a batch
_BYTES = 256  # of temporaries for one such number, elsewhere


def over(
    f: Callable, points: PyTree, *, size: int, batch_size: int | None = None
) -> PyTree:
    """`f` of every point, stacked: a `vmap`, or a loop over them if they are many.

    On a mesh that `jax.set_mesh` says every device does its part of the points.

    Args:
        f: a function of one point.
        points: tree of arrays with a leading axis of points.
        size: numbers in an input that `f` makes of a point, to choose a batch by.
        batch_size: points at a time on every device.
    """
    asked = batch_size
    if batch_size is None:
        most = _MOST.get(jax.default_backend(), meshes.room() // _BYTES)
        batch_size = max(1, most // max(size, 1))
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")

    def run(points):
        if batch_size >= len(jax.tree.leaves(points)[0]):
            return interpret.whole(jax.vmap(f), points)
        apart = interpret.Batched(f, batch_size=asked)
        if apart.can_split(points):
            return apart(points)
        return jax.lax.map(f, points, batch_size=batch_size)

    if meshes.parts() == 1:
        return run(points)
    results = interpret.Compiled(meshes.split(run))(points)
    return jax.tree.map(meshes.gathered, results)


def check_count(name: str, count: object) -> None:
    """Refuse to do a thing less than once, or not a whole number of times."""
    if not isinstance(count, Integral):
        raise ValueError(f"{name} must be a whole number, got {count}")
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")
