"""Files, whole or not at all: text, JSON and arrays."""

import contextlib
import json
import math
import os
import re
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import _untrusted
from sparsejax.runs import _locks

AnyPath = str | os.PathLike[str]
_READ = 0.9  # of the limit, for names and headers
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}(\.\w+)?")
# The end of an `.npz` of ours: the checksum of all before it, and of the file's name.
_SEAL = b"sparsejax crc32 "
_DIGITS = 8


class DamagedFile(ValueError):
    """A file of a run that cannot be read."""


@contextlib.contextmanager
def atomic(path: AnyPath) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it if the block succeeds.

    What was written is on the disk before the rename, and the rename after it. In the
    folder of a run that this process fills, nothing is written once that is gone.

    Raises:
        runs.FolderGone: if the run's folder was deleted or moved.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with contextlib.suppress(ValueError), atomic(f"{folder}/a.txt") as path:
        ...         _ = path.write_text("the first half")
        ...         raise ValueError("no second half")
        ...     os.listdir(folder)
        []
    """
    path = Path(path)
    _locks.make_parents(path)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:  # from here on: a signal may raise at any step
        temporary.touch()
        yield temporary
        temporary.chmod(0o644)
        _sync(temporary)
        _locks.check(path)
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, FileNotFoundError):
            _locks.check(path)
        raise


def remove_temporaries(folder: Path) -> list[Path]:
    """Remove what killed writers left in a folder, but not in runs inside it."""
    removed = []
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            inside = "config.json", _locks.NAME
            if not any((path / name).exists() for name in inside):
                removed += remove_temporaries(path)
        elif _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def checksum(path: AnyPath, start: int = 0, end: int = 0) -> int:
    """The CRC-32 of a file, without its last bytes if `end` is negative."""
    total, left = start, os.path.getsize(path) + end
    with open(path, "rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 24))):
            total, left = zlib.crc32(block, total), left - len(block)
    return total


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    try:
        number = os.open(path, os.O_RDONLY)
    except (PermissionError, IsADirectoryError):  # folders, on Windows
        return
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _locks.UNSUPPORTED:
            raise
    finally:
        os.close(number)


def write_text(path: AnyPath, text: str) -> None:
    """Write a text file, whole or not at all.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_text(f"{folder}/notes/a.txt", "whole")  # makes the folder too
        ...     Path(folder, "notes", "a.txt").read_text()
        'whole'
    """
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: AnyPath, value: Any) -> None:
    """Write JSON, whole or not at all.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(f"{folder}/x.json", {"loss": np.float32(0.5)})
        ...     print(Path(folder, "x.json").read_text().strip())
        {
          "loss": 0.5
        }
    """
    write_text(path, json.dumps(value, indent=2, default=plain) + "\n")


def read_json(path: AnyPath) -> Any:
    """Read JSON.

    Raises:
        DamagedFile: if it is not JSON.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(f"{folder}/x.json", {"widths": (4, 2)})
        ...     read_json(f"{folder}/x.json")
        {'widths': [4, 2]}
    """
    try:
        _untrusted.check_regular(path)
        return _untrusted.json_value(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = f"{path} cannot be read as JSON: {error}"
        raise DamagedFile(_untrusted.one_line(text)) from None


def write_arrays(path: AnyPath, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to one compressed `.npz`, whole or not at all.

    Under any names: `np.savez` cannot have one called "file". Equal arrays give equal
    files, which end with a checksum. What would unfold further than `read_arrays`
    allows is not compressed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a", "b"):
        ...         write_arrays(f"{folder}/{name}/x.npz", {"layer/kernel": np.ones(2)})
        ...     a, b = (Path(folder, name, "x.npz").read_bytes() for name in ("a", "b"))
        >>> a == b
        True
    """
    total = sum(np.asanyarray(array).nbytes for array in arrays.values())
    with atomic(path) as temporary:
        _write_zip(temporary, arrays, zipfile.ZIP_DEFLATED)
        if total > _READ * _untrusted.most(temporary.stat().st_size):
            _write_zip(temporary, arrays, zipfile.ZIP_STORED)
        seal = f"{_sum(temporary, Path(path).name):08x}".encode()
        with open(temporary, "r+b") as raw:
            raw.seek(-_DIGITS, os.SEEK_END)
            raw.write(seal)


def _write_zip(path: Path, arrays: Mapping[str, np.ndarray], compression: int) -> None:
    """Write arrays, and room for the checksum."""
    with zipfile.ZipFile(path, "w") as file:
        file.comment = _SEAL + b"0" * _DIGITS
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")  # of 1980, whenever it is
            info.compress_type = compression
            info.external_attr = 0o600 << 16
            with file.open(info, "w", force_zip64=True) as entry:
                array = np.asanyarray(array)
                np.lib.format.write_array(entry, array, allow_pickle=False)


def read_arrays(path: AnyPath, *, sealed: bool = False) -> dict[str, np.ndarray]:
    """All arrays of an `.npz`; checksums are verified, nothing is unpickled.

    Args:
        path: of the file.
        sealed: whether the checksum that `write_arrays` leaves must be there.

    Raises:
        DamagedFile: if the file is missing, truncated or corrupt, or unfolds to more
            than 256 MiB and 16 times its size (SPARSEJAX_MAX_BYTES sets another limit).

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_arrays(f"{folder}/x.npz", {"x": np.arange(2.0)})
        ...     read_arrays(f"{folder}/x.npz", sealed=True)
        {'x': array([0., 1.])}
    """
    try:
        _untrusted.check_regular(path)
        with zipfile.ZipFile(path) as file:
            _check_seal(Path(path), file.comment, sealed)
            entries = file.infolist()
            _untrusted.check_once((e.filename for e in entries), "array")
            total = sum(entry.file_size for entry in entries)
            _untrusted.check_size(total, os.path.getsize(path))
            return dict(_array(file, entry) for entry in entries)
    except DamagedFile:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        text = f"{path} cannot be read: {error}"
        raise DamagedFile(_untrusted.one_line(text)) from None
    except MemoryError:
        raise
    except Exception as error:  # zlib.error and what else a flipped byte can cause
        text = f"{path} is corrupt: {error or type(error).__name__}"
        raise DamagedFile(_untrusted.one_line(text)) from None


def _array(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[str, np.ndarray]:
    """Name and numbers of an array of an `.npz`."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{entry.filename} is compressed as no .npz is")
    if not entry.filename.endswith(".npy"):
        raise ValueError(f"{entry.filename} is not an array")
    with file.open(entry) as raw:
        try:
            head = {(1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0}  # fmt: skip
            shape, columns, dtype = head[np.lib.format.read_magic(raw)](raw)
        except Exception as error:
            raise ValueError(f"{entry.filename} is not an array: {error}") from None
        content = np.empty(entry.file_size - raw.tell(), np.uint8)
        count = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or not dtype.itemsize or count != content.size:
            raise ValueError(
                f"{entry.filename} is not an array: {content.size} bytes for "
                f"{dtype}{shape}"
            )
        place = 0
        while part := raw.read(1 << 20):  # to its end, where the checksum is verified
            content[place : place + len(part)] = np.frombuffer(part, np.uint8)
            place += len(part)
    if place != content.size:
        raise ValueError(f"{entry.filename} is truncated")
    array = content.view(dtype).reshape(shape, order="F" if columns else "C")
    # By the whole name: "a.npy" may be an array's own.
    return entry.filename.removesuffix(".npy"), array


def cached(
    path: AnyPath,
    make: Callable[[], Mapping[str, np.ndarray]],
    log: Callable[[str], Any] = print,
) -> dict[str, np.ndarray]:
    """Arrays out of a file or, if there is none that is whole, made and written.

    Example:
        >>> import tempfile
        >>> def make():
        ...     print("made")
        ...     return {"x": np.arange(2.0)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for _ in range(2):
        ...         cached(f"{folder}/x.npz", make)["x"].tolist()
        made
        [0.0, 1.0]
        [0.0, 1.0]
    """
    if Path(path).exists():
        try:
            return read_arrays(path, sealed=True)
        except DamagedFile as error:
            log(f"damaged: {error}; making it again")
    arrays = dict(make())
    write_arrays(path, arrays)
    return arrays


def _check_seal(path: Path, comment: bytes, sealed: bool) -> None:
    """Whether the checksum at a file's end is the file's."""
    if comment.startswith(_SEAL):
        if comment != _SEAL + f"{_sum(path, path.name):08x}".encode():
            raise DamagedFile(f"{path} is corrupt: its checksum differs")
    elif sealed:
        raise DamagedFile(f"{path} is corrupt: its checksum is missing")


def _sum(path: Path, name: str) -> int:
    return checksum(path, zlib.crc32(name.encode()), -_DIGITS)


def plain(value: Any) -> Any:
    """NumPy scalars and arrays for JSON."""
    if isinstance(value, np.generic | np.ndarray) or hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
