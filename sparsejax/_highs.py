"""Integer programs by HiGHS, without the line that it prints now and then.

That comes from C++, past `sys.stdout`, whatever is asked of HiGHS. What else is printed
meanwhile is kept and written afterwards.
"""

import contextlib
import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
from jaxtyping import Bool
from scipy import optimize

STRAY = b"HighsMipSolverData::"

_lock = threading.Lock()
_inside = 0  # how many threads are in `quiet`: the first redirects, the last restores
_saved: tuple[int, IO[bytes]] | None = None


def smallest_hitting(
    cuts: Sequence[Bool[np.ndarray, " n"]], n: int
) -> Bool[np.ndarray, " n"]:
    """A smallest set with an entry of every cut.

    Example:
        >>> cuts = [np.array([True, True, False]), np.array([False, True, True])]
        >>> smallest_hitting(cuts, 3).tolist()
        [False, True, False]
    """
    if not len(cuts):
        return np.zeros(n, bool)
    with quiet():
        result = optimize.milp(
            np.ones(n),
            constraints=(np.stack(cuts).astype(float), 1.0, np.inf),
            integrality=np.ones(n),
            bounds=(0, 1),
            options={"mip_rel_gap": 0.0},
        )
    if result.x is None:
        raise RuntimeError(f"HiGHS found no hitting set: {result.message}")
    return np.asarray(result.x) > 0.5


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A context in which HiGHS's own line does not reach standard output."""
    global _inside, _saved
    with _lock:
        if not _inside:
            _saved = _redirected()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _saved:
                _restore(*_saved)
                _saved = None


def _redirected() -> tuple[int, IO[bytes]] | None:
    """Standard output's own descriptor, and the file that takes its place."""
    try:
        _flush()
        own = os.dup(1)
    except OSError:  # there is none
        return None
    kept = tempfile.TemporaryFile()
    os.dup2(kept.fileno(), 1)
    return own, kept


def _restore(own: int, kept: IO[bytes]) -> None:
    _flush()
    os.dup2(own, 1)
    os.close(own)
    with kept:
        kept.seek(0)
        lines = [line for line in kept if not line.startswith(STRAY)]
    if lines:
        os.write(1, b"".join(lines))


def _flush() -> None:
    """Write what Python and the C library hold back."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()
    with contextlib.suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).fflush(None)
