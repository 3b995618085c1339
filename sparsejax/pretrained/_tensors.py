"""Files in the safetensors format: the header in JSON, then raw numbers."""

import math
import os
import re
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsejax import _untrusted, trees

_DTYPES = {
    "F64": "f8", "F32": "f4", "F16": "f2", "BF16": "bfloat16", "I64": "i8", "I32": "i4",
    "I16": "i2", "I8": "i1", "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1",
    "BOOL": "?", "C64": "c8", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
}  # fmt: skip


def safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All arrays of a `.safetensors` file, by name; they cannot be written to.

    Those of types that NumPy has no like of, such as packed ones of 4 and 6 bits, are
    left out: a warning names them.

    Raises:
        ValueError: if it is truncated or no such file.
        OSError: if it cannot be opened.

    Example:
        >>> import tempfile
        >>> header = b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
        >>> start = len(header).to_bytes(8, "little") + header
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/w.safetensors", "wb") as file:
        ...         _ = file.write(start + np.ones(2, "<f4").tobytes())
        ...     safetensors(f"{folder}/w.safetensors")
        {'w': array([1., 1.], dtype=float32)}
    """
    _untrusted.check_regular(path)
    with open(path, "rb") as file:
        raw = file.read()

    def wrong(what):
        text = f"{path} is not a whole safetensors file: {what or type(what).__name__}"
        return ValueError(_untrusted.one_line(text))

    start = 8 + int.from_bytes(raw[:8], "little")
    if not 8 < start <= len(raw):
        raise wrong(f"its header would end at byte {start:,} of {len(raw):,}")
    try:
        header = _untrusted.json_value(raw[8:start])
        entries = {k: dict(v) for k, v in header.items() if k != "__metadata__"}
        data = memoryview(raw)[start:]
        found = {name: _array(entry, data) for name, entry in entries.items()}
    except Exception as error:  # whatever a header of other types can cause
        raise wrong(error) from None
    if other := [
        f"{name} ({entries[name]['dtype']})" for name in found if found[name] is None
    ]:
        text = f"{path}: left out {trees.listed(other, 4)}"
        warnings.warn(_untrusted.one_line(text), stacklevel=2)
    return {name: array for name, array in found.items() if array is not None}


def _array(entry: dict[str, Any], data: memoryview) -> np.ndarray | None:
    """The array, None if it is of another type."""
    shape, (start, stop) = tuple(entry["shape"]), entry["data_offsets"]
    if not all(type(number) is int for number in (*shape, start, stop)):
        raise ValueError("a shape or place that is not of whole numbers")
    if not 0 <= start <= stop <= len(data):
        raise ValueError(f"data to byte {stop:,}, and there are {len(data):,}")
    if not re.fullmatch(r"\w+", entry["dtype"]):
        raise ValueError(f"a type {entry['dtype']!r}")
    if entry["dtype"] not in _DTYPES:
        return None
    dtype = jnp.dtype(_DTYPES[entry["dtype"]])
    if stop - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{stop - start} bytes for {entry['dtype']}{shape}")
    return np.frombuffer(data[start:stop], dtype).reshape(shape)
