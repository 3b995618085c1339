"""The handwritten digits that come with scikit-learn: real images, nothing to fetch."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from sparsejax.data._splits import Dataset, Split


def digits() -> Dataset:
    """1,797 handwritten digits of 8x8 pixels: 1,437 to train on and 360 to test.

    The split belongs to the data set and needs no key: sort the images by label,
    keeping the stored order within a label, and test on every fifth, from the first.
    Each label thus has its share in both, to within one image, and both keep the stored
    order. The same people wrote the digits of both: testing asks for new digits, not
    for new hands.

    Returns:
        NumPy arrays: `x` of shape `(n, 8, 8, 1)`, ink from 0 to 1 in steps of 1/16, and
        `y` of shape `(n,)`, the digit.

    Example:
        >>> train, test = digits()
        >>> train.x.shape, test.x.shape
        ((1437, 8, 8, 1), (360, 8, 8, 1))

    Reference:
        Ethem Alpaydin and Cenk Kaynak, Optical recognition of handwritten digits, UCI
        Machine Learning Repository, 1998 (its test set).
    """
    pixels, labels = _stored()
    x = (np.reshape(pixels, (-1, 8, 8, 1)) / 16).astype(np.float32)
    y = np.asarray(labels, np.int32)
    is_test = np.zeros(len(y), bool)
    is_test[np.argsort(y, kind="stable")[::5]] = True
    return Dataset(Split(x[~is_test], y[~is_test]), Split(x[is_test], y[is_test]))


def _stored() -> tuple[np.ndarray, np.ndarray]:
    """Pixels from 0 to 16, and labels."""
    found = importlib.util.find_spec("sklearn")
    path = Path(found.origin or "" if found else "")
    path = path.with_name("datasets") / "data" / "digits.csv.gz"
    if not path.is_file():  # of a scikit-learn that keeps it elsewhere
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        return np.asarray(pixels), np.asarray(labels)
    # The package takes more than a second to import, its file a tenth of that.
    with gzip.open(path, "rb") as file:
        table = np.fromstring(file.read().replace(b"\n", b","), sep=",")
    table = table.reshape(-1, 65)
    return table[:, :-1], table[:, -1]
