"""Many examples through a program that is written for one.

What a compiled program needs in between is one block of memory. Above 32 MB, Linux
pages it in at every call (glibc never keeps so large a block), which can cost a CPU as
much as the work itself. So batches that need more go through in parts, each a call: a
loop inside the program would not do, as XLA's convolutions are slow in loops.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from sparsejax import meshes
from sparsejax.interpret._compiled import Compiled

_BUDGET = 24 << 20  # bytes of temporaries: 32 MB, and room for what a guess is off by
_PROBE = 32  # examples whose temporaries are looked at


class Batched:
    """`jax.jit(jax.vmap(fn))`, in parts where a batch needs too much memory at a time.

    On CPUs a part needs at most 32 MB of temporaries, as one program tells for 32
    examples; all parts are calls of one program, the same for batches of one size.
    Elsewhere, on a mesh, and inside `jit`, `vmap` or `grad`, a batch is not split. What
    fn closes over is an argument of the program.

    Args:
        fn: function of one example, of positional arguments, trees of arrays.
        in_axes: 0 for arguments with a leading axis of examples and None for those that
            all examples share; one for each argument, or one for all.
        batch_size: examples at a time, wherever; None to choose.

    Example:
        >>> maps = Batched(lambda params, x: params * x, in_axes=(None, 0))
        >>> maps(2.0, jnp.arange(3.0)).tolist()
        [0.0, 2.0, 4.0]
    """

    def __init__(
        self,
        fn: Callable,
        in_axes: int | Sequence[int | None] | None = 0,
        *,
        batch_size: int | None = None,
    ):
        several = isinstance(in_axes, Sequence)
        in_axes = tuple(in_axes) if several else in_axes
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,)
        if not {*axes} <= {0, None} or {*axes} == {None}:
            raise ValueError(f"in_axes can be 0 and None, not all None; got {in_axes}")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self._axes, self._batch_size = in_axes, batch_size
        self._program = Compiled(jax.vmap(fn, in_axes))
        self._sizes: dict[Any, int] = {}

    def __call__(self, *args) -> Any:
        count = self._count(args)
        size = self._batch_size or self._sizes.get(self._shapes(args))
        if count is None or (size is not None and size >= count):
            return self._program(*args)
        if not self.can_split(*args):
            return self._program(*args)
        size = self._size(args, count) if size is None else size
        if size >= count:
            return self._program(*args)
        # the last part has some rows again, so that it is one more call of the program
        parts = [
            self._program(*self._rows(args, min(start, count - size), size))
            for start in range(0, count, size)
        ]
        return _joined(parts, size * len(parts) - count)

    def can_split(self, *args) -> bool:
        """Whether these arguments, and what fn closes over, can go in parts."""
        traced = any(isinstance(x, Tracer) for x in jax.tree.leaves(args))
        count = self._count(args)
        if traced or not count or meshes.parts() > 1:
            return False
        return self._program.is_closed(*self._rows(args, 0, min(_PROBE, count)))

    def _axis(self, i: int) -> int | None:
        return self._axes[i] if isinstance(self._axes, tuple) else self._axes

    def _count(self, args) -> int | None:
        """How many examples; None if there are not as many in every argument."""
        if isinstance(self._axes, tuple) and len(self._axes) != len(args):
            return None  # `vmap` says what is wrong
        arrays = [arg for i, arg in enumerate(args) if self._axis(i) == 0]
        shapes = {np.shape(x)[:1] for x in jax.tree.leaves(arrays)}
        return shapes.pop()[0] if len(shapes) == 1 and shapes != {()} else None

    def _rows(self, args, start: int, size: int) -> list:
        return [
            arg if self._axis(i) is None
            else jax.tree.map(lambda x: _cut(x, start, size), arg)
            for i, arg in enumerate(args)
        ]  # fmt: skip

    def _shapes(self, args) -> tuple:
        leaves, structure = jax.tree.flatten(args)
        kinds = [(getattr(x, "shape", ()), getattr(x, "dtype", None)) for x in leaves]
        return structure, *kinds

    def _size(self, args, count: int) -> int:
        def lower(size):
            return self._program.lower(*self._rows(args, 0, size))

        size = self._sizes[self._shapes(args)] = fitting(lower, count)
        return size


def fitting(lower: Callable[[int], Any], count: int, most: int | None = None) -> int:
    """How many examples at a time stay within what a CPU keeps of memory.

    Args:
        lower: `lower(n)`, the lowered program of n examples.
        count: examples in all.
        most: examples at a time, at most.

    Returns:
        A size of parts that are all alike but for a few examples. Programs of one or
        two sizes are compiled: of at most 32 examples, and of that many.
    """
    most = count if most is None else min(most, count)
    if jax.default_backend() != "cpu" or most < 1:
        return most
    probe = min(_PROBE, most)
    used = lower(probe).compile().memory_analysis()
    if used is None:
        return most
    bytes_ = max(used.temp_size_in_bytes, 1)
    # within a factor of 8 the program that there is does as well as another one
    alike = _BUDGET // 8 <= bytes_ <= _BUDGET
    size = probe if alike else max(1, min(most, probe * _BUDGET // bytes_))
    parts = -(-count // size)
    if size == probe and parts * size - count <= count // 8:
        return probe  # rather some rows twice than another program
    return -(-count // parts)


def _cut(x, start: int, size: int):
    if jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key):
        x = jax.random.clone(x)  # keys of rows that are computed twice are used twice
    return x[start : start + size]


@jax.jit
def _concatenated(parts):
    return jax.tree.map(lambda *rows: jnp.concatenate(rows), *parts)


def _joined(parts: list, again: int) -> Any:
    """The results of all parts, but for the rows that the last one has again."""
    parts[-1] = jax.tree.map(lambda x: x[again:], parts[-1])
    return _concatenated(parts)
