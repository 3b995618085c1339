"""BLAS on one thread: where products are small, threads wait for each other."""

import functools
from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager:
    """A context in which BLAS uses one thread."""
    return _libraries().limit(limits=1, user_api="blas")


@functools.cache
def _libraries() -> ThreadpoolController:
    """The libraries of this process; to look for them takes 10 ms."""
    import scipy.linalg  # noqa: F401  has a BLAS of its own, which must be loaded

    return ThreadpoolController()
