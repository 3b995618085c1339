"""One function of many masks: what is computed once, and where the axis of masks is."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from sparsejax.sweep._columns import columns
from sparsejax.sweep._share import share, trace

# For fewer masks what no mask changes is not worth a program of its own.
_FEW = 256


class Rows(NamedTuple):
    """A function of stacked masks whose axis is the first everywhere.

    Attributes:
        run: the function.
        largest: bytes of the largest array, for one mask.
    """

    run: Callable
    largest: int

    def __call__(self, masks: PyTree) -> PyTree:
        return self.run(masks)


def grouped(fn: Callable, mask: PyTree, total: int, batched: Callable) -> Rows:
    """A function of indices of masks that share work, `batched(fn, indices)`.

    Args:
        fn: function of one mask, of which what no mask changes is computed once.
        mask: shapes and dtypes of its mask.
        total: number of masks that there are.
        batched: as of `sweep.evaluate`.
    """
    program = trace(fn, mask) if total >= _FEW else None
    shared = share(program) if program else None

    def one(own):  # `batched` may make masks of other shapes and dtypes
        return shared(own) if shared and _types(own) == _types(mask) else fn(own)

    largest = 0
    if program is not None:  # what the batch shares does not grow with it
        few, more = (_sizes(one, batched, size) for size in (8, 16))
        largest = max((b - a for a, b in zip(few, more, strict=False)), default=0) // 8
    return Rows(lambda indices: batched(one, indices), largest)


def _types(mask: PyTree) -> tuple:
    """Structure, shapes and dtypes."""
    leaves, structure = jax.tree.flatten(mask)
    return structure, [(jnp.shape(a), jnp.result_type(a)) for a in leaves]


def _sizes(fn, batched, size: int) -> list[int]:
    """Bytes of all arrays in a batch, in the order of the program."""
    indices = jax.ShapeDtypeStruct((size,), jnp.int32)
    return [*_bytes(jax.make_jaxpr(lambda indices: batched(fn, indices))(indices))]


def _bytes(body) -> Iterator[int]:
    for equation in getattr(body, "jaxpr", body).eqns:
        for out in equation.outvars:
            yield out.aval.size * getattr(out.aval.dtype, "itemsize", 1)
        for value in equation.params.values():
            for item in value if isinstance(value, tuple | list) else (value,):
                if hasattr(item, "eqns"):
                    yield from _bytes(item)


def stacked(fn: Callable, mask: PyTree, total: int) -> Callable:
    """The same as a function of stacked masks, in the form that is fastest."""
    program = trace(fn, mask) if total >= _FEW else None
    if program is None:
        return jax.vmap(fn)
    run = columns(program) if jax.default_backend() == "cpu" else None
    if run is None and (shared := share(program)):
        run = Rows(jax.vmap(shared), shared.largest)
    return run or jax.vmap(fn)
