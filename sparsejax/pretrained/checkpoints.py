"""Files of `torch.save`, read without PyTorch and without running what is in them.

They are zips of a pickle, which describes tensors, and of their raw numbers. A pickle
is a program. Here it may name nothing but what tensors are made of, and for these gets
stand-ins, so that all it can make is a description; arrays are made from that.
"""

import collections
import io
import math
import os
import pickle
import pickletools
import zipfile
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

ZIP, LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\x0a"  # how files begin
_STATES = ("state_dict", "model_state_dict", "model")  # where parameters may be
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_MOST = 2**26  # bytes of the pickle; it has about 200 for a tensor


class _Storage(NamedTuple):
    dtype: str
    key: str
    count: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def pth(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors of a `.pth` file, a state_dict or a dictionary with one, by name.

    Arrays cannot be written to: they share memory as the tensors do.

    Raises:
        ValueError: for a file that is truncated, from before PyTorch 1.6, or none; one
            whose pickle names anything but tensors and dictionaries, which is not
            looked up; and tensors that reach beyond their storage.
        OSError: if it cannot be opened.
    """
    with open(path, "rb") as file:
        if file.read(4) == LEGACY:
            raise ValueError(
                f"{path} is in the format from before PyTorch 1.6, which is not read; "
                "with PyTorch, torch.save(torch.load(path, weights_only=True), path) "
                "brings it to the new one"
            )
        try:
            with zipfile.ZipFile(file) as archive:
                return _arrays(archive, os.fstat(file.fileno()).st_size)
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{path} is no whole zip, truncated or not from torch.save: {error}"
            ) from None
        except (ValueError, OverflowError, RuntimeError, EOFError) as error:
            raise ValueError(f"{path}: {error}") from None


def _arrays(archive: zipfile.ZipFile, size: int) -> dict[str, np.ndarray]:
    records = {info.filename: info for info in archive.infolist()}
    # torch.save compresses nothing, so that the file's size bounds the memory.
    total = sum(info.file_size for info in records.values())
    if total > size or any(info.compress_type for info in records.values()):
        raise ValueError(
            f"its records are compressed or overlap: {total:,} bytes out of {size:,}"
        )
    tops = [name[:-8] for name in records if name.endswith("data.pkl")]
    if len(tops) != 1 or records[tops[0] + "data.pkl"].file_size > _MOST:
        raise ValueError("expected one data.pkl of at most 64 MB, as torch.save makes")
    top, order = tops[0], b"little"
    if top + "byteorder" in records:
        order = archive.read(top + "byteorder")
    if order not in (b"little", b"big"):
        raise ValueError(f"byteorder is {order[:20]}; expected little or big")
    tensors = _state(_unpickle(archive.read(top + "data.pkl")))
    raw: dict[str, bytes] = {}
    for name, (storage, *_) in tensors.items():
        record, width = f"{top}data/{storage.key}", jnp.dtype(storage.dtype).itemsize
        if record not in records:
            raise ValueError(f"{name} is in {record}, which is missing")
        length = records[record].file_size
        if length != storage.count * width:
            raise ValueError(
                f"{record} has {length} bytes, not those of {storage.count} "
                f"{storage.dtype}"
            )
        if record not in raw:
            theirs = f"{'<' if order == b'little' else '>'}u{width}"
            numbers = np.frombuffer(archive.read(record), theirs)
            raw[record] = numbers.astype(f"u{width}").tobytes()
    return {
        name: _array(name, tensor, raw[f"{top}data/{tensor.storage.key}"])
        for name, tensor in tensors.items()
    }


class _Unpickler(pickle.Unpickler):
    """Makes descriptions of tensors out of a pickle, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        # New functions at every call: a pickle can set attributes of what it gets.
        if module == "collections" and name == "OrderedDict":
            return collections.OrderedDict
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return lambda *args: _tensor(*args[:4])
        if module == "torch._utils" and name == "_rebuild_parameter":
            return lambda tensor, *_: tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise ValueError(f"it names {module}.{name}; only tensors are read")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count = pid
        whole = isinstance(key, str) and _whole((count,))
        if kind != "storage" or dtype not in _STORAGES.values() or not whole:
            raise ValueError("it refers to something that is no storage")
        return _Storage(dtype, key, count)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> _Tensor:
    found = _Tensor(storage, offset, tuple(size), tuple(stride))
    whole = _whole((offset, *found.size, *found.stride))
    if not (whole and isinstance(storage, _Storage) and len(size) == len(stride)):
        raise ValueError("it has a tensor that is none")
    return found


def _whole(values: tuple) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _unpickle(raw: bytes) -> Any:
    try:
        _check_opcodes(raw)
        return _Unpickler(io.BytesIO(raw)).load()
    except Exception as error:  # whatever bytes that are no pickle can cause
        raise ValueError(f"its pickle is refused: {error}") from None


def _check_opcodes(raw: bytes) -> None:
    """No memory for sizes that the pickle only claims, no objects from registries."""
    for opcode, argument, _ in pickletools.genops(raw):
        claims = "PUT" in opcode.name and argument is not None and argument > len(raw)
        if claims or opcode.name.startswith(("EXT", "BYTEARRAY", "NEXT_BUFFER")):
            raise ValueError(f"it uses {opcode.name} {argument}")


def _state(root: Any) -> dict[str, _Tensor]:
    if isinstance(root, dict):
        root = next((root[k] for k in _STATES if isinstance(root.get(k), dict)), root)
    if not isinstance(root, dict) or not root:
        raise ValueError(f"it holds {type(root).__name__}, not tensors by name")
    for name, value in root.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            # Not their values: a small pickle can have one that takes years to print.
            what = f"{name!r}" if isinstance(name, str) else f"a {type(name).__name__}"
            raise ValueError(
                f"{what} is {type(value).__name__}, no tensor; expected tensors by "
                f"name, or a dictionary of them under {', '.join(_STATES)}"
            )
    return root


def _array(name: str, tensor: _Tensor, raw: bytes) -> np.ndarray:
    (kind, _, count), offset, size, stride = tensor
    dtype = jnp.dtype(kind)
    if not math.prod(size):
        return np.zeros(size, dtype)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride))
    if last >= count:
        raise ValueError(
            f"{name} of shape {size} reaches number {last} of a storage of {count}"
        )
    strides = [s * dtype.itemsize for s in stride]
    return np.ndarray(size, dtype, raw, offset * dtype.itemsize, strides)
