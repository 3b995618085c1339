"""Folders of images, one a class, as they are or in a zip: CIFAR-10, ImageNet's kin."""

import io
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sparsejax.data.idx import StrPath
from sparsejax.data.splits import Dataset, Split

_SUFFIXES = (".jpg", ".jpeg", ".png")
VARIABLE = "SPARSEJAX_DATA_DIR"


def image_folder(path: StrPath, *, most: int | None = None) -> tuple[Split, list[str]]:
    """Labelled images from `CLASS/NAME.jpg`, in a folder or a `.zip` of one.

    Args:
        path: the folder or zip.
        most: images of each class, the first by name; by default all.

    Returns:
        Images `(n, height, width, 3)` in [0, 1], class after class, with labels; and
        the names of the classes, in alphabetical order.

    Raises:
        ValueError: if there is none, one does not decode, or sizes differ.
    """
    path = Path(path)
    if path.is_dir():
        names = [p.relative_to(path).as_posix() for p in path.rglob("*")]
        return _collect(path, names, lambda name: (path / name).read_bytes(), most)
    try:
        with zipfile.ZipFile(path) as archive:
            return _collect(path, archive.namelist(), archive.read, most)
    except (zipfile.BadZipFile, FileNotFoundError) as error:
        raise ValueError(
            f"{path} is no folder of images and no zip of one: {error}"
        ) from None


def cifar10(data_dir: StrPath | None = None, *, most: int | None = None) -> Dataset:
    """CIFAR-10 from `train.zip` and `test.zip`, as `image_folder` reads them.

    Args:
        data_dir: folder of the two files, or above their folder `cifar10`; by default
            the environment variable SPARSEJAX_DATA_DIR.
        most: training images of each class; by default all 5,000.
    """
    where = Path(data_dir or os.environ.get(VARIABLE, "."))
    where = where / "cifar10" if (where / "cifar10").is_dir() else where
    for name in ("train.zip", "test.zip"):
        if not (where / name).exists():
            raise ValueError(
                f"{where / name} is missing; give the folder of CIFAR-10's train.zip "
                f"and test.zip as data_dir, or in {VARIABLE}"
            )
    train, names = image_folder(where / "train.zip", most=most)
    test, others = image_folder(where / "test.zip")
    if names != others:
        raise ValueError(f"{where}: train.zip has classes {names}, test.zip {others}")
    return Dataset(train, test)


def _collect(
    path: Path, names: Iterable[str], read: Callable[[str], bytes], most: int | None
) -> tuple[Split, list[str]]:
    by_class: dict[str, list[str]] = {}
    for name in sorted(names):
        folder = name.rpartition("/")[0].rpartition("/")[2]
        if folder and name.lower().endswith(_SUFFIXES):
            by_class.setdefault(folder, []).append(name)
    if not by_class:
        raise ValueError(f"{path} has no images in folders: expected CLASS/NAME.jpg")
    chosen = [
        (i, n) for i, c in enumerate(sorted(by_class)) for n in by_class[c][:most]
    ]
    images = [_decode(path, name, read(name)) for _, name in chosen]
    for image, (_, name) in zip(images, chosen, strict=True):
        if image.shape != images[0].shape:
            raise ValueError(
                f"{path}: {name} is {image.shape[0]}x{image.shape[1]} pixels, others "
                f"{images[0].shape[0]}x{images[0].shape[1]}; make them one size"
            )
    x = np.stack(images).astype(np.float32) / 255
    y = np.asarray([label for label, _ in chosen], np.int32)
    return Split(x, y), sorted(by_class)


def _decode(path: Path, name: str, raw: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(raw)) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path}: {name} does not decode: {error}") from None
