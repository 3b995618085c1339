"""A mesh for calls that are given none, and whole results of what they split."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from sparsejax.meshes._places import check_mesh, over, put, replicated
from sparsejax.meshes._split import split

Function = TypeVar("Function", bound=Callable)
# Meshes, the innermost last, each with the names of what has been split since.
_meshes: list[tuple[Mesh, list[str]]] = []


@contextlib.contextmanager
def by_default(mesh: Mesh | Any) -> Iterator[list[str]]:
    """The mesh of calls that take a mesh and are given none, nor one by JAX.

    Unlike `jax.set_mesh` it changes nothing between calls: what they return lies whole
    on this process's first device, as without a mesh. So a program runs on several
    processes as it does on one: each does all of it, but for its part of what is split.

    Yields:
        Names of the functions that have split their work, as they do.

    Raises:
        ValueError: for anything but a mesh of devices.

    Example:
        >>> from sparsejax import sweep
        >>> with by_default(jax.make_mesh((1,), ("all",))) as split:
        ...     sweep.evaluate(jnp.sum, jnp.eye(2), progress=False).tolist()
        [1.0, 1.0]
        >>> split
        ['evaluate']
    """
    check_mesh(mesh)
    names: list[str] = []
    _meshes.append((mesh, names))
    try:
        yield names
    finally:
        _meshes.pop()


def on_mesh(fn: Function) -> Function:
    """A function with `mesh=` that the mesh of `by_default` is the default of.

    Inside a transformation (`jit`, `vmap`, `grad`) nothing is split anew.

    Example:
        >>> @on_mesh
        ... def double(x, mesh=None):
        ...     with over(mesh):
        ...         return 2 * x
        >>> with by_default(jax.make_mesh((1,), ("all",))):
        ...     double(jnp.ones(2)).tolist()
        [2.0, 2.0]
    """

    @functools.wraps(fn)
    def call(*args: Any, **options: Any) -> Any:
        known = not jax.sharding.get_abstract_mesh().empty
        if not _meshes or known or options.get("mesh") is not None:
            return fn(*args, **options)
        with contextlib.ExitStack() as context:
            try:
                context.enter_context(over(_meshes[-1][0]))
            except ValueError:  # JAX's, inside a transformation
                return fn(*args, **options)
            for _, names in _meshes:
                names.append(fn.__name__)
            results = replicated(fn(*args, **options))
        return jax.tree.map(_home, results)

    return call  # pyright: ignore[reportReturnType]


def spread(fn: Callable, in_axes: Any = 0) -> Callable[..., PyTree]:
    """`split` with that default, and compiled.

    Args:
        fn: as of `split`.
        in_axes: as of `split`.

    Example:
        >>> square = spread(jax.vmap(lambda x: x**2))
        >>> with by_default(jax.make_mesh((1,), ("all",))):
        ...     square(jnp.arange(3.0)).tolist()
        [0.0, 1.0, 4.0]
    """
    jitted = jax.jit(split(fn, in_axes))

    @on_mesh
    @functools.wraps(fn)
    def call(*args):
        return jitted(*put(args))

    return call


def _home(leaf: Any) -> PyTree:
    """An array that all devices hold, on this process's first one alone."""
    if not isinstance(leaf, jax.Array):
        return leaf
    own = leaf.addressable_data(0)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = jnp.asarray(np.asarray(jax.random.key_data(own)))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    return jnp.asarray(np.asarray(own))
