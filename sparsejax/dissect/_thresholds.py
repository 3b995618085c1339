"""What a unit has to exceed for its most active share of places."""

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from jaxtyping import Array, ArrayLike, Float


def thresholds(
    chunks: np.ndarray | Array | Iterable[Float[ArrayLike, "..."]],
    quantile: float | int,
    *,
    total: int | None = None,
) -> Float[np.ndarray, " units"]:
    """For every unit the value that a share of all its values exceeds.

    Exact: of n values floor(quantile * n) are above the threshold, fewer where there
    are ties. The threshold is itself one of the values, the largest of the others.

    Chunks are read once, and what is held is at most 2 * (quantile * n + 1) values of
    every unit and one chunk: for 2048 units, 63,000 images of 7 x 7 places and a
    quantile of 0.005, 250 MB.

    Args:
        chunks: activations of shape (*any, units), one after the other, or one array.
        quantile: the share, between 0 and 1.
        total: values of a unit in all chunks; by default those of one array.

    Raises:
        ValueError: for a quantile out of range or for which there are too few values,
            another number of values than `total`, and values that are not finite.

    Example:
        >>> thresholds(np.arange(100.0)[:, None], 0.05).tolist()
        [94.0]

    Reference: Bau et al., "Network Dissection: Quantifying Interpretability of Deep
    Visual Representations", 2017 (arXiv 1704.05796), section 2.3: the threshold T_k.
    """
    if isinstance(chunks, np.ndarray | Array):
        total = math.prod(chunks.shape[:-1])
        chunks = [chunks]
    if total is None:
        raise ValueError("total is missing: how many values every unit has in all")
    keep = passing(quantile, total) + 1
    held: list[np.ndarray] = []
    seen = 0
    for chunk in chunks:
        values = np.asarray(chunk)
        values = values.reshape(-1, values.shape[-1])
        check_finite(values)
        held.append(values.T)
        seen += len(values)
        if sum(part.shape[1] for part in held) >= 2 * keep:
            held = [_largest(held, keep)]
    if seen != total:
        raise ValueError(f"chunks have {seen} values of a unit, but total is {total}")
    return _largest(held, keep).min(1)


def passing(quantile: float | int, total: int) -> int:
    """How many of `total` values exceed the threshold."""
    check_quantile(quantile)
    share = Fraction(str(quantile))  # 0.29 of 100 are 29
    if share * total < 1:
        raise ValueError(
            f"quantile {quantile} of {total} values is less than one value; take at "
            f"least {math.ceil(1 / share)} or a larger quantile"
        )
    return math.floor(share * total)


def check_quantile(quantile: float | int) -> None:
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must be between 0 and 1, got {quantile}")


def check_finite(values: np.ndarray) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        units = np.flatnonzero(~finite.reshape(-1, values.shape[-1]).all(0))
        raise ValueError(
            f"activations of {len(units)} units are not finite, unit {units[0]} first; "
            "look for NaNs in the parameters and in the images"
        )


def _largest(parts: list[np.ndarray], count: int) -> np.ndarray:
    """The `count` largest of each row of all parts, in no order."""
    values = np.concatenate(parts, axis=1)
    return np.partition(values, -count, axis=1)[:, -count:]
