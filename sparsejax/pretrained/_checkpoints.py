"""Files of `torch.save`, read without PyTorch and without running what is in them.

They hold a pickle, which describes tensors, and the raw numbers of their storages: in a
zip, or, before PyTorch 1.6 and in torchvision's older files, one after the other. The
pickle is read as data (`pickles`): all it can make is a description (`descriptions`).
Arrays are made from that.
"""

import io
import math
import os
import zipfile
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from sparsejax import _untrusted
from sparsejax.pretrained._descriptions import Tensor, state, unpickle

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001  # of the format without a zip
_MOST = 2**24  # bytes of the pickles; they have about 200 for a tensor


def pth(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors of a `.pth` file, by name: a state_dict, or a dictionary with one.

    The latter under "state_dict", "model_state_dict", "model" or "net", or wherever it
    is if there is no other. Files of any version of PyTorch but the very first ones are
    read. Arrays cannot be written to: they share memory as the tensors do.

    Raises:
        ValueError: for a file that is truncated, in the tar format of PyTorch 0.1, or
            none; one whose pickle names anything but tensors and dictionaries, which is
            not looked up; tensors that reach beyond their storage; and such as repeat
            its numbers to more than 256 MiB and 16 times the file's size
            (SPARSEJAX_MAX_BYTES sets another limit).
        OSError: if it cannot be opened.

    Example:
        With torchvision's file at hand:

            pth("resnet18-f37072fd.pth")["conv1.weight"].shape  # (64, 3, 7, 7)
    """
    _untrusted.check_regular(path)
    with open(path, "rb") as file, _untrusted.reading(path):
        size, head = os.fstat(file.fileno()).st_size, file.read(512)
        file.seek(0)
        try:
            if head[257:262] == b"ustar":
                raise ValueError(
                    "it is a tar, the format of the first versions of PyTorch, "
                    "which is not read; save it anew with a later one"
                )
            if head.startswith(b"\x80"):
                return _from_sequence(file, size)
            with zipfile.ZipFile(file) as archive:
                return _from_zip(archive, size)
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{path} is not a whole zip, truncated or not from torch.save: {error}"
            ) from None


def is_pth(head: bytes) -> bool:
    """Whether a file that begins so is one of `torch.save`, and not of safetensors."""
    pickle = head.startswith(b"\x80") and head[8:9] != b"{"
    return pickle or head.startswith(b"PK\x03\x04") or head[257:262] == b"ustar"


def _from_zip(archive: zipfile.ZipFile, size: int) -> dict[str, np.ndarray]:
    _untrusted.check_once(archive.namelist(), "record")
    records = {info.filename: info for info in archive.infolist()}
    # torch.save compresses nothing, so that the file's size bounds the memory.
    total = sum(info.file_size for info in records.values())
    if total > size or any(info.compress_type for info in records.values()):
        raise ValueError(
            f"its records are compressed or overlap: {total:,} bytes out of {size:,}"
        )
    tops = [name[:-8] for name in records if name.endswith("data.pkl")]
    if len(tops) != 1 or records[tops[0] + "data.pkl"].file_size > _MOST:
        raise ValueError("expected one data.pkl of at most 16 MB, as torch.save makes")
    top, order = tops[0], b"little"
    if top + "byteorder" in records:
        order = archive.read(top + "byteorder")
    if order not in (b"little", b"big"):
        raise ValueError(f"byteorder is {order[:20]}; expected little or big")
    root, _ = unpickle(io.BytesIO(archive.read(top + "data.pkl")))

    def content(name: str, tensor: Tensor) -> bytes:
        storage, record = tensor.storage, f"{top}data/{tensor.storage.key}"
        if record not in records:
            raise ValueError(f"{name} is in {record}, which is missing")
        length, width = records[record].file_size, _width(storage.dtype)
        if length != storage.count * width:
            raise ValueError(
                f"{record} has {length} bytes, not those of {storage.count} "
                f"{storage.dtype}"
            )
        if order == b"big" and width != _width(tensor.dtype):
            raise ValueError(f"{name} is {tensor.dtype} in big-endian bytes")
        raw = archive.read(record)
        return raw if order == b"little" else _swapped(raw, storage.dtype)

    return _arrays(state(root), content, size)


def _from_sequence(file: io.BufferedReader, size: int) -> dict[str, np.ndarray]:
    """Pickles of a magic number, a version, the system, tensors and keys; storages."""
    stream = io.BytesIO(file.read(_MOST))
    (magic, _), (version, _) = unpickle(stream), unpickle(stream)
    if magic != _MAGIC or version != _VERSION:
        raise ValueError("it is a pickle, but not one of torch.save")
    unpickle(stream)  # the system: numbers are little-endian on all
    root, storages = unpickle(stream)
    keys, _ = unpickle(stream)
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise ValueError("it has no list of storages")
    places, at = {}, stream.tell()
    for key in keys:
        if key not in storages or key in places:
            raise ValueError(f"storage {key[:40]!r} is unknown or there twice")
        dtype, _, count, *_ = storages[key]
        file.seek(at)
        found = int.from_bytes(file.read(8), "little")
        places[key] = at + 8, count * _width(dtype)
        at = sum(places[key])
        if found != count or at > size:
            raise ValueError(
                f"it is truncated or damaged: storage {key[:40]!r} should have {count} "
                f"{dtype}, and be over at byte {at:,} of {size:,}; it says {found}"
            )

    def content(name: str, tensor: Tensor) -> bytes:
        if tensor.storage.key not in places:
            raise ValueError(f"{name} is in a storage that is missing")
        start, length = places[tensor.storage.key]
        file.seek(start)
        return file.read(length)

    return _arrays(state(root), content, size)


def _arrays(
    tensors: dict[str, Tensor], content: Callable[[str, Tensor], bytes], folded: int
) -> dict[str, np.ndarray]:
    raw: dict[str, bytes] = {}
    for name, tensor in tensors.items():
        if tensor.storage.key not in raw:
            raw[tensor.storage.key] = content(name, tensor)
    return {
        name: _array(name, t, raw[t.storage.key], folded) for name, t in tensors.items()
    }


def _array(name: str, tensor: Tensor, raw: bytes, folded: int) -> np.ndarray:
    storage, dtype = tensor.storage, jnp.dtype(tensor.dtype)
    size, stride = tensor.size, tensor.stride
    if not math.prod(size):
        return np.zeros(size, dtype)
    width = _width(storage.dtype)
    start, stop = (n * width // dtype.itemsize for n in (storage.start, storage.stop))
    last = tensor.offset + sum((n - 1) * s for n, s in zip(size, stride))
    if last >= stop - start:
        raise ValueError(
            f"{name} of shape {size} reaches number {last} of a storage of "
            f"{stop - start}"
        )
    _untrusted.check_size(math.prod(size) * dtype.itemsize, folded, repr(name))
    strides = [s * dtype.itemsize for s in stride]
    return np.ndarray(
        size, dtype, raw, (start + tensor.offset) * dtype.itemsize, strides
    )


def _width(dtype: str) -> int:
    return jnp.dtype(dtype).itemsize


def _swapped(raw: bytes, dtype: str) -> bytes:
    """Numbers with their bytes the other way round; complex ones are two."""
    parts = 2 if jnp.issubdtype(dtype, np.complexfloating) else 1
    return np.frombuffer(raw, f"u{_width(dtype) // parts}").byteswap().tobytes()
