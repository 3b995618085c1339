"""Rules for files that others made: how far they may unfold, where names may lead.

Every reader keeps to them, so that a file ends in its values or in one line of ours:

    how far     a file may unfold to 256 MiB, or to 16 times its own size where that is
                more; an image counts with 6 bytes a pixel, all of a folder or zip
                with 3 and 64 times their size. The environment variable
                SPARSEJAX_MAX_BYTES sets another number, for all readers
    twice       no name in an archive, no key of JSON, no column: of two, one would go
                unseen
    names       that a file has for others (entries of an archive, files of a table)
                stay in their folder: absolute ones and ".." are refused. Links of the
                file system are followed wherever they lead; refused are broken ones and
                circles, and links in archives, which lead nowhere
    errors      are a `ValueError` of one line that names the file
    cells       of tables that spreadsheets would take for formulas are written with "'"
                before them, which is taken off when they are read
"""

import collections
import contextlib
import json
import os
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

VARIABLE = "SPARSEJAX_MAX_BYTES"
_MOST, _RATIO = 2**28, 16
_LINE = 600  # characters of a message
_CHUNK = {zipfile.ZIP_STORED: 1 << 20, zipfile.ZIP_DEFLATED: 1 << 20}
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def most(size: int) -> int:
    """Bytes that a file of this size may unfold to.

    Raises:
        ValueError: if the environment variable is no number.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return max(_MOST, _RATIO * size)
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{VARIABLE} is {text!r}; expected a number of bytes, such as 4e9"
        ) from None


def check_size(needed: int, size: int, what: str = "it") -> None:
    """Refuse what unfolds too far.

    Args:
        needed: bytes that it unfolds to.
        size: bytes of the file.
        what: unfolds, for the message.
    """
    if needed > most(size):
        told = f"{needed:,}" if needed < 10**30 else "very many"
        raise ValueError(
            f"{what} would take {told} bytes, more than {most(size):,}; if that is "
            f"meant, set the environment variable {VARIABLE} to a larger number"
        )


@contextlib.contextmanager
def reading(path: Any) -> Iterator[None]:
    """A block that reads a file: what it raises is one line that names it.

    Raises:
        ValueError: for whatever the block raises; a subclass stays as it is.
    """
    try:
        yield
    except Exception as error:  # decoders of others raise what they like
        ours = isinstance(error, ValueError) and not isinstance(error, UnicodeError)
        text = str(error) if ours else f"{type(error).__name__}: {error}".strip(" :")
        text = text if str(path) in text else f"{path}: {text}"
        if ours and text == one_line(text) == str(error):
            raise
        mine = type(error).__module__.startswith("sparsejax.")
        raise (type(error) if mine else ValueError)(one_line(text)) from error


def one_line(text: Any, most: int = _LINE) -> str:
    """A text in one line that is not too long, without control characters.

    Example:
        >>> one_line("a\\nb\\x07"), one_line("abcdefgh", most=5)
        ('a b ', 'ab…gh')
    """
    line = "".join(c if c.isprintable() else " " for c in str(text))
    if len(line) <= most:
        return line
    return f"{line[: most // 2]}…{line[-(most // 2) :]}"


def check_regular(path: str | os.PathLike[str]) -> None:
    """Refuse pipes and devices, which may have no end; what is missing passes."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ValueError(f"{path} is a pipe or a device; expected a file")


def stays_inside(name: str) -> bool:
    """Whether a name leads to what lies in its folder, if no links lead elsewhere.

    Example:
        >>> stays_inside("a/b.png"), stays_inside("../b.png"), stays_inside("C:\\\\b")
        (True, False, False)
    """
    parts = name.replace("\\", "/").split("/")
    rooted = parts[0] == "" or re.fullmatch(r"[A-Za-z]:.*", parts[0])
    return not rooted and ".." not in parts and "\0" not in name


def zip_entry(archive: zipfile.ZipFile, entry: str | zipfile.ZipInfo) -> bytes:
    """The content of an entry, unfolded by small steps.

    Raises:
        ValueError: if it unfolds too far.
        Exception: whatever `zipfile` raises for damage.
    """
    info = archive.getinfo(entry) if isinstance(entry, str) else entry
    size = _size(archive)
    check_size(info.file_size, size, repr(info.filename))
    content, limit = bytearray(), most(size)
    # bz2 and lzma make up to 20,000 times as many bytes of what they are given at once.
    step = _CHUNK.get(info.compress_type, 1 << 12)
    with archive.open(info) as file:
        while part := file.read(step):
            content += part
            if len(content) > limit:
                check_size(len(content), size, repr(info.filename))
    return bytes(content)


def check_once(names: Iterable[str], kind: str) -> None:
    """Refuse a name that is there twice: readers differ in which one they take.

    Example:
        >>> check_once(["a", "b", "a"], "column")
        Traceback (most recent call last):
        ValueError: it has the column 'a' twice
    """
    for name, count in collections.Counter(names).most_common(1):
        if count > 1:
            raise ValueError(f"it has the {kind} {name!r:.80} twice")


def json_value(text: str | bytes) -> Any:
    """What a text in JSON says.

    Raises:
        ValueError: if it is none, nested too deeply, or has a key of an object twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("its lists and objects are nested too deeply") from None


def guarded(cell: Any) -> Any:
    """A cell of a table that is no formula to a spreadsheet.

    Example:
        >>> guarded("=1+1"), guarded("cat"), guarded(-1.0)
        ("'=1+1", 'cat', -1.0)
    """
    formula = isinstance(cell, str) and _FORMULA.match(cell)
    return f"'{cell}" if formula else cell


def unguarded(cell: str) -> str:
    """A cell as it was before `guarded`.

    Example:
        >>> unguarded("'=1+1"), unguarded("'tis")
        ('=1+1', "'tis")
    """
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose keys differ."""
    value = dict(pairs)
    if len(value) < len(pairs):
        check_once((key for key, _ in pairs), "key")
    return value


def _size(archive: zipfile.ZipFile) -> int:
    """Bytes of the file of an archive."""
    file: Any = archive.fp
    try:
        return os.fstat(file.fileno()).st_size
    except (AttributeError, OSError):  # in memory
        place = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(place)
        return end
