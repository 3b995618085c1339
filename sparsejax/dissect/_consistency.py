"""Do the same units stand for the same concepts in two networks?"""

from collections import Counter
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sparsejax.dissect._table import Table


class Consistency(NamedTuple):
    """From a dense to a pruned network; shares, NaN where they are of nothing.

    Attributes:
        still_detector: share of the dense network's detectors that are detectors in the
            pruned.
        same_label: share of these with the same label.
        still_detector_by_chance: mean of `still_detector` if the pruned network's
            detectors are any units.
        same_label_by_chance: mean of `same_label` if both draw labels as often as all
            their detectors have them.
        jaccard: of the units that are detectors in either, those that are in both.
        survival: of the dense network's concepts, those that the pruned has anywhere.
        dense: detectors in the dense network.
        pruned: detectors in the pruned network.
    """

    still_detector: float
    same_label: float
    still_detector_by_chance: float
    same_label_by_chance: float
    jaccard: float
    survival: float
    dense: int
    pruned: int


def consistency(
    dense: Table, pruned: Table, *, threshold: float | int = 0.05, strict: bool = True
) -> Consistency:
    """Compare the labels of the same units in two networks.

    Args:
        dense: the labels before.
        pruned: the labels after, of as many units.
        threshold: of detectors, as in `Table.detectors`.
        strict: whether they have to be above it.

    Raises:
        ValueError: if the numbers of units differ.

    Example:
        >>> a = Table(("cat", "dog"), ("object",) * 2, np.array([0.1, 0.2]))
        >>> b = Table(("cat", "cat"), ("object",) * 2, np.array([0.1, 0.2]))
        >>> found = consistency(a, b)
        >>> found.still_detector, found.same_label, found.survival
        (1.0, 0.5, 0.5)
    """
    units = len(dense.score)
    if len(pruned.score) != units:
        raise ValueError(
            f"the tables have {units} and {len(pruned.score)} units; compare the same "
            "units, so for a network that lost some take tables of those it kept"
        )
    before = dense.detectors(threshold, strict)
    after = pruned.detectors(threshold, strict)

    def names(table):
        return list(zip(table.category, table.label))

    old, new = names(dense), names(pruned)
    both = np.flatnonzero(before & after)
    olds = Counter(old[k] for k in np.flatnonzero(before))
    news = Counter(new[k] for k in np.flatnonzero(after))
    pairs = sum(count * news[label] for label, count in olds.items())
    return Consistency(
        still_detector=_share(len(both), before.sum()),
        same_label=_share(sum(old[k] == new[k] for k in both), len(both)),
        still_detector_by_chance=_share(after.sum(), units) if before.any() else np.nan,
        same_label_by_chance=_share(pairs, before.sum() * after.sum()),
        jaccard=_share(len(both), (before | after).sum()),
        survival=_share(len(olds.keys() & news.keys()), len(olds)),
        dense=int(before.sum()),
        pruned=int(after.sum()),
    )


def drift(
    dense: Float[np.ndarray, "units labels"], pruned: Float[np.ndarray, "_ _"]
) -> Float[np.ndarray, " units"]:
    """By how much each unit's score changes, for the label it has in the dense network.

    Args:
        dense: scores of every label, as from `iou`.
        pruned: scores of the same units and labels.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> dense, pruned = np.array([[0.0, 0.5, 0.2]]), np.array([[0.0, 0.25, 0.9]])
        >>> drift(dense, pruned).tolist()  # of the first label, not of the new best
        [-0.25]
    """
    if dense.shape != pruned.shape:
        raise ValueError(f"scores have shapes {dense.shape} and {pruned.shape}")
    best = dense.argmax(1)[:, None]
    return np.take_along_axis(pruned - dense, best, 1)[:, 0]


def _share(part, whole) -> float:
    return float(part / whole) if whole else np.nan
