"""Arrays on meshes with explicit axes, where an array's sharding is part of its type.

There indexing along an axis that is spread over devices has to say where its result
goes, and so have sums over one. On arrays of other kinds all of this does nothing.
"""

from contextlib import AbstractContextManager, nullcontext

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, ArrayLike, PyTree

__all__ = [
    "context",
    "gathered",
    "take",
]


def __dir__() -> list[str]:
    return list(__all__)


def context(tree: PyTree) -> AbstractContextManager:
    """The mesh with explicit axes that arrays of a tree lie on, as JAX's own context.

    In it weights that lie on no mesh go together with examples that do.
    """
    found = (leaf.sharding.mesh for leaf in jax.tree.leaves(tree) if _explicit(leaf))
    mesh = next((mesh for mesh in found if isinstance(mesh, Mesh)), None)
    known = mesh is None or not jax.sharding.get_abstract_mesh().empty
    return nullcontext() if known else jax.set_mesh(mesh)


def take(array: Array, rows: ArrayLike) -> Array:
    """`array[rows]` along the first axis, inside `jit`; rows must be within bounds.

    The result is spread over devices as the array is; along the first axis only if the
    number of rows lets it.
    """
    rows, where = jax.numpy.asarray(rows), None
    if _explicit(array):
        mesh, (first, *rest) = jax.typeof(array).sharding.mesh, _spec(array)
        axes = (first,) if isinstance(first, str) else first or ()
        parts = 1
        for axis in axes:
            parts *= mesh.shape[axis]
        first = first if rows.size % parts == 0 else None
        where = NamedSharding(mesh, PartitionSpec(first, *rest))
    return array.at[rows].get(mode="promise_in_bounds", out_sharding=where)


def gathered(array: Array) -> Array:
    """An array that every device holds whole, so that its axes can be joined."""
    if not _explicit(array):
        return array
    where = NamedSharding(jax.typeof(array).sharding.mesh, PartitionSpec())
    return jax.sharding.reshard(array, where)


def _explicit(leaf) -> bool:
    if not isinstance(leaf, jax.Array):
        return False
    mesh = getattr(jax.typeof(leaf).sharding, "mesh", None)
    return mesh is not None and AxisType.Explicit in (mesh.axis_types or ())


def _spec(array) -> tuple:
    """The mesh axes of every axis of an array."""
    spec = tuple(jax.typeof(array).sharding.spec)
    return spec + (None,) * (array.ndim - len(spec))
