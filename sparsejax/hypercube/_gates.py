"""Which nodes of a circuit work as logic gates.

Reference: Chen, Zhu, Yang and Wang, "Rethinking circuit completeness in language
models: AND, OR, and ADDER gates", 2025 (arXiv:2505.10039).
"""

from typing import NamedTuple, SupportsIndex

import numpy as np
from jaxtyping import ArrayLike, Float

from sparsejax.hypercube._metrics import of_subset


class Gates(NamedTuple):
    """What pairs of nodes do together, with the others removed and with them kept.

    With u = -v, d_i the gain of node i in a context and d_ij that of both, an index is
    (d_ij - d_i - d_j) / max(|d_i|, |d_j|, |d_ij|): 1 for an AND (neither alone does
    anything), -1 for an OR (either does all), 0 for sums, and where nothing changes.
    It is within [-1, 1] where no node does harm.

    Attributes:
        off: indices with all other nodes removed, shape (n, n), symmetric.
        on: indices with all other nodes kept.
        gain_off: d_ij with all other nodes removed.
        gain_on: d_ij with all other nodes kept.
    """

    off: Float[np.ndarray, "n n"]
    on: Float[np.ndarray, "n n"]
    gain_off: Float[np.ndarray, "n n"]
    gain_on: Float[np.ndarray, "n n"]


def gates(values: ArrayLike, subset: SupportsIndex | None = None) -> Gates:
    """Which pairs of nodes are an AND, an OR or a sum.

    Both contexts are needed: with all others removed (as where a circuit is built up)
    ANDs with a third node look dead, with all others kept (as where one node is
    removed) ORs do. `moebius(-values)` has the terms of all sets, not of pairs alone.

    Args:
        values: of all subsets, shape (2^n,).
        subset: number of a circuit whose nodes are looked at, all others being removed
            always; by default all nodes.

    Raises:
        ValueError: if there is no such subset.

    Example:
        >>> both, either = np.array([1.0, 1, 1, 0]), np.array([1.0, 0, 0, 0])
        >>> gates(both).off[0, 1].item(), gates(either).on[0, 1].item()
        (1.0, -1.0)
    """
    whole = (1 << (np.size(values).bit_length() - 1)) - 1
    table, n, subset = of_subset(values, whole if subset is None else subset)
    first, second = 1 << np.indices((n, n))
    pairs = first | second
    inside = (pairs & subset == pairs) & (first != second)

    def index(context):
        base = table[context]
        one, other, both = (base - table[context | m] for m in (first, second, pairs))
        most = np.max(np.abs([one, other, both]), axis=0)
        together = np.where(inside, both - (one + other), 0)
        return together / np.where(most > 0, most, 1), np.where(inside, both, 0)

    (off, gain_off), (on, gain_on) = index(0 * pairs), index(subset & ~pairs)
    return Gates(off, on, gain_off, gain_on)
