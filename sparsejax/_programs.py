"""Compiled programs of launchers, kept for the next start.

JAX's persistent cache of compilations, in a folder of the user's own: entries are
native code that is run as it is read, and a run folder is something that people send
to each other. For that reason too it is left alone if others can write to it.

JAX itself says which program an entry is of. What is added here: entries are written
whole or not at all, and end with a checksum, so that a damaged one is made again; those
used last stay within a number of bytes; code that was made for another processor is not
seen. Whatever goes wrong with files, the program is compiled.
"""

import contextlib
import hashlib
import os
import platform
import secrets
import stat
import time
import warnings
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl: Any = None

OFF, VARIABLE = "off", "SPARSEJAX_PROGRAMS"
SIZE = "JAX_COMPILATION_CACHE_MAX_SIZE"
_BYTES = 512 << 20  # that are kept where JAX's variable says nothing
_SLACK = 0.8  # how much of it stays once it is full
_BLOCK = 4096  # bytes that the smallest file takes
_STALE = 3600  # seconds after which nobody writes a temporary file any more
_ENTRY, _PART, _LOCK = "-cache", ".part", ".lock"
_SUM = 32  # bytes
# Lines of /proc/cpuinfo that say what a processor can do, of x86 and ARM.
_CHIP = "vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU "


def keep(where: str | None) -> None:
    """From now on, have JAX keep what it compiles, and find it again.

    Nothing happens where JAX has a folder already (`JAX_COMPILATION_CACHE_DIR`), where
    its cache is off, or where the user's own folder cannot be used.

    Args:
        where: folder, or "off"; by default what `SPARSEJAX_PROGRAMS` says, or else one
            in `XDG_CACHE_HOME` or ~/.cache.

    Raises:
        ValueError: if a folder is given that cannot be used; says why.
    """
    import jax
    from jax._src import compilation_cache  # there is no public way

    where = where or os.environ.get(VARIABLE) or None
    if where == OFF:
        return
    theirs = getattr(jax.config, "jax_compilation_cache_dir", None)
    on = getattr(jax.config, "jax_enable_compilation_cache", False)
    if not on or (where is None and theirs):
        return
    if not hasattr(compilation_cache, "get_file_cache"):  # a JAX that works otherwise
        return
    try:
        root = _default() if where is None else Path(where).absolute()
        folder = _owned(root / _kind())
    except (OSError, RuntimeError, ValueError) as error:
        if where is None:
            return
        raise ValueError(
            f"--programs: {error}; choose a folder of your own, or --programs={OFF}"
        ) from None
    entries = Entries(folder, _limit())
    compilation_cache.get_file_cache = lambda path: (entries, path)
    for name, value in {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_enable_xla_caches": "none",  # nobody would bound them
    }.items():
        jax.config.update(name, value)
    # Of an entry that XLA does not take; it is compiled, and written again.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation")


class Entries:
    """A folder of compiled programs, as JAX's `CacheInterface`.

    Args:
        folder: of the user's own.
        limit: bytes that it and the folders beside it may take.
    """

    def __init__(self, folder: Path, limit: int):
        self._path, self._limit = folder, limit
        self._left = limit - self._swept()

    def get(self, key: str) -> bytes | None:
        """An entry, or None; one that is damaged is removed."""
        path = self._path / f"{key}{_ENTRY}"
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            value, seal = content[:-_SUM], content[-_SUM:]
            if seal == _seal(key, value):
                os.utime(path)
                return value
            path.unlink(missing_ok=True)
        return None

    def put(self, key: str, value: bytes) -> None:
        """Write an entry, whole or not at all, instead of what is there."""
        size = _taken(len(value) + _SUM)
        if size > self._limit // 4:
            return
        if size > self._left:
            self._left = self._limit - self._swept(size)
        part = self._path / f".{secrets.token_hex(8)}{_PART}"
        try:
            part.write_bytes(value + _seal(key, value))
            part.replace(self._path / f"{key}{_ENTRY}")
            self._left -= size
        except OSError:  # a full disk, a folder that is gone
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        except BaseException:  # a signal may raise at any step
            part.unlink(missing_ok=True)
            raise

    def clear(self) -> None:
        """Nothing is held in memory."""

    def _swept(self, more: int = 0) -> int:
        """Remove what was used longest ago if all and more is too large; what stays."""
        with contextlib.suppress(OSError), _alone(self._path.parent) as alone:
            files = _files(self._path.parent)
            total = sum(_taken(about.st_size) for _, about in files)
            if total + more <= self._limit or not alone:
                return min(total, self._limit)
            for path, about in sorted(files, key=lambda file: file[1].st_mtime):
                if total <= _SLACK * self._limit:
                    break
                path.unlink(missing_ok=True)
                total -= _taken(about.st_size)
            return total
        return self._limit


@contextlib.contextmanager
def _alone(root: Path):
    """Whether no other process removes what is there; it may still read and write."""
    if fcntl is None:
        yield True
        return
    number = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(number)


def _files(root: Path) -> list[tuple[Path, os.stat_result]]:
    """All entries of all kinds; what killed processes were writing is removed."""
    files = []
    for path in [*root.glob(f"*/*{_ENTRY}"), *root.glob(f"*/.*{_PART}")]:
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            about = path.lstat()
            if path.suffix != _PART:
                files.append((path, about))
            elif about.st_mtime < time.time() - _STALE:
                path.unlink()
    return files


def _taken(size: int) -> int:
    """Bytes that a file takes of the disk."""
    return -(-size // _BLOCK) * _BLOCK


def _seal(key: str, value: bytes) -> bytes:
    """Checksum of an entry and of its name."""
    return hashlib.blake2b(key.encode() + b"\0" + value, digest_size=_SUM).digest()


def _limit() -> int:
    """Bytes that may be kept."""
    try:
        asked = int(os.environ.get(SIZE, "-1"))
    except ValueError:
        asked = -1
    return _BYTES if asked < 0 else asked


def _default() -> Path:
    """The folder for all kinds of machines and versions."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
    return base / "sparsejax" / "programs"


def _kind() -> str:
    """Name of the folder for this machine: others may be unable to run the code."""
    import jax
    from jaxlib import version

    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
        chip = [line for line in first.splitlines() if line.startswith(_CHIP)]
    except OSError:
        chip = []
    about = [*(chip or platform.uname()), platform.machine(), platform.system()]
    # XLA divides loops among the cores that it may use.
    cores = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    about += [len(cores), jax.__version__, version.__version__]
    return hashlib.blake2b(repr(about).encode(), digest_size=8).hexdigest()


def _owned(folder: Path) -> Path:
    """A folder, made if missing, in which nobody but the user can write."""
    folder = folder.resolve()
    for path in reversed([folder, *folder.parents]):
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written to")
    if not hasattr(os, "geteuid"):  # Windows
        return folder
    for path in (folder, *folder.parents):
        about = path.stat()
        if about.st_uid not in (0, os.geteuid()):
            raise ValueError(f"{path} belongs to somebody else")
        sticky = path != folder and about.st_mode & stat.S_ISVTX
        if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
            raise ValueError(f"others can write to {path}")
    return folder
