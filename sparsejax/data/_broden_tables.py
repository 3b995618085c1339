"""Tables of a folder in the Broden format: every cell is checked, and its line told."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sparsejax import _untrusted
from sparsejax.data._labels import Labels

SIZES = ("ih", "iw", "sh", "sw")
_MOST = 2**16  # label numbers that a map can hold
_SIDE = 2**16  # pixels of an image's side


class Row(NamedTuple):
    """What index.csv says of an image.

    Attributes:
        line: of index.csv.
        image: its file.
        split: "train" or "val".
        size: its height and width.
        grid: height and width of its label maps.
        maps: (category, file) of label maps, in order.
        whole: labels of the whole image.
    """

    line: int
    image: str
    split: str
    size: tuple[int, int]
    grid: tuple[int, int]
    maps: tuple[tuple[int, str], ...]
    whole: tuple[int, ...]


def read_table(path: Path, columns: list[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a table, each with its line."""
    _untrusted.check_regular(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            _untrusted.check_once(names, "column")
            rows = [(reader.line_num, _plain(row)) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    missing = [name for name in columns if name not in names]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(names)}"
        )
    for line, row in rows:
        if None in row or None in row.values():
            raise wrong(path, line, f"expected {len(names)} cells, as in the header")
    return rows


def _plain(row: dict) -> dict:
    """A row without what keeps its cells from being formulas."""
    return {k: _untrusted.unguarded(v) if isinstance(v, str) else v
            for k, v in row.items()}  # fmt: skip


def file_name(path: Path, line: int, name: str) -> str:
    """A name for a file, if it stays in its folder."""
    if not _untrusted.stays_inside(name):
        raise wrong(path, line, f"{name!r} leads out of the folder")
    return name


def wrong(path: Path, line: int, what: str) -> ValueError:
    return ValueError(f"{path}, line {line}: {what}")


def to_number(path: Path, line: int, row: dict[str, str], name: str, make: type = int):
    try:
        value = make(row[name])
    except (ValueError, OverflowError):
        raise wrong(path, line, f"{name} is {row[name]!r}, not a number") from None
    if not 0 <= value < np.inf:
        raise wrong(path, line, f"{name} is {value}, which cannot be")
    return value


def read_labels(root: Path, kinds: tuple[str, ...]) -> tuple[Labels, np.ndarray]:
    """The table of labels, and which numbers are in it."""
    known, names = np.zeros(_MOST, bool), {0: ""}
    path = root / "label.csv"
    for line, row in read_table(path, ["number", "name"]):
        number = to_number(path, line, row, "number")
        if not 0 < number < _MOST or number in names:
            raise wrong(
                path, line, f"label {number}; expected each once, 1 to {_MOST - 1}"
            )
        names[number] = row["name"]
    known[list(names)] = True
    coverage = np.full((len(kinds), max(names) + 1), -1.0)  # -1 if it is not there
    for kind, name in enumerate(kinds):
        path = root / f"c_{name}.csv"
        for line, row in read_table(path, ["number", "coverage"]):
            number = to_number(path, line, row, "number")
            check_known(known, number, f"{path}, line {line}")
            coverage[kind, number] = to_number(path, line, row, "coverage", float)
    category = len(kinds) - 1 - coverage[::-1].argmax(0)  # the last of the largest
    category[0] = -1
    every = tuple(names.get(number, "") for number in range(len(category)))
    return Labels(every, kinds, category), known


def check_known(known, numbers, where: str) -> None:
    numbers = np.atleast_1d(numbers)
    wrong = numbers[(numbers >= len(known)) | ~known[np.minimum(numbers, _MOST - 1)]]
    if len(wrong):
        raise ValueError(f"{where}: label {wrong[0]} is not in label.csv")


def read_row(path: Path, line: int, row: dict[str, str], kinds, known) -> Row:
    ih, iw, sh, sw = (to_number(path, line, row, name) for name in SIZES)
    if max(ih, iw, sh, sw) > _SIDE:
        raise wrong(path, line, f"a side has more than {_SIDE:,} pixels")
    maps, whole = [], []
    for kind, name in enumerate(kinds):
        for item in filter(None, row[name].split(";")):
            if item.isascii() and item.isdigit():
                whole.append(int(item) if len(item) < 19 else _MOST)
            else:
                maps.append((kind, file_name(path, line, item)))
    whole = tuple(number for number in whole if number)
    check_known(known, np.array(whole, int), f"{path}, line {line}")
    image, sizes = file_name(path, line, row["image"]), ((ih, iw), (sh, sw))
    return Row(line, image, row["split"], *sizes, tuple(maps), whole)
