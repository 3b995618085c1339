"""Files, whole or not at all: text, JSON and arrays."""

import contextlib
import json
import math
import os
import secrets
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import _untrusted

AnyPath = str | os.PathLike[str]
_READ = 0.9  # of the limit, for names and headers


class DamagedFile(ValueError):
    """A file of a run that cannot be read."""


@contextlib.contextmanager
def atomic(path: AnyPath) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:  # from here on: a signal may raise at any step
        temporary.touch()
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: AnyPath, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: AnyPath, value: Any) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, default=plain) + "\n")


def read_json(path: AnyPath) -> Any:
    """Read JSON.

    Raises:
        DamagedFile: if it is not JSON.
    """
    try:
        _untrusted.check_regular(path)
        return _untrusted.json_value(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = f"{path} cannot be read as JSON: {error}"
        raise DamagedFile(_untrusted.one_line(text)) from None


def write_arrays(path: AnyPath, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to one compressed `.npz`, whole or not at all.

    Under any names: `np.savez` cannot have one called "file". What would unfold
    further than `read_arrays` allows is not compressed.
    """
    total = sum(np.asanyarray(array).nbytes for array in arrays.values())
    with atomic(path) as temporary:
        _write_zip(temporary, arrays, zipfile.ZIP_DEFLATED)
        if total > _READ * _untrusted.most(temporary.stat().st_size):
            _write_zip(temporary, arrays, zipfile.ZIP_STORED)


def _write_zip(path: Path, arrays: Mapping[str, np.ndarray], compression: int) -> None:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                array = np.asanyarray(array)
                np.lib.format.write_array(entry, array, allow_pickle=False)


def read_arrays(path: AnyPath) -> dict[str, np.ndarray]:
    """All arrays of an `.npz`; checksums are verified, nothing is unpickled.

    Raises:
        DamagedFile: if the file is missing, truncated or corrupt, or unfolds to more
            than 256 MiB and 16 times its size (SPARSEJAX_MAX_BYTES sets another limit).
    """
    try:
        _untrusted.check_regular(path)
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
            total = sum(entry.file_size for entry in entries)
            _untrusted.check_size(total, os.path.getsize(path))
            return dict(_array(file, entry) for entry in entries)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        text = f"{path} cannot be read: {error}"
        raise DamagedFile(_untrusted.one_line(text)) from None
    except Exception as error:  # zlib.error and what else a flipped byte can cause
        text = f"{path} is corrupt: {error or type(error).__name__}"
        raise DamagedFile(_untrusted.one_line(text)) from None


def _array(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[str, np.ndarray]:
    """Name and numbers of an array of an `.npz`."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{entry.filename} is compressed as no .npz is")
    if not entry.filename.endswith(".npy"):
        raise ValueError(f"{entry.filename} is no array")
    with file.open(entry) as raw:
        try:
            head = {(1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0}  # fmt: skip
            shape, columns, dtype = head[np.lib.format.read_magic(raw)](raw)
        except Exception as error:
            raise ValueError(f"{entry.filename} is no array: {error}") from None
        content = np.empty(entry.file_size - raw.tell(), np.uint8)
        count = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or not dtype.itemsize or count != content.size:
            raise ValueError(
                f"{entry.filename} is no array: {content.size} bytes for {dtype}{shape}"
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
    """Arrays out of a file or, if there is none that can be read, made and written."""
    if Path(path).exists():
        try:
            return read_arrays(path)
        except DamagedFile as error:
            log(f"damaged: {error}; making it again")
    arrays = dict(make())
    write_arrays(path, arrays)
    return arrays


def plain(value: Any) -> Any:
    """NumPy scalars and arrays for JSON."""
    if isinstance(value, np.generic | np.ndarray) or hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
