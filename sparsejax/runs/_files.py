"""Files, whole or not at all: text, JSON and arrays."""

import contextlib
import json
import os
import secrets
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

AnyPath = str | os.PathLike[str]


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
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{path} cannot be read as JSON: {error}") from None


def write_arrays(path: AnyPath, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to one compressed `.npz`, whole or not at all.

    Under any names: `np.savez` cannot have one called "file".
    """
    with atomic(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
            for name, array in arrays.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    array = np.asanyarray(array)
                    np.lib.format.write_array(entry, array, allow_pickle=False)


def read_arrays(path: AnyPath) -> dict[str, np.ndarray]:
    """All arrays of an `.npz`; checksums are verified, nothing is unpickled.

    Raises:
        DamagedFile: if the file is missing, truncated or corrupt.
    """
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            # By the whole name: "a.npy" may be an array's own.
            return {key: file[f"{key}.npy"] for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise DamagedFile(f"{path} cannot be read: {error}") from None
    except Exception as error:  # zlib.error and what else a flipped byte can cause
        raise DamagedFile(f"{path} is corrupt: {error}") from None


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
