"""How well a planted circuit was recovered."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike


class Recovery(NamedTuple):
    """A set against the nearest of the true ones.

    Attributes:
        precision: part of the set that is true; 1 for an empty one.
        recall: part of the true set that was found.
        exact: whether they are equal.
        nearest: the true set.
    """

    precision: float
    recall: float
    exact: bool
    nearest: frozenset[Any]


def recovery(which: Iterable[Any], circuits: Iterable[Iterable[Any]]) -> Recovery:
    """How much of a circuit was found, and how much else.

    Args:
        which: nodes or edges of the set.
        circuits: all true sets; the one with the largest overlap (Jaccard) counts.

    Raises:
        ValueError: without a true set.

    Example:
        >>> recovery({0, 2, 5}, [{0, 2}, {1, 2}]).precision
        0.6666666666666666
    """
    own, true = frozenset(which), [frozenset(circuit) for circuit in circuits]
    if not true:
        raise ValueError("circuits has no sets to compare with")
    nearest = max(true, key=lambda c: len(own & c) / max(len(own | c), 1))
    shared = len(own & nearest)
    return Recovery(
        shared / len(own) if own else 1.0,
        shared / len(nearest) if nearest else 1.0,
        own == nearest,
        nearest,
    )


def auroc(scores: ArrayLike, truth: ArrayLike) -> float:
    """The chance that a true node has a higher score than another; ties count half.

    Args:
        scores: of every node, shape (n,).
        truth: whether each belongs to the circuit, bool of shape (n,).

    Raises:
        ValueError: if all nodes, or none, are true.

    Example:
        >>> auroc(np.array([0.1, 0.4, 0.4]), np.array([False, False, True]))
        0.75
    """
    values, true = np.asarray(scores, np.float64), np.asarray(truth)
    if values.shape != true.shape or true.dtype.kind != "b":
        raise ValueError(
            f"scores have shape {values.shape}, truth is {true.dtype} of shape "
            f"{true.shape}; expected a bool for every score"
        )
    if np.isnan(values).any():
        raise ValueError(f"{np.isnan(values).sum()} of {len(values)} scores are NaN")
    if true.all() or not true.any():
        raise ValueError("truth must have nodes of both kinds, of the circuit and not")
    inside, outside = values[true][:, None], values[~true]
    return float(((inside > outside) + 0.5 * (inside == outside)).mean())
