"""MNIST and Fashion-MNIST from their IDX files, gzipped or not.

Nothing is downloaded. The four files of a data set keep their usual names, such as
`train-images-idx3-ubyte.gz`, the same names for both data sets. So the folder decides:

1. Subfolders of `data_dir` named after the data set come first: `mnist`, or
   `fashion_mnist`, `fashion-mnist`, `fashion`. The first with all four files is read.
2. `data_dir` itself is read only if it has no such subfolder and is not itself named
   after the other data set.
3. Whatever the folder, full training labels counted like those of the other data set
   are refused.

All four files come from one folder. An unreadable file is a `ValueError` that names it.
"""

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from sparsejax import _untrusted
from sparsejax.data._splits import Dataset, Split

StrPath = str | os.PathLike[str]

_TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
_FOLDERS = {
    "mnist": ("mnist",),
    "fashion_mnist": ("fashion_mnist", "fashion-mnist", "fashion"),
}
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_TRAINING_COUNTS = {
    "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "fashion_mnist": [6000] * 10,
}


def mnist(data_dir: StrPath | None = None) -> Dataset:
    """MNIST: 60,000 + 10,000 handwritten digits of 28x28 pixels.

    Args:
        data_dir: folder with the four files, or with a subfolder `mnist` of them; by
            default the environment variable `SPARSEJAX_DATA_DIR`.

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


def fashion_mnist(data_dir: StrPath | None = None) -> Dataset:
    """Fashion-MNIST: 60,000 + 10,000 articles of clothing of 28x28 pixels, ten kinds.

    Args:
        data_dir: folder with the four files, or with a subfolder `fashion_mnist`,
            `fashion-mnist` or `fashion` of them; by default the environment variable
            `SPARSEJAX_DATA_DIR`.

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


def _load(name: str, data_dir: StrPath | None) -> Dataset:
    train_images, train_labels, test_images, test_labels = _find(name, data_dir)
    train = _split(train_images, train_labels)
    counts = np.bincount(train.y, minlength=10).tolist()
    for other in _TITLES:
        if other != name and counts == _TRAINING_COUNTS[other]:
            raise ValueError(
                f"{train_labels} has the class counts of {_TITLES[other]}, expected "
                f"{_TITLES[name]}; pass the folder of {_TITLES[name]}"
            )
    return Dataset(train, _split(test_images, test_labels))


def _find(name: str, data_dir: StrPath | None) -> list[Path]:
    """The paths of the four files, in the order of `_FILES`; the rule is on top."""
    title = _TITLES[name]
    given = data_dir or os.environ.get("SPARSEJAX_DATA_DIR")
    if not given:
        raise ValueError(
            f"{title} is read from files: pass --data_dir (in Python data_dir=) or set "
            "SPARSEJAX_DATA_DIR to the folder that holds them"
        )
    root = Path(given).expanduser()
    if not root.is_dir():
        raise ValueError(
            f"{root} is not a folder; pass --data_dir with the folder of {title}"
        )
    folders = [root / sub for sub in _FOLDERS[name] if (root / sub).is_dir()]
    for other in _TITLES:
        if not folders and other != name and root.resolve().name in _FOLDERS[other]:
            raise ValueError(
                f"{root} is named after {_TITLES[other]}, so it is not read as "
                f"{title}; pass --data_dir with the folder of {title}"
            )
    reports = []
    for folder in folders or [root]:
        found = [_find_file(folder, file) for file in _FILES]
        paths = [path for path in found if path is not None]
        if len(paths) == len(_FILES):
            return paths
        missing = [f for f, path in zip(_FILES, found, strict=True) if path is None]
        reports.append(f"{folder} lacks {', '.join(missing)}")
    raise ValueError(
        f"{title} is incomplete: {'; '.join(reports)} (each may end in .gz); "
        f"put all four into one folder, such as {root / _FOLDERS[name][0]}, or pass "
        f"--data_dir with the folder of {title}"
    )


def _find_file(folder: Path, file: str) -> Path | None:
    """The file under its usual name or as `train-images.idx3-ubyte`, gzipped or not."""
    dotted = file.replace("-idx", ".idx")
    paths = [folder / (stem + end) for stem in (file, dotted) for end in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def _split(images_path: Path, labels_path: Path) -> Split:
    images, labels = read(images_path), read(labels_path)
    if images.shape[1:] != (28, 28):
        raise ValueError(
            f"{images_path} has the shape {images.shape}, expected (n, 28, 28); check "
            "that this is an image file of the data set"
        )
    if labels.ndim != 1:
        raise ValueError(
            f"{labels_path} has the shape {labels.shape}, expected (n,); check that "
            "this is a label file of the data set"
        )
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images, but {labels_path} holds "
            f"{len(labels)} labels; take both from one copy of the data set"
        )
    if labels.max() > 9:
        first = int(np.argmax(labels > 9))
        raise ValueError(
            f"{labels_path} has the label {labels[first]} at index {first}, expected "
            "0 to 9; get a fresh copy"
        )
    # With a float32 scalar NumPy casts and divides in one pass, without float64.
    return Split(images[..., None] / np.float32(255), labels.astype(np.int32))
