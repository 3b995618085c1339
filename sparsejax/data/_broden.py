"""Labelled images on disk in the Broden format, for network dissection.

    index.csv       image, split, ih, iw (size of the image), sh, sw (of its label maps)
                    and for every category its labels, joined by ";": the number of a
                    label of the whole image, or the file of a label map
    category.csv    name, first, last, count (of labels), frequency
    label.csv       number, name, category, frequency, coverage, syns
    c_CATEGORY.csv  code, number, name, frequency, coverage (within a category)
    images/         all images and label maps; a map is a PNG, label = red + 256 green

Names in tables stay in their folder: absolute ones and ".." are refused; links are
followed.

Frequency is the number of images with a label, coverage the sum over images of the
share of pixels that have it.

Reference: Bau et al., "Network Dissection: Quantifying Interpretability of Deep Visual
Representations", 2017 (arXiv 1704.05796).
"""

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from sparsejax import _untrusted, checks
from sparsejax.data import _broden_tables as _tables
from sparsejax.data._broden_tables import Row
from sparsejax.data._labels import Labeled, Labels
from sparsejax.data._pictures import picture, pixels
from sparsejax.data._sources import StrPath


@dataclasses.dataclass(frozen=True, eq=False)
class Broden:
    """A sequence of chunks of labelled images, each read when it is asked for.

    Attributes:
        root: the folder.
        labels: the table of labels.
        rows: of the images, all chunks in a row.
        layers: of which category each layer of the label maps is.
        known: which numbers are labels, 0 among them.
        batch_size: images in a chunk.
        size: height and width of the images.
    """

    root: Path
    labels: Labels
    rows: tuple[Row, ...]
    layers: tuple[int, ...]
    known: Bool[np.ndarray, " numbers"]
    batch_size: int
    size: tuple[int, int]

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.rows)

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[Labeled]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, chunk: int) -> Labeled:
        chunk = range(len(self))[chunk]
        rows = self.rows[chunk * self.batch_size :][: self.batch_size]
        layers, most = len(self.layers), max(len(row.whole) for row in self.rows)
        shape = len(rows), layers, *rows[0].grid
        with _untrusted.reading(self.root / "index.csv"):
            _untrusted.check_size(4 * math.prod(shape[1:]), 0, "an image's label maps")
        pixels = np.zeros(shape, np.int32)
        whole = np.zeros((len(rows), most), np.int32)
        for i, row in enumerate(rows):
            whole[i, : len(row.whole)] = row.whole
            free = list(self.layers)
            for kind, name in row.maps:
                layer = free.index(kind)
                free[layer] = -1
                pixels[i, layer] = _label_map(self, row, name)
        images = np.stack([_image(self, row) for row in rows])
        return Labeled(images, pixels, whole)


def broden(
    root: StrPath,
    *,
    categories: str | Iterable[str] | None = None,
    split: str | None = None,
    batch_size: int = 64,
    size: int | None = None,
) -> Broden:
    """Open labelled images in the Broden format.

    Tables are read and checked here, files of images only looked for; what is wrong
    inside of them is told, with its line of index.csv, when their chunk is read.

    Images without a label of the categories are left out. A label that several
    categories have belongs to the one in which it covers most; if they tie, and if none
    has it, to the last of them. Both as in the authors' code.

    Args:
        root: the folder.
        categories: one or those to read, in any order: they keep that of category.csv.
            By default all.
        split: "train" or "val"; by default both.
        batch_size: images in a chunk.
        size: height and width to resample images to; by default they are as they are,
            and must have one size.

    Returns:
        Chunks of `Labeled`, to be gone through any number of times. All chunks have
        the same layers: as many of every category as an image has maps of it at most.

    Raises:
        ValueError: for what is missing or does not fit, with file and line; names that
            leave the folder; and label maps of an image of more than 256 MiB
            (SPARSEJAX_MAX_BYTES sets another limit).

    Example:
        With the files in `data/broden1_224`:

            chunks = broden("data/broden1_224", categories=["object", "color"])
            for images, pixels, whole in chunks:
                images.shape  # (64, 224, 224, 3)
    """
    with _untrusted.reading(root):
        return _broden(Path(root), categories, split, batch_size, size)


def _broden(root: Path, categories, split, batch_size: int, size: int | None) -> Broden:
    if batch_size < 1 or (size is not None and size < 1):
        raise ValueError(
            f"batch_size and size must be 1 or more, got {batch_size}, {size}"
        )
    path = root / "category.csv"
    table = _tables.read_table(path, ["name"])
    every = [_tables.file_name(path, line, row["name"]) for line, row in table]
    with _untrusted.reading(path):
        _untrusted.check_once(every, "category")
    wanted = every if categories is None else checks.several(categories)
    unknown = [name for name in wanted if name not in every]
    if unknown or not wanted:
        raise ValueError(
            f"{root} has no categories {', '.join(map(repr, unknown))}; expected some "
            f"of {', '.join(every)}"
        )
    kinds = tuple(name for name in every if name in wanted)
    labels, known = _tables.read_labels(root, kinds)
    index = root / "index.csv"
    table = _tables.read_table(index, ["image", "split", *_tables.SIZES, *kinds])
    rows = (_tables.read_row(index, line, row, kinds, known) for line, row in table)
    rows = [r for r in rows if r.maps or r.whole]
    if split is not None:
        splits = sorted({row.split for row in rows})
        rows = [row for row in rows if row.split == split]
        if not rows:
            raise ValueError(f"{index} has no split {split!r}, but {', '.join(splits)}")
    if not rows:
        raise ValueError(f"{index} has no image with labels of {', '.join(kinds)}")
    for row in rows:
        _check_row(index, row, rows[0], size)
    counts = [[kind for kind, _ in row.maps] for row in rows]
    most = [max(c.count(kind) for c in counts) for kind in range(len(kinds))]
    layers = tuple(np.repeat(np.arange(len(kinds)), most).tolist()) or (0,)
    shape = rows[0].size if size is None else (size, size)
    return Broden(root, labels, tuple(rows), layers, known, batch_size, shape)


def _check_row(path: Path, row: Row, first: Row, size: int | None) -> None:
    """That files are there, and sizes those of the first row."""
    if row.grid != first.grid or (size is None and row.size != first.size):
        raise _tables.wrong(
            path,
            row.line,
            f"an image of {row.size} with label maps of {row.grid}, but {first.size} "
            f"with {first.grid} on line {first.line}; images of several sizes need a "
            "size, label maps must have one",
        )
    for name in (row.image, *(name for _, name in row.maps)):
        if not os.path.isfile(f"{path.parent}/images/{name}"):
            raise _tables.wrong(path, row.line, f"images/{name} is missing")


def _image(of: Broden, row: Row) -> np.ndarray:
    image = _read(of, row, row.image, row.size)
    height, width = of.size
    if row.size != of.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(pixels(image), np.float32) / 255


def _label_map(of: Broden, row: Row, name: str) -> np.ndarray:
    image = _read(of, row, name, row.grid)
    where = f"{of.root / 'index.csv'}, line {row.line}: images/{name}"
    if image.mode != "RGB":
        raise ValueError(f"{where} has more than 8 bits; expected red, green and blue")
    red, green, blue = np.moveaxis(np.asarray(image, np.int32), -1, 0)
    if blue.any():
        raise ValueError(f"{where} has blue pixels; expected label = red + 256 green")
    _tables.check_known(of.known, (red + 256 * green).ravel(), where)
    return red + 256 * green


def _read(of: Broden, row: Row, name: str, size: tuple[int, int]) -> Image.Image:
    index = of.root / "index.csv"
    file = of.root / "images" / name
    try:
        _untrusted.check_regular(file)
        image = picture(file.read_bytes())
    except Exception as error:  # decoders raise what they like
        what = f"images/{name} does not decode: {error}"
        raise _tables.wrong(index, row.line, _untrusted.one_line(what)) from None
    if image.size != size[::-1]:
        raise _tables.wrong(
            index,
            row.line,
            f"images/{name} is {image.height}x{image.width} pixels, not "
            f"{size[0]}x{size[1]}",
        )
    return image
