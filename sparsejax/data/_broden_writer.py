"""Write labelled images in the Broden format, which `broden` reads."""

import contextlib
import csv
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sparsejax import _untrusted
from sparsejax._labels import check_numbers, check_table, parts
from sparsejax.data._labels import Labeled, Labels
from sparsejax.data._sources import StrPath

_INDEX = ("image", "split", "ih", "iw", "sh", "sw")
_TRAIN = 0.7  # share of the images


def write_broden(
    root: StrPath,
    labeled: Labeled | Iterable[Any],
    labels: Labels,
    *,
    split: str | None = None,
) -> None:
    """Write labelled images in the Broden format, whole or not at all.

    `broden` reads the same arrays: images rounded to 8 bits; and label maps the same if
    every layer has labels of one category and layers come in the order of categories,
    else the same labels at each pixel in other layers. Images are PNG.

    Args:
        root: a folder that is not there yet, or empty.
        labeled: images, or chunks of them.
        labels: the table.
        split: of all images; by default a digest of its name makes an image "train"
            (0.7 of them) or "val".

    Raises:
        ValueError: for a folder that has files, shapes and numbers that do not fit,
            and images outside [0, 1].

    Example:
        >>> import tempfile
        >>> from sparsejax.data import broden
        >>> labels = Labels(("", "cat"), ("object",), np.array([-1, 0]))
        >>> maps = np.array([[0, 1], [0, 1]], "i4").reshape(1, 1, 2, 2)
        >>> example = Labeled(np.ones((1, 2, 2, 3), "f4"), maps, np.zeros((1, 0), "i4"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_broden(folder, example, labels)
        ...     for chunk in broden(folder):
        ...         chunk.pixels.tolist()
        [[[[0, 1], [0, 1]]]]
    """
    chunks = [labeled] if isinstance(labeled, Labeled) else labeled
    kinds = _checked(labels)
    # Of every label: images that have it, and the sum of the shares of their pixels.
    frequency = np.zeros(len(labels.names), int)
    coverage = np.zeros(len(labels.names))
    with _folder(Path(root).absolute()) as folder:
        (folder / "images").mkdir()
        rows = []
        for image, pixels, whole in _examples(chunks, len(labels.names)):
            name = f"{len(rows):06}"
            cells = [
                [str(n) for n in whole[whole > 0] if labels.category[n] == kind]
                + _write_maps(folder, f"{name}_{kinds[kind]}", here)
                for kind, here in enumerate(_by_category(pixels, labels))
            ]
            _write_png(folder / "images" / f"{name}.png", image)
            sizes = *image.shape[:2], *pixels.shape[1:]
            part = split or _split(name)
            rows.append([f"{name}.png", part, *sizes, *map(";".join, cells)])
            for number in np.union1d(pixels, whole):
                frequency[number] += 1
                here = (pixels == number).any(0)
                coverage[number] += 1 if number in whole else here.mean()
        if not rows:
            raise ValueError("there are no images to write")
        _write_table(folder / "index.csv", [*_INDEX, *kinds], rows)
        _write_tables(folder, labels, frequency, coverage)


def _by_category(pixels: np.ndarray, labels: Labels) -> Iterator[np.ndarray]:
    """Label maps without labels of other categories."""
    for kind in range(len(labels.categories)):
        yield np.where(labels.category[pixels] == kind, pixels, 0)


def _write_maps(folder: Path, name: str, layers: np.ndarray) -> list[str]:
    """Files of those layers that have a label."""
    files = []
    for layer in layers[layers.any((1, 2))]:
        files.append(f"{name}_{len(files)}.png")
        codes = np.stack([layer & 255, layer >> 8, 0 * layer], -1)
        _write_png(folder / "images" / files[-1], codes)
    return files


def _write_png(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image.astype(np.uint8)).save(path)


def _write_table(path: Path, names: Iterable[str], rows: Iterable[Iterable]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        plain = ([_untrusted.guarded(cell) for cell in row] for row in rows)
        csv.writer(file).writerows([list(names), *plain])


def _write_tables(folder: Path, labels: Labels, frequency, coverage) -> None:
    kind_of = labels.category
    _write_table(
        folder / "label.csv",
        ["number", "name", "category", "frequency", "coverage", "syns"],
        [
            [n, name, f"{labels.categories[kind_of[n]]}({frequency[n]})"]
            + [frequency[n], float(coverage[n]), ""]
            for n, name in enumerate(labels.names)
            if n
        ],
    )
    rows = []
    for kind, name in enumerate(labels.categories):
        numbers = 1 + np.flatnonzero(kind_of[1:] == kind)
        order = np.lexsort([numbers, -coverage[numbers], -frequency[numbers]])
        _write_table(
            folder / f"c_{name}.csv",
            ["code", "number", "name", "frequency", "coverage"],
            [
                [code, n, labels.names[n], frequency[n], float(coverage[n])]
                for code, n in enumerate(numbers[order], 1)
            ],
        )
        ends = [numbers[0], numbers[-1]] if len(numbers) else [0, 0]
        rows.append([name, *ends, len(numbers), frequency[numbers].sum()])
    names = ["name", "first", "last", "count", "frequency"]
    _write_table(folder / "category.csv", names, rows)


def _split(name: str) -> str:
    digest = hashlib.md5(name.encode(), usedforsecurity=False).digest()
    return "train" if int.from_bytes(digest) < _TRAIN * 2**128 else "val"


@contextlib.contextmanager
def _folder(root: Path) -> Iterator[Path]:
    """A temporary folder, renamed to `root` if the block succeeds."""
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise ValueError(f"{root} is there already; choose another folder or remove it")
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = root.with_name(f".{root.name}.{secrets.token_hex(4)}")
    try:  # from here on: a signal may raise at any step
        temporary.mkdir()
        yield temporary
        os.replace(temporary, root)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _checked(labels: Labels) -> tuple[str, ...]:
    """The names of categories, if the table is one."""
    kinds = labels.categories
    for name in kinds:
        if not re.fullmatch(r"[\w-]+", name) or name in _INDEX or kinds.count(name) > 1:
            raise ValueError(
                f"category {name!r} cannot name a file and a column; expected letters, "
                f"digits, _ and -, each name once, and none of {', '.join(_INDEX)}"
            )
    check_table(labels)
    if len(labels.names) > 2**16:
        raise ValueError(
            f"the table has {len(labels.names) - 1} labels; maps can hold {2**16 - 1}"
        )
    return kinds


def _examples(chunks: Iterable[Any], count: int) -> Iterator[tuple]:
    """Image in 8 bits, label maps and labels of each example."""
    number = 0
    for chunk in chunks:
        images, pixels, whole = map(np.asarray, parts(chunk))
        shapes = f"{images.shape}, {pixels.shape}, {whole.shape}"
        form = (images.ndim, images.shape[3:], pixels.ndim, whole.ndim)
        lengths = {len(images), len(pixels), len(whole)}
        if form != (4, (3,), 4, 2) or len(lengths) > 1:
            raise ValueError(
                f"images, label maps and labels of whole images have shapes {shapes}; "
                "expected (n, height, width, 3), (n, layers, rows, columns), (n, any)"
            )
        for example in zip(images, pixels, whole):
            yield _valid(number, *example, count)
            number += 1


def _valid(number: int, image, pixels, whole, count: int):
    if not ((image >= 0) & (image <= 1)).all():
        raise ValueError(
            f"image {number} has values from {image.min()} to {image.max()}; expected "
            "[0, 1]"
        )
    for numbers in (pixels, whole):
        check_numbers(numbers, count, f"image {number}")
    return np.round(image * 255), pixels, whole
