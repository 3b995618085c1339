"""The devices of a mesh, and arrays put on them or taken from them."""

import math
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from sparsejax import checks


def over(mesh: Mesh | Any = None) -> AbstractContextManager:
    """The mesh as JAX's context, as by `jax.set_mesh`; without one what that says.

    Raises:
        ValueError: for anything but a mesh of devices.

    Example:
        >>> with over(jax.make_mesh((1,), ("all",))):
        ...     jax.sharding.get_abstract_mesh().axis_names
        ('all',)
    """
    if mesh is None:
        return nullcontext()
    check_mesh(mesh)
    return jax.set_mesh(mesh)


def check_mesh(mesh: Any) -> None:
    """Raise a `ValueError` for anything but a mesh of devices."""
    if not isinstance(mesh, Mesh):
        raise ValueError(
            f"mesh must be a mesh of devices, got {checks.described(mesh)}; "
            'jax.make_mesh((jax.device_count(),), ("all",)) is one of all devices'
        )


def context(tree: PyTree) -> AbstractContextManager:
    """The mesh with explicit axes that arrays of a tree lie on, as JAX's own context.

    In it weights that lie on no mesh go together with examples that do.

    Example:
        >>> mesh = jax.make_mesh((1,), ("all",), axis_types=(AxisType.Explicit,))
        >>> x = jax.device_put(jnp.ones(4), NamedSharding(mesh, PartitionSpec("all")))
        >>> with context({"x": x, "y": np.ones(4)}):
        ...     jax.sharding.get_abstract_mesh().axis_names
        ('all',)
    """
    found = (leaf.sharding.mesh for leaf in jax.tree.leaves(tree) if is_explicit(leaf))
    mesh = next((mesh for mesh in found if isinstance(mesh, Mesh)), None)
    known = mesh is None or not jax.sharding.get_abstract_mesh().empty
    return nullcontext() if known else jax.set_mesh(mesh)


def parts(fn: Callable | None = None, *args) -> int:
    """The number of devices that work is split over: 1 without a mesh.

    And 1 for a function of `args`, if given, that closes over arrays on explicit axes:
    these say already how its work is spread.

    Example:
        >>> parts()
        1
        >>> with over(jax.make_mesh((jax.device_count(),), ("all",))):
        ...     parts() == jax.device_count()
        True
    """
    mesh = jax.sharding.get_abstract_mesh()
    if fn is not None and _holds_explicit(fn, args):
        return 1
    return math.prod(mesh.shape[axis] for axis in axis_names())


def put(tree: PyTree) -> PyTree:
    """A tree whose arrays every device of the mesh holds, or has its part of.

    Example:
        >>> mesh = jax.make_mesh((1,), ("all",))
        >>> with over(mesh):
        ...     params = put({"w": jnp.ones(2)})
        >>> params["w"].sharding.device_set == {*mesh.devices.flat}
        True
    """
    leaves = jax.tree.leaves(tree)
    if not axis_names() or any(isinstance(leaf, Tracer) for leaf in leaves):
        return tree
    try:
        mesh = jax.sharding.get_mesh()
    except ValueError:  # within `jit`, which has a mesh and no devices
        return tree
    devices, whole = set(mesh.devices.flat), NamedSharding(mesh, PartitionSpec())

    def is_elsewhere(leaf):
        if not isinstance(leaf, jax.Array):
            return False
        return leaf.sharding.device_set != devices or _is_manual(leaf)

    return _moved(tree, whole, is_elsewhere)


def room() -> int:
    """Bytes that a batch's temporaries may take on an accelerator.

    A sixteenth of its memory, so that parameters, results and other programs fit beside
    them; 1 GB where the device does not tell.

    Example:
        >>> batch_size = room() // (4 * 224 * 224 * 3)  # images of float32
        >>> batch_size > 100
        True
    """
    told = jax.local_devices()[0].memory_stats() or {}
    return told.get("bytes_limit", 16 << 30) // 16


def lay(tree: PyTree) -> PyTree:
    """A tree whose arrays are split over the devices of the mesh, outside `jit`.

    The length of their first axes is a multiple of the number of devices.

    Example:
        >>> with over(jax.make_mesh((1,), ("all",))):
        ...     lay({"x": jnp.arange(4.0)})["x"].sharding.spec[0]
        'all'
    """
    where = NamedSharding(jax.sharding.get_mesh(), PartitionSpec(axis_names()))
    return _moved(tree, where)


def local(tree: PyTree) -> PyTree:
    """A tree whose arrays NumPy holds, to be closed over by what is split.

    JAX refuses to index an array on a mesh where each of its devices has its own work.
    Without a mesh, the tree as it is.

    Example:
        >>> tree = {"x": jnp.arange(2.0)}
        >>> local(tree) is tree
        True
        >>> with over(jax.make_mesh((1,), ("all",))):
        ...     local(tree)
        {'x': array([0., 1.], dtype=float32)}
    """
    return fetch(tree) if axis_names() else tree


def fetch(tree: PyTree) -> PyTree:
    """A tree with NumPy arrays, also where parts lie with other processes.

    Example:
        >>> fetch({"x": jnp.arange(2.0), "n": 3})
        {'n': 3, 'x': array([0., 1.], dtype=float32)}
    """
    leaves = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    if all(leaf.is_fully_addressable for leaf in leaves):
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)


def replicated(tree: PyTree) -> PyTree:
    """A tree whose arrays every device holds whole, outside `jit`."""
    leaves, structure = jax.tree.flatten(tree)
    spread = [
        i
        for i, leaf in enumerate(leaves)
        if isinstance(leaf, jax.Array) and not leaf.is_fully_replicated
    ]
    if spread:
        whole = NamedSharding(leaves[spread[0]].sharding.mesh, PartitionSpec())
        gather = jax.jit(lambda arrays: arrays, out_shardings=whole)
        for i, leaf in zip(spread, gather([leaves[i] for i in spread]), strict=True):
            leaves[i] = leaf
    return jax.tree.unflatten(structure, leaves)


def axis_names(*kinds: AxisType) -> tuple[str, ...]:
    """Names of the mesh's axes, of some kinds; none where work is split already."""
    mesh = jax.sharding.get_abstract_mesh()
    types = () if mesh.empty else mesh.axis_types
    if AxisType.Manual in types:
        return ()
    named = zip(mesh.axis_names, types, strict=True) if types else ()
    return tuple(name for name, kind in named if not kinds or kind in kinds)


def is_explicit(leaf) -> bool:
    if not isinstance(leaf, jax.Array):
        return False
    mesh = getattr(jax.typeof(leaf).sharding, "mesh", None)
    return mesh is not None and AxisType.Explicit in (mesh.axis_types or ())


def _is_manual(leaf: Array) -> bool:
    """Whether an array was made while what every device does by itself was traced.

    Such are constants, and JAX 0.10 and 0.12 take them for no arguments.
    """
    kinds = getattr(getattr(leaf.sharding, "mesh", None), "axis_types", None) or ()
    return AxisType.Manual in kinds


def _moved(tree: PyTree, where: NamedSharding, which: Callable | None = None) -> PyTree:
    """Arrays of a tree on a mesh, of which other processes may have devices."""
    leaves, structure = jax.tree.flatten(tree)
    chosen = [i for i, leaf in enumerate(leaves) if which is None or which(leaf)]
    for i in chosen:
        if isinstance(leaves[i], jax.Array) and _is_manual(leaves[i]):
            leaves[i] = jnp.asarray(np.asarray(leaves[i].addressable_data(0)))
    if where.is_fully_addressable:
        moved = jax.device_put([leaves[i] for i in chosen], where)
    else:
        moved = _shared([leaves[i] for i in chosen], where)
    for i, leaf in zip(chosen, moved, strict=True):
        leaves[i] = leaf
    return jax.tree.unflatten(structure, leaves)


def _shared(leaves: list, where: NamedSharding) -> list:
    """Arrays that each process has, on devices of all: those of the first process.

    They differ at most by rounding, where processes have made them on devices that are
    not the same, or chose other algorithms.
    """
    if not leaves:
        return []
    from jax.experimental import multihost_utils

    impls = [_impl(leaf) for leaf in leaves]
    arrays = [
        np.asarray(leaf if impl is None else jax.random.key_data(leaf))
        for leaf, impl in zip(leaves, impls, strict=True)
    ]
    sums = np.array([_checksum(array) for array in arrays], np.uint32)
    if (multihost_utils.process_allgather(sums) != sums).any():
        arrays = multihost_utils.broadcast_one_to_all(arrays)
    return [
        _laid_out(np.asarray(array), where, impl)
        for array, impl in zip(arrays, impls, strict=True)
    ]


def _checksum(array: np.ndarray) -> int:
    """Of its bytes: not every type of JAX's has a buffer."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _laid_out(array: np.ndarray, where: NamedSharding, impl) -> Array:
    array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
    laid = jax.make_array_from_callback(array.shape, where, array.__getitem__)
    return laid if impl is None else jax.random.wrap_key_data(laid, impl=impl)


def _impl(leaf) -> Any:
    """How keys are made, of an array of keys."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_impl(leaf) if is_key else None


def _holds_explicit(fn, args) -> bool:
    """Whether a function closes over arrays on explicit axes, so is spread already."""
    if not axis_names(AxisType.Explicit):
        return False

    def shape(leaf):
        return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))

    closed = jax.make_jaxpr(fn)(*jax.tree.map(shape, args))
    return any(map(is_explicit, _constants(closed)))


def _constants(body):
    """Arrays that a jaxpr holds, and that the calls and loops inside it do."""
    yield from getattr(body, "consts", ())
    for equation in getattr(body, "jaxpr", body).eqns:
        for value in equation.params.values():
            for item in value if isinstance(value, tuple | list) else (value,):
                if hasattr(item, "eqns"):
                    yield from _constants(item)
