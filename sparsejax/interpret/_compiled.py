"""`jax.jit`, for functions that run a user's functions.

What they close over are arguments of the compiled program. Programs that are the same
but for these arrays are compiled once, whether a function is the same object or was
made anew, as a loss or an optimizer is at every call.
"""

import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
from jax.core import Tracer
from jax.extend import core as jex

from sparsejax import meshes
from sparsejax.interpret import _closures
from sparsejax.interpret._identity import identity

_PROGRAMS = 128  # to keep, a megabyte or two each


class Ready(NamedTuple):
    """A compiled function, and what it is given before its own arguments."""

    program: Callable
    arrays: list


class Compiled:
    """A function as `jax.jit` compiles it, with what it closes over as arguments.

    What is traced already, by `jit`, `vmap` or `grad` around it, goes to `jax.jit`
    itself, and so do arrays that lie on several devices that are not the same. On a
    mesh that `jax.set_mesh` says arrays that lie elsewhere are brought to its devices.

    Args:
        fn: function of positional arguments: trees of arrays and static ones.
        static_argnums: numbers of the static arguments, as of `jax.jit`.
        compiler_options: as of `jax.jit`.

    Example:
        >>> y = jax.numpy.arange(3.0)
        >>> float(Compiled(lambda x: (x * y).sum())(1.0))
        3.0
    """

    def __init__(
        self,
        fn: Callable,
        static_argnums: int | tuple[int, ...] = (),
        compiler_options: dict[str, Any] | None = None,
    ):
        one = isinstance(static_argnums, int)
        self._static = (static_argnums,) if one else static_argnums
        self._options = compiler_options
        self._plain = jax.jit(
            fn, static_argnums=self._static, compiler_options=compiler_options
        )
        self._name = getattr(fn, "__name__", "program")
        self._ready = weakref.WeakKeyDictionary()

    def __call__(self, *args) -> Any:
        leaves = self._leaves(args)
        if _is_traced(leaves) or getattr(jax.config, "jax_disable_jit", False):
            return self._plain(*args)
        traced = self._plain.trace(*args)
        ready, leaves = self._prepared(traced, leaves), meshes.put(leaves)
        if ready is None or not _together([*ready.arrays, *leaves]):
            return self._plain(*meshes.put(args))
        outs = ready.program(*ready.arrays, *leaves)
        return jax.tree.unflatten(traced.out_tree, outs)

    def lower(self, *args) -> Any:
        """As of `jax.jit`; compiling it is compiling what a call runs."""
        leaves = self._leaves(args)
        ready = self._prepared(self._plain.trace(*args), leaves)
        leaves = meshes.put(leaves)
        if ready is None or not _together([*ready.arrays, *leaves]):
            return self._plain.lower(*meshes.put(args))
        return ready.program.lower(*ready.arrays, *leaves)

    def eval_shape(self, *args) -> Any:
        """As of `jax.jit`."""
        return self._plain.eval_shape(*args)

    def is_closed(self, *args) -> bool:
        """Whether all that the function reads is known: nothing is traced around it."""
        leaves = self._leaves(args)
        if _is_traced(leaves):
            return False
        return self._prepared(self._plain.trace(*args), leaves) is not None

    def _leaves(self, args) -> list:
        return jax.tree.leaves([a for i, a in enumerate(args) if i not in self._static])

    def _prepared(self, traced, leaves) -> Ready | None:
        closed = traced.jaxpr
        if len(closed.jaxpr.invars) != len(leaves) or _is_traced(closed.consts):
            return None  # it closes over what is traced around it
        if closed not in self._ready:  # JAX finds the same one for the same function
            program, arrays = _closures.opened(closed, leaves)
            program = _Program(program, self._name, self._options)
            self._ready[closed] = Ready(_shared(program), arrays)
        ready = self._ready[closed]
        arrays = meshes.put(ready.arrays)
        if any(new is not old for new, old in zip(arrays, ready.arrays, strict=True)):
            self._ready[closed] = ready = ready._replace(arrays=arrays)  # once a mesh
        return ready


def _is_traced(leaves) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in leaves)


def _together(arrays) -> bool:
    """Whether arrays that are bound to devices are so to the same ones."""
    where = {a.sharding for a in arrays if isinstance(a, jax.Array) and a.committed}
    return len({frozenset(sharding.device_set) for sharding in where}) < 2


class _Program:
    """A program that is equal to others that compute the same, if that can be told."""

    def __init__(self, closed, name: str, options: dict[str, Any] | None):
        self.closed, self.name, self.options = closed, name, options
        key = identity(closed)
        self._key = (
            None if key is None else (key, tuple(sorted((options or {}).items())))
        )
        self._hash = hash(self._key)

    @property
    def is_known(self) -> bool:
        return self._key is not None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other) -> bool:
        return isinstance(other, _Program) and self._key == other._key


def _shared(program: _Program) -> Callable:
    """The program compiled, or one that is the same and was compiled before."""
    return _known(program) if program.is_known else _jitted(program)


@lru_cache(_PROGRAMS)
def _known(program: _Program) -> Callable:
    return _jitted(program)


def _jitted(program: _Program) -> Callable:
    run = jex.jaxpr_as_fun(program.closed)

    def call(*args):
        return run(*args)

    call.__name__ = program.name  # as profiles show it
    return jax.jit(call, compiler_options=program.options)
