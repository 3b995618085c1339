"""Functions of stacks whose parts are computed by different devices."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, ArrayLike, PyTree

from sparsejax.meshes._places import axis_names, is_explicit, over, parts, put


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


def automatic(fn: Callable, outs: Callable[..., Any]) -> Callable[..., PyTree]:
    """A function whose arrays have no shardings in their types.

    Models know nothing of explicit axes, and many operations are not defined on them.

    Args:
        fn: function, inside `jit`.
        outs: function of its arguments to arrays laid out as its results are to be, one
            for a whole tree if need be; None for results that every device holds.

    Example:
        >>> from sparsejax.meshes import lay
        >>> mesh = jax.make_mesh((1,), ("all",), axis_types=(AxisType.Explicit,))
        >>> fn = automatic(lambda x: x.reshape(2, 2).sum(axis=0), lambda x: None)
        >>> with over(mesh):
        ...     jax.jit(fn)(lay(jnp.arange(4.0))).tolist()
        [2.0, 4.0]
    """

    def call(*args):
        axes = axis_names(AxisType.Explicit)
        if not axes:
            return fn(*args)
        like = outs(*args)
        specs = jax.tree.map(
            lambda leaf: PartitionSpec(*_spec(leaf)) if is_explicit(leaf) else whole,
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
    if is_explicit(array):
        mesh, (first, *rest) = jax.typeof(array).sharding.mesh, _spec(array)
        axes = (first,) if isinstance(first, str) else first or ()
        count = math.prod(mesh.shape[axis] for axis in axes)
        first = first if rows.size % count == 0 else None
        where = NamedSharding(mesh, PartitionSpec(first, *rest))
    batch = array.at[rows].get(mode="promise_in_bounds", out_sharding=where)
    axes = axis_names(AxisType.Auto)
    if where is not None or not axes:
        return batch
    rest = (PartitionSpec.UNCONSTRAINED,) * (batch.ndim - 1)
    return jax.lax.with_sharding_constraint(batch, PartitionSpec(axes, *rest))


def gathered(array: Array) -> Array:
    """An array that every device holds whole, so that its axes can be joined.

    Example:
        >>> from sparsejax.meshes import lay
        >>> mesh = jax.make_mesh((1,), ("all",), axis_types=(AxisType.Explicit,))
        >>> with over(mesh):
        ...     gathered(lay(jnp.ones((2, 3)))).reshape(6).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    if not is_explicit(array):
        return array
    where = NamedSharding(jax.typeof(array).sharding.mesh, PartitionSpec())
    return jax.sharding.reshard(array, where)


def _divided(fn, in_axes, args, count: int) -> PyTree:
    """Results of a function of stacks of a length, its parts on all devices."""
    each = -(-count // parts())
    rows = jnp.minimum(jnp.arange(each * parts()), count - 1)
    own, whole = PartitionSpec(axis_names()), PartitionSpec()

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


def _laid(leaf, spec: PartitionSpec):
    """An array laid out for a part of it on every device: on explicit axes only."""
    axes = axis_names(AxisType.Explicit)
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


def _spec(array) -> tuple:
    """The mesh axes of every axis of an array."""
    spec = tuple(jax.typeof(array).sharding.spec)
    return spec + (None,) * (array.ndim - len(spec))
