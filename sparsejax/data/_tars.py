"""Files of a tar, gzipped or not, in one pass and in bounded memory.

Of the format only what archives of data need is read: files and folders with names of
at most 100 bytes, or 255 in two parts. Links, devices and names that leave the archive
are refused, and so is what other headers say of names and sizes: what they may unfold
to, and how long they take, is then bounded by `_untrusted.check_size` alone.
"""

import gzip
import os
from collections.abc import Callable, Iterator
from typing import Any

from sparsejax import _untrusted

_BLOCK = 512
_STEP = 1 << 20
_NOTES = 1 << 16  # bytes of a header that is about the next one
_FILE, _FOLDER, _EXTENDED = b"0\x007", b"5", b"xg"
_KINDS = {
    b"1": "is a link, which leads nowhere in an archive",
    b"2": "is a link, which leads nowhere in an archive",
    b"L": "has a name of more than 100 bytes",
    b"K": "has a name of more than 100 bytes",
}
_ANEW = "unpack it and give the folder"


def files(
    path: str | os.PathLike[str], wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files that are wanted, in the order of the archive.

    Args:
        path: The archive; whether it is gzipped is told by its content.
        wanted: Whether to give the file of a name.

    Raises:
        ValueError: For an archive that is truncated or damaged, names that leave it,
            links and devices, and one that unfolds too far.
    """
    _untrusted.check_regular(path)
    with open(path, "rb") as raw, _untrusted.reading(path):
        size = os.fstat(raw.fileno()).st_size
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        yield from _files(gzip.GzipFile(fileobj=raw) if zipped else raw, size, wanted)


def _files(file: Any, size: int, wanted: Callable) -> Iterator[tuple[str, bytes]]:
    total = 0

    def part(most: int) -> bytes:
        nonlocal total
        piece = file.read(min(most, _STEP))
        total += len(piece)
        _untrusted.check_size(total, size, "the archive")
        return piece

    def take(count: int, keep: bool = True) -> bytes:
        content = bytearray()
        while count:
            piece = part(count)
            if not piece:
                raise ValueError("the archive is truncated; get a fresh copy")
            count -= len(piece)
            if keep:
                content += piece
        return bytes(content)

    while any(head := take(_BLOCK)):
        name, kind, length = _header(head)
        mine = kind in _FILE and wanted(name)
        notes = kind in _EXTENDED
        if notes and length > _NOTES:
            raise ValueError(f"{name!r} has a header of {length:,} bytes; {_ANEW}")
        content = take(length, mine or notes)
        take(-length % _BLOCK, False)
        if notes:
            _check_notes(name, content)
        if mine:
            yield name, content
    while part(_STEP):  # to the end, where the checksum of gzip is
        pass


def _header(head: bytes) -> tuple[str, bytes, int]:
    """Name, kind and number of bytes of an entry."""
    told = _octal(head[148:156])
    if told != sum(head) - sum(head[148:156]) + 8 * ord(" "):
        raise ValueError("an entry's checksum is wrong; get a fresh copy")
    name = _text(head[:100])
    if head[257:263] == b"ustar\0" and head[345:346] != b"\0":
        name = f"{_text(head[345:500])}/{name}"
    kind = head[156:157]
    if kind not in _FILE + _FOLDER + _EXTENDED:
        raise ValueError(f"{name!r} {_KINDS.get(kind, 'is not a file')}; {_ANEW}")
    if not _untrusted.stays_inside(name):
        raise ValueError(f"{name!r} leads out of the archive; make the archive anew")
    return name, kind, _octal(head[124:136])


def _check_notes(name: str, content: bytes) -> None:
    """Refuse headers that change what the next one says."""
    if any(key in content for key in (b" path=", b" size=", b" GNU.", b"linkpath=")):
        raise ValueError(f"{name!r} gives another name or size to an entry; {_ANEW}")


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0") or b"0"
    if not digits.isdigit() or set(digits) & set(b"89"):
        raise ValueError("an entry's size is not an octal number; get a fresh copy")
    return int(digits, 8)
