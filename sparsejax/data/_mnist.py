"""MNIST and Fashion-MNIST from their IDX files, gzipped or not, or from `mnist.npz`.

The four files of a data set keep their usual names, such as
`train-images-idx3-ubyte.gz`, the same names for both data sets. So the folder decides:

1. Subfolders of `data_dir` named after the data set come first: `mnist`, `MNIST`, or
   `fashion_mnist`, `fashion-mnist`, `fashion`, `FashionMNIST`; in each the files, then
   those in its subfolder `raw`, where torchvision leaves them. The first with all four
   files is read.
2. `data_dir` itself is read only if it has no such subfolder and is not itself named
   after the other data set.
3. For MNIST, `mnist.npz`, as Keras leaves it: in these folders, then in `data_dir`.
4. Whatever the folder, full training labels counted like those of the other data set
   are refused.

All four files come from one folder. An unreadable file is a `ValueError` that names it.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from sparsejax import runs
from sparsejax.data import _idx as idx
from sparsejax.data import _sources as sources
from sparsejax.data._splits import Dataset, Split

_FOLDERS = {
    "mnist": ("mnist", "MNIST"),
    "fashion_mnist": ("fashion_mnist", "fashion-mnist", "fashion", "FashionMNIST"),
}
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_ENTRIES = "x_train", "y_train", "x_test", "y_test"  # of mnist.npz, in this order
_TRAINING_COUNTS = {
    "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "fashion_mnist": [6000] * 10,
}


class _Array(NamedTuple):
    """Numbers of a file, and what to call it."""

    place: str
    numbers: UInt8[np.ndarray, "..."]


def mnist(data_dir: sources.StrPath | None = None) -> Dataset:
    """MNIST: 60,000 + 10,000 handwritten digits of 28x28 pixels.

    Args:
        data_dir: folder with the four files or Keras's `mnist.npz`, or with a subfolder
            `mnist` or `MNIST/raw` of them; by default the environment variable
            `SPARSEJAX_DATA_DIR`.

    Returns:
        NumPy arrays: `x` of shape `(n, 28, 28, 1)`, ink from 0 to 1 in steps of 1/255,
        and `y` of shape `(n,)`, the digit.

    Raises:
        ValueError: no folder given, files missing, unreadable, or not MNIST's.

    Example:
        With the files in `data/mnist`:

            train, test = mnist("data")
            train.x.shape, test.y.shape  # (60000, 28, 28, 1), (10000,)

    Reference:
        Yann LeCun, Leon Bottou, Yoshua Bengio and Patrick Haffner, Gradient-based
        learning applied to document recognition, Proceedings of the IEEE, 1998.
    """
    return _load("mnist", data_dir)


def fashion_mnist(data_dir: sources.StrPath | None = None) -> Dataset:
    """Fashion-MNIST: 60,000 + 10,000 articles of clothing of 28x28 pixels, ten kinds.

    Args:
        data_dir: folder with the four files, or with a subfolder `fashion_mnist`,
            `fashion-mnist`, `fashion` or `FashionMNIST/raw` of them; by default the
            environment variable `SPARSEJAX_DATA_DIR`.

    Returns:
        NumPy arrays: `x` of shape `(n, 28, 28, 1)`, brightness from 0 to 1 in steps of
        1/255, and `y` of shape `(n,)`, the kind from 0 (T-shirt) to 9 (ankle boot).

    Raises:
        ValueError: no folder given, files missing, unreadable, or not Fashion-MNIST's.

    Example:
        With the files in `data/fashion_mnist`:

            train, test = fashion_mnist("data")
            train.x.shape, test.y.shape  # (60000, 28, 28, 1), (10000,)

    Reference:
        Han Xiao, Kashif Rasul and Roland Vollgraf, Fashion-MNIST: a novel image dataset
        for benchmarking machine learning algorithms, 2017, arXiv:1708.07747.
    """
    return _load("fashion_mnist", data_dir)


def _load(name: str, data_dir: sources.StrPath | None) -> Dataset:
    images, labels, test_images, test_labels = _arrays(name, data_dir)
    train = _split(images, labels)
    counts = np.bincount(train.y, minlength=10).tolist()
    for other in _FOLDERS:
        if other != name and counts == _TRAINING_COUNTS[other]:
            raise ValueError(
                f"{labels.place} has the class counts of {_title(other)}, expected "
                f"{_title(name)}; pass the folder of {_title(name)}"
            )
    return Dataset(train, _split(test_images, test_labels))


def _title(name: str) -> str:
    return sources.SOURCES[name].title


def _arrays(name: str, data_dir: sources.StrPath | None) -> list[_Array]:
    """The four arrays, in the order of `_FILES`; the rule is on top."""
    root = sources.folder(name, data_dir)
    folders = [root / sub for sub in _FOLDERS[name] if (root / sub).is_dir()]
    whole = root.resolve()
    own = whole.parent.name if whole.name == "raw" else whole.name
    for other in _FOLDERS:
        if not folders and other != name and own in _FOLDERS[other]:
            raise ValueError(
                f"{root} is named after {_title(other)}, so it is not read as "
                f"{_title(name)}; pass --data_dir with the folder of {_title(name)}"
            )
    reports = []
    for folder in folders or [root]:
        raw = folder / "raw"
        for place in (folder, raw) if raw.is_dir() else (folder,):
            paths = {file: _find_file(place, file) for file in _FILES}
            lacks = [file for file, path in paths.items() if path is None]
            if not lacks:
                there = (path for path in paths.values() if path is not None)
                return [_Array(str(path), idx.read(path)) for path in there]
            reports.append(f"{place} lacks {', '.join(lacks)}")
    for place in (*folders, root) if name == "mnist" else ():
        if (path := place / "mnist.npz").is_file():
            return _of_npz(path)
    raise sources.missing(name, "; ".join(reports), *dict.fromkeys((*folders, root)))


def _find_file(folder: Path, file: str) -> Path | None:
    """The file under its usual name or as `train-images.idx3-ubyte`, gzipped or not."""
    dotted = file.replace("-idx", ".idx")
    paths = [folder / (stem + end) for stem in (file, dotted) for end in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def _of_npz(path: Path) -> list[_Array]:
    arrays = runs.read_arrays(path)
    lacks = [entry for entry in _ENTRIES if entry not in arrays]
    if lacks:
        raise ValueError(f"{path} lacks {', '.join(lacks)}; get a fresh copy")
    for entry in _ENTRIES:
        if arrays[entry].dtype != np.uint8 or not arrays[entry].size:
            raise ValueError(
                f"{path}: {entry} is {arrays[entry].dtype}{arrays[entry].shape}, "
                "expected unsigned bytes; get a fresh copy"
            )
    return [_Array(f"{path}: {entry}", arrays[entry]) for entry in _ENTRIES]


def _split(images: _Array, labels: _Array) -> Split:
    x, y = images.numbers, labels.numbers
    if x.shape[1:] != (28, 28):
        raise ValueError(
            f"{images.place} has the shape {x.shape}, expected (n, 28, 28); check "
            "that this is an image file of the data set"
        )
    if y.ndim != 1:
        raise ValueError(
            f"{labels.place} has the shape {y.shape}, expected (n,); check that "
            "this is a label file of the data set"
        )
    if len(x) != len(y):
        raise ValueError(
            f"{images.place} holds {len(x)} images, but {labels.place} holds "
            f"{len(y)} labels; take both from one copy of the data set"
        )
    if y.max() > 9:
        first = int(np.argmax(y > 9))
        raise ValueError(
            f"{labels.place} has the label {y[first]} at index {first}, expected "
            "0 to 9; get a fresh copy"
        )
    # With a float32 scalar NumPy casts and divides in one pass, without float64.
    return Split(x[..., None] / np.float32(255), y.astype(np.int32))
