"""Folders of images, one a class, as they are or in a zip: ImageNet and its kin."""

import math
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from sparsejax import _untrusted
from sparsejax.data._folders import classes
from sparsejax.data._pictures import picture, pixels
from sparsejax.data._sources import StrPath
from sparsejax.data._splits import Split


class Images:
    """Images that are read when they are asked for, in [0, 1].

    `images[rows]` decodes one of them, a slice or an array of numbers, in threads; the
    shape is `(height, width, 3)` or `(rows, height, width, 3)`. What `train.fit` reads
    block by block.
    """

    def __init__(self, path: Path, names, read: Callable[[str], bytes], size: int):
        self._path, self._names, self._read = path, np.asarray(names), read
        self.shape = len(names), size, size, 3

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, rows) -> np.ndarray:
        names = self._names[rows]

        def one(name):
            return _decode(self._path, name, self._read, self.shape[1])

        if names.ndim == 0:
            found = one(names.item())
        else:
            with ThreadPoolExecutor() as threads:
                found = list(threads.map(one, names.tolist()))
        shape = *names.shape, *self.shape[1:]
        return np.asarray(found, np.float32).reshape(shape) / 255

    def only(self, rows: ArrayLike) -> "Images":
        """Some of them."""
        names = self._names[np.asarray(rows)]
        return Images(self._path, names, self._read, self.shape[1])


def image_folder(
    path: StrPath, *, most: int | None = None, size: int | None = None
) -> tuple[Split, list[str]]:
    """Labelled images from `CLASS/NAME.jpg`, in a folder or a `.zip` of one.

    Read is what Pillow reads, in any kind of colours and up to 16 bits, turned as its
    EXIF data says; transparent images lie on white, of animations the first frame
    counts. See `data.pictures` for all the rules.

    A folder around all classes is looked through. What is hidden (`.ipynb_checkpoints`,
    `__MACOSX`, `Thumbs.db` and their kin), files in class folders that are no images,
    and images in no class folder are passed over: a warning says how many.

    Args:
        path: the folder or zip.
        most: images of each class, the first by name; by default all.
        size: height and width of what is cut out of the middle, 7/8 of the shorter
            side. Such images are not read before they are asked for. By default all
            are read, as they are.

    Returns:
        Images `(n, height, width, 3)` in [0, 1], class after class, with labels: an
        array, or `Images` of that shape; and the names of the classes, in alphabetical
        order.

    Raises:
        ValueError: if there is none, one does not decode, or sizes differ; for an image
            of more than 45 million pixels, and, without a size, 89 million of all, if
            that is much more than their files have (SPARSEJAX_MAX_BYTES sets another
            limit, see `data.pictures`); for names that leave a zip, and links in it;
            for folders within class folders that have images, such as `train/CLASS/`
            beside `val/CLASS/`, and class folders without. With a size, images that do
            not decode raise it when they are read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "dog"):
        ...         Path(folder, name).mkdir()
        ...         Image.new("RGB", (3, 2), "white").save(Path(folder, name, "0.png"))
        ...     split, names = image_folder(folder)
        >>> split.x.shape, split.y.tolist(), names
        ((2, 2, 3, 3), [0, 1], ['cat', 'dog'])
    """
    path = Path(path)
    if size is not None and size < 1:
        raise ValueError(f"size must be positive, got {size}")
    if most is not None and most < 1:
        raise ValueError(f"most must be positive, got {most}")
    with _untrusted.reading(path):
        by_class, read, left = classes(path)
    if left:
        warnings.warn(f"{path}: passed over: {left}", stacklevel=2)
    chosen = [some[:most] for some in by_class.values()]
    names = sum(chosen, [])
    y = np.repeat(np.arange(len(chosen), dtype=np.int32), [*map(len, chosen)])
    if size is not None:
        lazy: Any = Images(path, names, read, size)
        return Split(lazy, y), list(by_class)
    return Split(_all(path, names, read), y), list(by_class)


def _all(path: Path, names: list[str], read: Callable[[str], bytes]) -> np.ndarray:
    first = _decode(path, names[0], read)
    _check_whole(path, names, first.shape)
    images = np.empty((len(names), *first.shape), np.float32)
    for i, name in enumerate(names):
        image = _decode(path, name, read) if i else first
        if image.shape != first.shape:
            raise ValueError(
                f"{path}: {name} is {image.shape[0]}x{image.shape[1]} pixels, others "
                f"{first.shape[0]}x{first.shape[1]}; give a size to cut out"
            )
        images[i] = image
    images /= 255
    return images


def _check_whole(path: Path, names: list[str], shape: tuple[int, ...]) -> None:
    """Refuse images that unfold too far together."""
    unfolded = len(names) * math.prod(shape)
    if unfolded > _untrusted.most(0):
        files = [path / name for name in names] if path.is_dir() else [path]
        folded = sum(file.stat().st_size for file in files)
        with _untrusted.reading(path):
            # JPEGs have up to 60 times as many colours as bytes.
            _untrusted.check_size(unfolded, 4 * folded, f"its {len(names)} images")


def _decode(
    path: Path, name: str, read: Callable[[str], bytes], size: int = 0
) -> np.ndarray:
    """Numbers from 0 to 255."""
    try:
        image = picture(read(name), 2 * size)
        return pixels(_middle(image, size) if size else image)
    except Exception as error:  # decoders raise what they like
        what = f"{path}: {name} does not decode: {error or type(error).__name__}"
        raise ValueError(_untrusted.one_line(what)) from None


def _middle(image: Image.Image, size: int) -> Image.Image:
    """A square of 7/8 of the shorter side, resized."""
    side = min(image.size) * 7 / 8
    across, down = ((whole - side) / 2 for whole in image.size)
    box = across, down, across + side, down + side
    return image.resize((size, size), Image.Resampling.BILINEAR, box)
