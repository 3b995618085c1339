"""One function of many masks: what is computed once, and where the axis of masks is."""

from collections.abc import Callable

import jax
from jaxtyping import PyTree

from sparsejax.sweep._columns import Columns, Unfit
from sparsejax.sweep._share import share, trace

# For fewer masks what no mask changes is not worth a program of its own.
_FEW = 256


def one(fn: Callable, mask: PyTree, total: int) -> Callable:
    """A function of one mask that computes what no mask changes once.

    Args:
        fn: the function.
        mask: shapes and dtypes of its mask.
        total: number of masks that there are.
    """
    program = trace(fn, mask) if total >= _FEW else None
    return (program and share(program)) or fn


def stacked(fn: Callable, mask: PyTree, total: int) -> Callable:
    """The same as a function of stacked masks, in the form that is fastest."""
    program = trace(fn, mask) if total >= _FEW else None
    if program is None:
        return jax.vmap(fn)
    if jax.default_backend() == "cpu":
        columns = Columns(program)
        try:
            columns.prepare()
        except Unfit:
            pass
        else:
            return columns
    shared = share(program)
    if shared is None:
        return jax.vmap(fn)
    run = jax.vmap(shared)
    run.largest = shared.largest
    return run
