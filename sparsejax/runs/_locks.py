"""Locks: a folder is filled by one process, and by none once it is gone.

A lock is an advisory one (`flock`) on the file `.lock` in the folder, so that the end
of a process frees it, however it ends. Where there are none, on Windows and on some
network file systems, a folder is taken for free.
"""

import contextlib
import errno
import json
import os
import socket
import time
import weakref
from pathlib import Path
from typing import Any

from sparsejax._untrusted import json_value

try:
    import fcntl
except ImportError:  # Windows
    fcntl: Any = None

NAME = ".lock"
# Errors of file systems that cannot do what is asked for.
UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.ENOLCK}
_held: "weakref.WeakValueDictionary[Path, Lock]" = weakref.WeakValueDictionary()


class InUse(ValueError):
    """A run folder that another process, or another run in this one, is filling."""


class FolderGone(ValueError):
    """A run folder that was deleted or moved under the run that is filling it."""


class Lock:
    """The right to fill a folder, until `release` or the end of the process.

    Args:
        folder: made if missing.

    Attributes:
        begun: whether the folder is a run's from now on, with a `config.json`.

    Raises:
        InUse: if somebody else has it; says who, and since when.
    """

    def __init__(self, folder: Path):
        self.folder, self.begun = folder, False
        self._file: int | None = None
        folder.mkdir(parents=True, exist_ok=True)
        while self._file is None and self._possible():
            self._file = self._taken()
        _held[_absolute(folder)] = self

    def check(self) -> None:
        """Raise `FolderGone` if the folder is not the one that was locked."""
        config = self.folder / "config.json"
        if (self._file is not None and not self._ours(self._file)) or (
            self.begun and not config.exists()
        ):
            raise FolderGone(
                f"{self.folder} was deleted or moved while a run was filling it; "
                "start the run again"
            )

    def release(self) -> None:
        """Free the folder."""
        if _held.get(_absolute(self.folder)) is self:
            del _held[_absolute(self.folder)]
        if self._file is None:
            return
        if self._ours(self._file):
            (self.folder / NAME).unlink(missing_ok=True)
        os.close(self._file)
        self._file = None

    def __del__(self):
        if getattr(self, "_file", None) is not None:
            with contextlib.suppress(Exception):  # at the end of the interpreter
                self.release()

    def _possible(self) -> bool:
        """Whether there can be a lock: not in a folder that is only to be read."""
        return fcntl is not None and os.access(self.folder, os.W_OK)

    def _taken(self) -> int | None:
        """The number of the locked file; `None` if it was removed meanwhile."""
        number = os.open(self.folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = _told(os.pread(number, 4096, 0))
            os.close(number)
            raise InUse(
                f"{self.folder} is in use by {who}; wait for it to end, or choose "
                "another folder (--out)"
            ) from None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                os.close(number)
                raise
        if not self._ours(number):
            os.close(number)
            return None
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        about = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        os.ftruncate(number, 0)
        os.pwrite(number, json.dumps(about).encode(), 0)
        return number

    def _ours(self, number: int) -> bool:
        """Whether the folder's file is the one that is open: inodes are not reused."""
        try:
            return os.path.samestat(os.fstat(number), os.stat(self.folder / NAME))
        except OSError:
            return False


def held(folder: Path) -> Lock | None:
    """The lock that this process has on a folder, if it has."""
    return _held.get(_absolute(folder))


def check(path: Path) -> None:
    """Raise `FolderGone` if `path` lies in a locked folder that is gone."""
    for lock in _around(path):
        lock.check()


def make_parents(path: Path) -> None:
    """Make the folder of a file, but no run's that is gone."""
    locks = _around(path)
    for lock in locks:
        lock.check()
    parent = _absolute(path.parent)
    if not locks:
        parent.mkdir(parents=True, exist_ok=True)
        return
    top = max(len(_absolute(lock.folder).parts) for lock in locks)
    for depth in range(top + 1, len(parent.parts) + 1):
        try:
            Path(*parent.parts[:depth]).mkdir(exist_ok=True)
        except FileNotFoundError:
            check(path)
            raise


def _around(path: Path) -> list[Lock]:
    """The locks of folders that a path lies in."""
    if not _held:
        return []
    parent = _absolute(path.parent)
    places = parent, *parent.parents
    return [lock for place, lock in list(_held.items()) if place in places]


def _absolute(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _told(text: bytes) -> str:
    """Who has a lock, as its file says."""
    try:
        about = json_value(text)
        return f"process {about['pid']} on {about['host']} since {about['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
