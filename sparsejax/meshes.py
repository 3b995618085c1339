"""Work on several devices: masks, seeds, units and examples split over a mesh.

What is made of many alike things, each by itself, is split by `split`: every device
runs the same program on its own part of them, and nothing passes between devices. A
batch that one network trains on is spread by `take`, and XLA adds up gradients. The
mesh is that of `jax.set_mesh`, with axes of any kind, and all of its axes together
count as one. Results depend on keys and not on how many devices there are, beyond
rounding.

    mesh = jax.make_mesh((8,), ("all",))
    attribute = jax.vmap(lambda x: relevance.explain(fn, params, x).input)
    split(attribute, mesh=mesh)(images)

On a mesh with explicit axes an array's sharding is part of its type: indexing along an
axis that is spread over devices has to say where its result goes, and so have sums over
one. On arrays of other kinds `gathered` does nothing.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, ArrayLike, PyTree

from sparsejax import checks

__all__ = [
    "automatic",
    "context",
    "fetch",
    "gathered",
    "lay",
    "local",
    "over",
    "parts",
    "put",
    "room",
    "split",
    "take",
]


def __dir__() -> list[str]:
    return list(__all__)


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
    if not isinstance(mesh, Mesh):
        raise ValueError(
            f"mesh must be a mesh of devices, got {checks.described(mesh)}; "
            'jax.make_mesh((jax.device_count(),), ("all",)) is one of all devices'
        )
    return jax.set_mesh(mesh)


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
    found = (leaf.sharding.mesh for leaf in jax.tree.leaves(tree) if _explicit(leaf))
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
    return math.prod(mesh.shape[axis] for axis in _axes())


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
    if not _axes() or any(isinstance(leaf, Tracer) for leaf in leaves):
        return tree
    try:
        mesh = jax.sharding.get_mesh()
    except ValueError:  # within `jit`, which has a mesh and no devices
        return tree
    devices, whole = set(mesh.devices.flat), NamedSharding(mesh, PartitionSpec())

    def place(leaf):
        here = not isinstance(leaf, jax.Array) or leaf.sharding.device_set == devices
        return leaf if here else _moved(leaf, whole)

    return jax.tree.map(place, tree)


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
    where = NamedSharding(jax.sharding.get_mesh(), PartitionSpec(_axes()))
    return jax.tree.map(lambda leaf: _moved(leaf, where), tree)


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
    return fetch(tree) if _axes() else tree


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


def split(
    fn: Callable, in_axes: Any = 0, *, mesh: Mesh | Any = None
) -> Callable[..., PyTree]:
    """A function of stacked arguments, every device doing its part of the stack.

    Where the stack is no multiple of the number of devices its last entry is computed
    more than once.

    Args:
        fn: function whose results have the leading axis of its arguments, and each
            entry of which depends on that entry of theirs alone, as of `jax.vmap`.
        in_axes: 0 for arguments that are stacked, None for those that every device is
            given whole: one for all, or a tuple with one (or a tree) for each.
        mesh: devices, for calls outside `jit`; by default those of `jax.set_mesh`,
            and without any `fn` itself is called.

    Example:
        >>> square = split(jax.vmap(lambda x: x**2), mesh=jax.make_mesh((1,), ("all",)))
        >>> square(jnp.arange(3.0)).tolist()
        [0.0, 1.0, 4.0]
    """

    def call(*args):
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        stacked = jax.tree.leaves(_where(_if_stacked, axes, args))
        if not stacked or parts() == 1 or parts(fn, *args) == 1:
            return fn(*args)
        return _divided(fn, axes, args, len(stacked[0]))

    if mesh is None:
        return call
    jitted = jax.jit(call)

    def on_mesh(*args):
        with over(mesh):
            return jitted(*put(args))

    return on_mesh


def _divided(fn, in_axes, args, count: int) -> PyTree:
    """Results of a function of stacks of a length, its parts on all devices."""
    each = -(-count // parts())
    rows = jnp.minimum(jnp.arange(each * parts()), count - 1)
    own, whole = PartitionSpec(_axes()), PartitionSpec()

    def prepared(axis, leaf):
        if axis is None:
            return gathered(leaf)
        if count != len(rows):
            leaf = gathered(leaf)[rows]
        return _laid(leaf, own)

    args = _where(prepared, in_axes, args)
    specs = jax.tree.map(lambda a: whole if a is None else own, in_axes, is_leaf=_none)
    divided = jax.shard_map(fn, in_specs=specs, out_specs=own, check_vma=False)
    try:
        outs = divided(*args)
    except ValueError as error:
        if "ontext mesh" not in str(error):
            raise
        raise ValueError(
            "the function that is split over devices indexes an array on their mesh "
            "that it closes over, which JAX refuses; close over meshes.local(array)"
        ) from error
    if count == len(rows):
        return outs
    return jax.tree.map(lambda leaf: gathered(leaf)[:count], outs)


def automatic(fn: Callable, outs: Callable[..., Any]) -> Callable[..., PyTree]:
    """A function whose arrays have no shardings in their types.

    Models know nothing of explicit axes, and many operations are not defined on them.

    Args:
        fn: function, inside `jit`.
        outs: function of its arguments to arrays laid out as its results are to be, one
            for a whole tree if need be; None for results that every device holds.

    Example:
        >>> mesh = jax.make_mesh((1,), ("all",), axis_types=(AxisType.Explicit,))
        >>> fn = automatic(lambda x: x.reshape(2, 2).sum(axis=0), lambda x: None)
        >>> with over(mesh):
        ...     jax.jit(fn)(lay(jnp.arange(4.0))).tolist()
        [2.0, 4.0]
    """

    def call(*args):
        axes = _axes(AxisType.Explicit)
        if not axes:
            return fn(*args)
        like = outs(*args)
        specs = jax.tree.map(
            lambda leaf: PartitionSpec(*_spec(leaf)) if _explicit(leaf) else whole,
            like,
            is_leaf=_none,
        )
        return jax.sharding.auto_axes(fn, axes=axes, out_sharding=specs)(*args)

    whole = PartitionSpec()
    return call


def take(array: Array, rows: ArrayLike) -> Array:
    """`array[rows]` along the first axis, inside `jit`; rows must be within bounds.

    The result is spread over the devices of a mesh with automatic axes. On explicit
    ones it is as the array is; along the first axis only if the number of rows lets it.

    Example:
        >>> jax.jit(take)(jnp.array([1.0, 2.0, 3.0]), jnp.array([2, 0])).tolist()
        [3.0, 1.0]
    """
    array, rows, where = jnp.asarray(array), jnp.asarray(rows), None
    if _explicit(array):
        mesh, (first, *rest) = jax.typeof(array).sharding.mesh, _spec(array)
        axes = (first,) if isinstance(first, str) else first or ()
        count = math.prod(mesh.shape[axis] for axis in axes)
        first = first if rows.size % count == 0 else None
        where = NamedSharding(mesh, PartitionSpec(first, *rest))
    batch = array.at[rows].get(mode="promise_in_bounds", out_sharding=where)
    axes = _axes(AxisType.Auto)
    if where is not None or not axes:
        return batch
    rest = (PartitionSpec.UNCONSTRAINED,) * (batch.ndim - 1)
    return jax.lax.with_sharding_constraint(batch, PartitionSpec(axes, *rest))


def gathered(array: Array) -> Array:
    """An array that every device holds whole, so that its axes can be joined.

    Example:
        >>> mesh = jax.make_mesh((1,), ("all",), axis_types=(AxisType.Explicit,))
        >>> with over(mesh):
        ...     gathered(lay(jnp.ones((2, 3)))).reshape(6).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    if not _explicit(array):
        return array
    where = NamedSharding(jax.typeof(array).sharding.mesh, PartitionSpec())
    return jax.sharding.reshard(array, where)


def _moved(leaf, where: NamedSharding) -> Array:
    """An array on a mesh, of which other processes may have devices."""
    if where.is_fully_addressable:
        return jax.device_put(leaf, where)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):  # JAX moves their data only
        data = jax.device_put(np.asarray(jax.random.key_data(leaf)), where)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    return jax.device_put(np.asarray(leaf), where)


def _axes(*kinds: AxisType) -> tuple[str, ...]:
    """Names of the mesh's axes, of some kinds; none where work is split already."""
    mesh = jax.sharding.get_abstract_mesh()
    types = () if mesh.empty else mesh.axis_types
    if AxisType.Manual in types:
        return ()
    named = zip(mesh.axis_names, types, strict=True) if types else ()
    return tuple(name for name, kind in named if not kinds or kind in kinds)


def _laid(leaf, spec: PartitionSpec):
    """An array laid out for a part of it on every device: on explicit axes only."""
    axes = _axes(AxisType.Explicit)
    return jax.sharding.reshard(leaf, PartitionSpec(axes)) if axes and spec else leaf


def _where(change: Callable, in_axes, args) -> PyTree:
    """Arguments whose leaves were changed by what is said of the tree they are in."""

    def each(axis, tree):
        return jax.tree.map(partial(change, axis), tree)

    return jax.tree.map(each, in_axes, args, is_leaf=_none)


def _if_stacked(axis, leaf):
    return None if axis is None else leaf


def _none(node) -> bool:
    return node is None


def _holds_explicit(fn, args) -> bool:
    """Whether a function closes over arrays on explicit axes, so is spread already."""
    if not _axes(AxisType.Explicit):
        return False

    def shape(leaf):
        return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))

    closed = jax.make_jaxpr(fn)(*jax.tree.map(shape, args))
    return any(map(_explicit, _constants(closed)))


def _constants(body):
    """Arrays that a jaxpr holds, and that the calls and loops inside it do."""
    yield from getattr(body, "consts", ())
    for equation in getattr(body, "jaxpr", body).eqns:
        for value in equation.params.values():
            for item in value if isinstance(value, tuple | list) else (value,):
                if hasattr(item, "eqns"):
                    yield from _constants(item)


def _explicit(leaf) -> bool:
    if not isinstance(leaf, jax.Array):
        return False
    mesh = getattr(jax.typeof(leaf).sharding, "mesh", None)
    return mesh is not None and AxisType.Explicit in (mesh.axis_types or ())


def _spec(array) -> tuple:
    """The mesh axes of every axis of an array."""
    spec = tuple(jax.typeof(array).sharding.spec)
    return spec + (None,) * (array.ndim - len(spec))
