"""Labelled images, and the table that says what the labels' numbers mean."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32

from sparsejax import checks


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


def check_table(labels: Labels) -> Int[np.ndarray, " labels"]:
    """The category of every label, if the table is one."""
    category, kinds = np.asarray(labels.category), len(labels.categories)
    if category.shape != (len(labels.names),) or len(category) < 2:
        raise ValueError(
            f"the table has {len(labels.names)} names and categories of shape "
            f"{category.shape}; expected one for each, label 0 and at least one more"
        )
    if category.dtype.kind not in "iu":
        raise ValueError(
            f"categories of labels are {category.dtype}; expected whole numbers, -1 "
            f"for label 0, else 0 to {kinds - 1}"
        )
    wrong = np.flatnonzero((category[1:] < 0) | (category[1:] >= kinds)) + 1
    if len(wrong):
        i = wrong[0]
        raise ValueError(
            f"label {i} ({labels.names[i]!r}) has category {category[i]}; expected 0 "
            f"to {kinds - 1}, for {', '.join(labels.categories)}"
        )
    return category


def check_numbers(numbers: Any, count: int, name: str) -> None:
    """A check that these are numbers of labels of a table of `count`, with 0."""
    numbers = np.asarray(numbers)
    if numbers.dtype.kind not in "iu" and numbers.size:
        raise ValueError(
            f"{name} is {numbers.dtype}; expected numbers of labels, whole ones from 0 "
            f"(none) to {count - 1}"
        )
    wrong = numbers[(numbers < 0) | (numbers >= count)]
    if len(wrong):
        raise ValueError(
            f"{name} has label {wrong[0]}, but the table goes from 0 (none) to "
            f"{count - 1}"
        )


def parts(batch: Any) -> tuple[Any, Any, Any]:
    """What a batch or chunk has: something of each example, and two kinds of labels."""
    if not isinstance(batch, tuple | list) or len(batch) != 3:
        raise ValueError(
            "a batch must be (examples, label maps, labels of whole images), got "
            f"{checks.described(batch)}"
        )
    return (*batch,)
