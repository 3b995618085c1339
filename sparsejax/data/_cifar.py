"""CIFAR-10 from its binary batches, its Python batches, or images in class folders.

Forms are looked for in the subfolder `cifar10` of `data_dir`, then in `data_dir`
itself; the first that is there is read:

1. `cifar-10-batches-bin/`, the binary version unpacked
2. `cifar-10-binary.tar.gz` (or `.tar`), as published
3. `cifar-10-batches-py/`, the Python version unpacked, as by torchvision and Keras
4. `cifar-10-python.tar.gz` (or `.tar`), as published
5. `train.zip` and `test.zip` of ten class folders, `airplane` to `truck`, see
   `image_folder`

A folder counts if it has all six batches. Images come class after class, in each class
in the order of the batches: the arrays of all forms are equal, if the zips have images
in that order in a lossless format. Python batches are pickles; they are read as data,
see `_pickles`.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from sparsejax import _pickles as pickles
from sparsejax import _untrusted, trees
from sparsejax.data import _sources as sources
from sparsejax.data import _tars as tars
from sparsejax.data._images import image_folder
from sparsejax.data._splits import Dataset, Split

_BATCHES = *(f"data_batch_{i}" for i in range(1, 6)), "test_batch"
_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
    "truck",
)  # fmt: skip
_ROW = 3 * 32 * 32
Arrays = tuple[np.ndarray, np.ndarray]
_Counts = tuple[int | None, int | None]  # of a class, for training and test


class _Form(NamedTuple):
    """A version of the data set.

    Attributes:
        folders: Names that its folder has.
        archive: Name of its archive without `.gz`.
        end: What names of batches end in.
        read: Images (n, 3072) and labels (n,) of the content of a batch.
    """

    folders: tuple[str, ...]
    archive: str
    end: str
    read: Callable[[bytes], Arrays]


def cifar10(
    data_dir: sources.StrPath | None = None,
    *,
    most: int | None = None,
    most_test: int | None = None,
) -> Dataset:
    """CIFAR-10: 50,000 + 10,000 photographs of 32x32 pixels, ten kinds.

    Args:
        data_dir: folder with any of `cifar-10-batches-bin`, `cifar-10-binary.tar.gz`,
            `cifar-10-batches-py`, `cifar-10-python.tar.gz`, or `train.zip` and
            `test.zip` of class folders, or above a folder `cifar10` of these; the first
            that is there is read. By default the environment variable
            `SPARSEJAX_DATA_DIR`.
        most: training images of each class; by default all 5,000.
        most_test: test images of each class; by default all 1,000.

    Returns:
        NumPy arrays, class after class: `x` of shape `(n, 32, 32, 3)` from 0 to 1 in
        steps of 1/255, and `y` of shape `(n,)`, the kind from 0 (airplane) to 9
        (truck).

    Raises:
        ValueError: no folder given, files missing, unreadable, or not CIFAR-10's.

    Example:
        With `cifar-10-binary.tar.gz` in `data`:

            train, test = cifar10("data", most=100)
            train.x.shape, test.x.shape  # (1000, 32, 32, 3), (10000, 32, 32, 3)

    Reference:
        Alex Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    counts = most, most_test
    for name, count in zip(("most", "most_test"), counts, strict=True):
        if count is not None and count < 1:
            raise ValueError(f"{name} must be positive, got {count}")
    root = sources.folder("cifar10", data_dir)
    places, lacking = [root / "cifar10", root], []
    for place in places:
        for form in _FORMS:
            ways = [place / name for name in form.folders]
            for path in (*ways, *[root] * (place == root)):
                lacks = [b for b in _BATCHES if not (path / (b + form.end)).is_file()]
                if not lacks:
                    return _dataset(path, form.read, _of_folder(path, form), counts)
                if len(lacks) < len(_BATCHES) or (path in ways and path.is_dir()):
                    lacking.append(f"{path} lacks {', '.join(lacks)}")
            for name in (form.archive + ".gz", form.archive):
                if (path := place / name).is_file():
                    return _dataset(path, form.read, _of_archive(path, form), counts)
        zips = place / "train.zip", place / "test.zip"
        if any(path.exists() for path in zips):
            return _of_zips(*zips, counts)
    reason = "; ".join(lacking) or f"{root} has none of its files"
    raise sources.missing("cifar10", reason, *places)


def _of_folder(folder: Path, form: _Form) -> Iterator[tuple[str, bytes]]:
    for name in _BATCHES:
        path = folder / (name + form.end)
        _untrusted.check_regular(path)
        yield path.name, path.read_bytes()


def _of_archive(path: Path, form: _Form) -> Iterator[tuple[str, bytes]]:
    names = {name + form.end for name in _BATCHES}

    def wanted(name):
        return PurePosixPath(name).name in names

    for name, content in tars.files(path, wanted):
        yield PurePosixPath(name).name, content


def _of_zips(train: Path, test: Path, counts: _Counts) -> Dataset:
    for path in (train, test):
        if not path.exists():
            raise sources.missing("cifar10", f"{path} is missing")
    splits = []
    for path, most in zip((train, test), counts, strict=True):
        split, names = image_folder(path, most=most)
        if names != list(_CLASSES) or split.x.shape[1:] != (32, 32, 3):
            height, width = split.x.shape[1:3]
            what = _untrusted.one_line(trees.listed(names), 200)
            raise ValueError(
                f"{path} has images of {height}x{width} pixels of the classes {what}; "
                f"expected 32x32 pixels of {trees.listed(_CLASSES)}. For other images "
                "pass --dataset with their folder (in Python use image_folder)"
            )
        splits.append(split)
    return Dataset(*splits)


def _dataset(
    path: Path,
    read: Callable[[bytes], Arrays],
    batches: Iterator[tuple[str, bytes]],
    counts: _Counts,
) -> Dataset:
    """Images and labels of six batches."""
    with _untrusted.reading(path):
        parts: dict[str, Arrays] = {}
        for name, content in batches:
            batch = name.removesuffix(".bin")
            if batch in parts:
                raise ValueError(f"it has {name} twice; get a fresh copy")
            with _untrusted.reading(name):
                parts[batch] = read(content)
        lacks = [name for name in _BATCHES if name not in parts]
        if lacks:
            raise ValueError(f"it lacks {', '.join(lacks)}; get a fresh copy")
        test = parts.pop("test_batch")
        training = [parts[name] for name in _BATCHES[:-1]]
        pixels, labels = (np.concatenate(some) for some in zip(*training, strict=True))
    most, most_test = counts
    return Dataset(_split(pixels, labels, most), _split(*test, most_test))


def _split(pixels: np.ndarray, labels: np.ndarray, most: int | None) -> Split:
    """Images in [0, 1], class after class."""
    by_class = [np.flatnonzero(labels == label)[:most] for label in range(10)]
    rows = np.concatenate(by_class)
    planes = pixels[rows].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    images = np.ascontiguousarray(planes).astype(np.float32)
    images /= 255
    return Split(images, labels[rows].astype(np.int32))


def _binary(content: bytes) -> Arrays:
    """Of rows of one byte, the label, and 3,072 of pixels."""
    count, rest = divmod(len(content), 1 + _ROW)
    if rest or not count:
        raise ValueError(
            f"it has {len(content):,} bytes, expected rows of {1 + _ROW:,}: it is "
            "truncated or of another data set"
        )
    rows = np.frombuffer(content, np.uint8).reshape(count, 1 + _ROW)
    return rows[:, 1:], _checked(rows[:, 0])


def _python(content: bytes) -> Arrays:
    """Of a pickled dictionary with "data" (n, 3072) and "labels"."""
    stream = io.BytesIO(content)
    batch = pickles.read(stream, _NAMES, _not_here)
    if type(batch) is not dict or not {"data", "labels"} <= batch.keys():
        raise ValueError('it is not a dictionary with "data" and "labels"')
    pixels, labels = _array(batch["data"]), batch["labels"]
    whole = type(labels) is list and all(type(n) is int for n in labels)
    if not whole or len(labels) != len(pixels) or not all(0 <= n < 256 for n in labels):
        raise ValueError(f'"labels" is not a list of {len(pixels)} labels')
    return pixels, _checked(np.array(labels, np.uint8))


def _checked(labels: np.ndarray) -> np.ndarray:
    if labels.max() > 9:
        raise ValueError(f"it has the label {labels.max()}, expected 0 to 9")
    return labels


def _array(value: Any) -> np.ndarray:
    """The array of bytes that a pickle describes."""
    state = value.state if type(value) is pickles.Built else None
    match state:
        case (_, (int(count), int(width)), pickles.Built(args=("u1" | "|u1", *_)),
              False, raw):  # fmt: skip
            content = _bytes(raw)
        case _:
            raise ValueError('"data" is not an array of bytes in rows')
    if width != _ROW or not 0 < count < 2**32 or len(content) != count * width:
        raise ValueError(
            f'"data" has {len(content):,} bytes for the shape {count, width}; expected '
            f"rows of {_ROW:,}"
        )
    return np.frombuffer(content, np.uint8).reshape(count, width)


def _bytes(raw: Any) -> bytes:
    """Bytes as Python 3 and, in strings, Python 2 wrote them."""
    if type(raw) is pickles.Built and len(raw.args) == 2 and raw.args[1] == "latin1":
        raw = raw.args[0]
    if isinstance(raw, str):
        return raw.encode("latin-1")
    if not isinstance(raw, bytes):
        raise ValueError('"data" has no bytes')
    return raw


def _not_here(_: Any) -> None:
    raise ValueError("it refers to what is stored elsewhere")


# Descriptions alone: what repeats a call repeats no numbers.
_NAMES: dict[str, Any] = dict.fromkeys(
    ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
     "numpy.dtype", "_codecs.encode"), pickles.Function(pickles.built),
)  # fmt: skip
_NAMES["numpy.ndarray"] = None
_FORMS = (
    _Form(("cifar-10-batches-bin",), "cifar-10-binary.tar", ".bin", _binary),
    _Form(
        ("cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py"),
        "cifar-10-python.tar",
        "",
        _python,
    ),
)
