"""Arrays of unsigned bytes in IDX files, gzipped or not: the format of MNIST."""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from sparsejax import _untrusted
from sparsejax.data._sources import StrPath


def read(path: StrPath) -> UInt8[np.ndarray, "..."]:
    """The array of unsigned bytes in an IDX file, gzipped or not.

    The format: two zero bytes, a type code (0x08: unsigned byte), the number of
    dimensions, each dimension as a big-endian uint32, then the elements in C order.
    Whether it is gzipped is told from its content, not from its name.

    Args:
        path: the file.

    Returns:
        The array, of the shape that the header gives; read-only.

    Raises:
        ValueError: the file is missing, empty, truncated, corrupt, of another format,
            holds other elements than unsigned bytes, or unfolds to more than 256 MiB
            and 16 times its size (SPARSEJAX_MAX_BYTES sets another limit).

    Reference:
        Yann LeCun, Corinna Cortes and Christopher Burges, The MNIST database of
        handwritten digits (its page defines the format).
    """
    with _untrusted.reading(path):
        return _array(path, _content(path))


def _array(path: StrPath, content: bytes | bytearray) -> UInt8[np.ndarray, "..."]:
    """The array that the content of a file describes."""
    zeros, code, ndim = content[:2], content[2:3], content[3:4]
    if zeros != b"\0\0" or not ndim or not 1 <= ndim[0] <= 64:  # 64: NumPy's limit
        raise ValueError(
            f"{path} is not an IDX file: it starts with the bytes "
            f"{content[:4].hex(' ')}, expected 00 00 08 and the number of dimensions; "
            "check that this is the right file"
        )
    if code != b"\x08":
        raise ValueError(
            f"{path} has the IDX type code 0x{code.hex()}, expected 0x08 (unsigned "
            "byte); convert it to unsigned bytes"
        )
    start = 4 + 4 * ndim[0]
    if len(content) < start:
        raise ValueError(
            f"{path} is too short: it ends within its header of {start} bytes; "
            "get a fresh copy"
        )
    shape = struct.unpack(f">{ndim[0]}I", content[4:start])
    size, expected = len(content) - start, math.prod(shape)
    if size != expected:
        raise ValueError(
            f"{path} is too {'short' if size < expected else 'long'}: its header gives "
            f"the shape {shape}, {expected} bytes, but {size} follow; get a fresh copy"
        )
    if size == 0:
        raise ValueError(
            f"{path} holds no data: its header gives the shape {shape}; "
            "get a fresh copy"
        )
    array = np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    array.flags.writeable = False
    return array


def _content(path: StrPath) -> bytes | bytearray:
    """The bytes of a file, decompressed if they are gzip's."""
    _untrusted.check_regular(path)
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; check the path") from None
    except OSError as error:
        reason = error.strerror
        raise ValueError(f"{path} cannot be read ({reason}); check the path") from error
    if not content:
        raise ValueError(f"{path} is empty; get a fresh copy")
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return _unfolded(content)
    except EOFError:
        raise ValueError(
            f"{path} is a truncated gzip file: it ends before its data does; "
            "get a fresh copy"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is a corrupt gzip file ({error}); get a fresh copy"
        ) from error


def _unfolded(content: bytes) -> bytearray:
    """What gzip made into `content`, as far as it may unfold."""
    unfolded, most = bytearray(), _untrusted.most(len(content))
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        while part := file.read(1 << 20):
            unfolded += part
            if len(unfolded) > most:
                _untrusted.check_size(len(unfolded), len(content))
    return unfolded
