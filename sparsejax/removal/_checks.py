"""What is asked of values, gradients and weights before anything is computed."""

from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from sparsejax import checks


def finite(name: str, array: ArrayLike | Any, axes: tuple[int, ...]) -> np.ndarray:
    """An array of as many axes, filled with finite numbers."""
    found = np.asarray(array)
    if found.dtype.kind in "OSUMm":
        raise ValueError(f"{name} must be numbers, got {checks.described(array)}")
    if found.ndim not in axes or not found.size:
        wanted = " or ".join(map(str, axes))
        raise ValueError(
            f"{name} must be a filled array of {wanted} axes, got shape {found.shape}"
        )
    bad = ~np.isfinite(found)
    if bad.any():
        first = np.unravel_index(int(bad.argmax()), bad.shape)
        index = ", ".join(map(str, first))
        raise ValueError(
            f"{int(bad.sum())} of {bad.size} {name} are not finite; the first is "
            f"{name}[{index}] = {found[first]}"
        )
    return found


def positive(name: str, array: ArrayLike) -> np.ndarray:
    """A vector of numbers that have a logarithm, in float64."""
    found = finite(name, array, (1,)).astype(np.float64)
    bad = np.flatnonzero(found <= 0)
    if len(bad):
        raise ValueError(
            f"{len(bad)} of {len(found)} {name} are not positive and have no log; the "
            f"first is {name}[{bad[0]}] = {found[bad[0]]}"
        )
    return found


def rows(gradients: ArrayLike, count: int) -> np.ndarray:
    """Gradients of so many masks."""
    found = finite("gradients", gradients, (2,))
    if len(found) != count:
        raise ValueError(f"gradients of {len(found)} masks, expected those of {count}")
    return found


def chances(weights: ArrayLike | None, count: int) -> Float[np.ndarray, " rows"]:
    """Weights that add up to 1."""
    if weights is None:
        return np.full(count, 1 / count)
    found = finite("weights", weights, (1,)).astype(np.float64)
    if len(found) != count:
        raise ValueError(f"there are {len(found)} weights for {count} rows of values")
    if found.min() < 0 or found.sum() == 0:
        raise ValueError(
            "weights must be at least 0 and not all 0; the smallest is "
            f"{found.min()}, their sum {found.sum()}"
        )
    return found / found.sum()
