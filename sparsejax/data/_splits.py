"""What every loader returns: `Split`, one labelled set, and `Dataset`, two of them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float32, Int32


class Split(NamedTuple):
    """Labelled examples; a tree of two arrays, of JAX (toys) or of NumPy (files).

    Attributes:
        x: inputs, float32 `(n, ...)`; of folders with a size, `Images` of that shape.
        y: labels, int32 `(n,)`, counted from 0.
    """

    x: Float32[Array | np.ndarray, "n ..."]
    y: Int32[Array | np.ndarray, " n"]


class Dataset(NamedTuple):
    """The two splits of a data set, disjoint and always the same."""

    train: Split
    test: Split
