"""Labeled images, and the table that says what the labels' numbers mean."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32


@dataclasses.dataclass(frozen=True)
class Labels:
    """A table of labels. Number 0 means unlabelled: its name is "", its category -1.

    Attributes:
        names: of the labels, shape (labels + 1,).
        categories: their names.
        category: of each label, its position in `categories`, shape (labels + 1,).
    """

    names: tuple[str, ...]
    categories: tuple[str, ...]
    category: np.ndarray


class Labeled(NamedTuple):
    """Images and the numbers of their labels; NumPy arrays.

    Attributes:
        images: float32 in [0, 1], shape (n, height, width, 3).
        pixels: label maps, shape (n, layers, rows, columns). Layers may overlap: a
            pixel has all labels that any layer gives it.
        whole: labels of whole images, shape (n, any), padded with 0.
    """

    images: Float32[np.ndarray, "n height width 3"]
    pixels: Int32[np.ndarray, "n layers rows columns"]
    whole: Int32[np.ndarray, "n any"]
