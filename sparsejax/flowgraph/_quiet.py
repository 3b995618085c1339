"""Standard output without the line that HiGHS prints now and then.

It comes from C++, past `sys.stdout`, whatever is asked of HiGHS. What else is printed
meanwhile is kept and written afterwards.
"""

import contextlib
import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

STRAY = b"HighsMipSolverData::"

_lock = threading.Lock()
_inside = 0  # how many threads are in `quiet`: the first redirects, the last restores
_saved: tuple[int, IO[bytes]] | None = None


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
