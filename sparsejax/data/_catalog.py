"""Data sets by name, for flags: `load(name)` is `digits()`, `mnist(data_dir)`, ..."""

from sparsejax.data._digits import digits
from sparsejax.data._mnist import fashion_mnist, mnist
from sparsejax.data._sources import StrPath
from sparsejax.data._splits import Dataset

NAMES = ("digits", "mnist", "fashion_mnist")


def load(name: str, data_dir: StrPath | None = None) -> Dataset:
    """The data set of that name.

    Args:
        name: one of `NAMES`.
        data_dir: folder of the files, see `mnist`; `digits` has none and ignores it.

    Returns:
        Images `(n, height, width, 1)` in [0, 1] and labels `(n,)`, NumPy arrays.

    Raises:
        ValueError: for an unknown name, and where the loader raises one.

    Example:
        >>> load("digits").test.x.shape
        (360, 8, 8, 1)
    """
    if name not in NAMES:
        known = ", ".join(NAMES)
        raise ValueError(f"unknown data set {name!r}; expected one of {known}")
    if name == "digits":
        return digits()
    return mnist(data_dir) if name == "mnist" else fashion_mnist(data_dir)
