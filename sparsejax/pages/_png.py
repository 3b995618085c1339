"""PNG files from arrays, with zlib and struct alone.

Use `png` for what is already a picture, and `signed_png` for a map of positive and
negative values: it stores only how strong and of which sign a value is, so that the
page can colour it in whatever palette its reader has chosen.

Reference: Portable Network Graphics (PNG) Specification, third edition, W3C, 2025.
"""

import struct
import zlib
from typing import SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

_COLOR_TYPES = {1: 0, 3: 2, 4: 6}  # channels -> grey, RGB, RGBA


def png(image: ArrayLike) -> bytes:
    """Encode an 8-bit picture as a PNG file.

    Args:
        image: uint8 values of shape (height, width) for grey, (height, width, 3) for
            RGB, or (height, width, 4) for RGBA.

    Returns:
        The content of the file.

    Example:
        >>> png(np.zeros((2, 3), np.uint8))[:4]
        b'\\x89PNG'
    """
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"a picture has dtype uint8 (0 to 255), got {pixels.dtype}; "
            "use signed_png for positive and negative values"
        )
    channels = 1 if pixels.ndim == 2 else pixels.shape[-1] if pixels.ndim == 3 else 0
    if channels not in _COLOR_TYPES or 0 in pixels.shape:
        raise ValueError(
            "a picture has shape (height, width), (height, width, 3) or (height, "
            f"width, 4) with at least one pixel, got {pixels.shape}"
        )
    height, width = pixels.shape[:2]
    kind = _COLOR_TYPES[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    data = _compress(pixels.reshape(height, width * channels), channels)
    chunks = _chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def signed_png(values: ArrayLike, scale: SupportsFloat | None = None) -> bytes:
    """Encode positive and negative values as a grey PNG file: 128 is zero.

    A value v becomes 128 + round(127 v / scale), so that 255 is +scale and 1 is -scale;
    what lies beyond is drawn as strong as the scale itself.

    Args:
        values: finite numbers of shape (height, width).
        scale: the value that is drawn strongest, > 0; by default the largest |v|.
            Pictures to be compared need one scale.

    Returns:
        The content of the file, for `sj.paint` in the page.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"values have shape (height, width), got {array.shape}")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        at = tuple(bad[0].tolist())
        raise ValueError(
            f"{len(bad)} of {array.size} values are not finite, "
            f"the first is {array[at]} at {at}"
        )
    # A map of zeros has no strongest value: all of it is grey.
    limit = float(np.abs(array).max(initial=0) or 1 if scale is None else scale)
    if not 0 < limit < np.inf:
        raise ValueError(f"the scale is a finite number above zero, got {scale}")
    strength = np.clip(array, -limit, limit) / limit
    return png((128 + np.round(127 * strength)).astype(np.uint8))


def _compress(rows: np.ndarray, channels: int) -> bytes:
    """The shortest of three streams: bytes as they are, or minus the left or upper."""
    left, above = np.zeros_like(rows), np.zeros_like(rows)
    left[:, channels:] = rows[:, :-channels]
    above[1:] = rows[:-1]
    streams = (rows, rows - left, rows - above)  # filters 0, 1, 2; uint8 wraps around
    packed = [
        zlib.compress(np.insert(stream, 0, kind, axis=1).tobytes(), 9)
        for kind, stream in enumerate(streams)
    ]
    return min(packed, key=len)


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    )
