"""The labels of a data set: their names and the categories they belong to."""

import dataclasses

import numpy as np


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
