"""Moments, fits and covariances of losses and gradients, sampled or exact."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.special import ndtr

from sparsejax.removal._checks import chances, finite, positive, rows


class Moments(NamedTuple):
    """Mean and standard deviation; NaN where nothing has any weight."""

    mean: Float[np.ndarray, "..."]
    sd: Float[np.ndarray, "..."]


class LogNormal(NamedTuple):
    """The normal distribution fitted to logarithms, and how well it fits.

    Attributes:
        mean, sd: of the logarithms.
        skew, kurtosis: of the logarithms; 0 for the fit (kurtosis is the excess). NaN
            if all values are equal.
        distance: Kolmogorov-Smirnov, the largest difference between the distribution
            functions; 0 if all values are equal.
    """

    mean: float
    sd: float
    skew: float
    kurtosis: float
    distance: float


class States(NamedTuple):
    """Gradients with respect to nodes that are on, and to nodes that are off.

    Attributes:
        on, off: over all nodes.
        on_nodes, off_nodes: of every node, shape (n,).
    """

    on: Moments
    off: Moments
    on_nodes: Moments
    off_nodes: Moments


class PathStatistics(NamedTuple):
    """How a value changes along paths that flip every node once.

    Attributes:
        covariance: of the values after s and after t flips, shape (n + 1, n + 1).
        from_start: covariance of the start and the value k flips later.
        from_end: covariance of the end and the value k flips earlier.
        correlation: of the start and the value k flips later.
    """

    covariance: Float[np.ndarray, "steps steps"]
    from_start: Float[np.ndarray, " steps"]
    from_end: Float[np.ndarray, " steps"]
    correlation: Float[np.ndarray, " steps"]


def moments(values: ArrayLike, weights: ArrayLike | None = None) -> Moments:
    """Mean and standard deviation of all values together.

    Args:
        values: shape (m,), or (m, n) for all of them together.
        weights: of the m rows.

    Example:
        >>> weighted = moments(np.array([0.0, 4.0]), weights=np.array([3.0, 1.0]))
        >>> weighted.mean.item(), round(weighted.sd.item() ** 2, 3)
        (1.0, 3.0)
    """
    values = finite("values", values, (1, 2))
    return _pooled(*_columns(values, chances(weights, len(values))))


def fit_log_normal(values: ArrayLike, weights: ArrayLike | None = None) -> LogNormal:
    """The normal distribution with the mean and deviation of the logarithms.

    Args:
        values: positive, shape (m,).
        weights: of the values.

    Returns:
        `LogNormal`; the distance is exact with ties and weights.

    Example:
        >>> fit = fit_log_normal(np.exp(np.array([0.0, 1.0, 2.0, 3.0])))
        >>> round(fit.mean, 3), round(fit.sd**2, 3)
        (1.5, 1.25)
    """
    values = positive("values", values)
    chance = chances(weights, len(values))
    logs, chance = np.log(values[chance > 0]), chance[chance > 0]
    if logs.min() == logs.max():
        return LogNormal(float(logs[0]), 0.0, math.nan, math.nan, 0.0)
    mean = chance @ logs
    sd = math.sqrt(chance @ (logs - mean) ** 2)
    z = (logs - mean) / sd
    order = np.argsort(z)
    fitted, rising = ndtr(z[order]), np.cumsum(chance[order])
    # Within a tie `rising` only takes values between those before and after it, which
    # are no further from the fit.
    above = np.abs(rising - fitted).max()
    below = np.abs(rising - chance[order] - fitted).max()
    return LogNormal(
        float(mean),
        sd,
        float(chance @ z**3),
        float(chance @ z**4) - 3.0,
        float(max(above, below)),
    )


def log_gradients(
    losses: ArrayLike, gradients: ArrayLike
) -> Float[np.ndarray, "masks nodes"]:
    """Gradients of the log of the loss: gradients / losses.

    Args:
        losses: positive, shape (m,).
        gradients: of the loss, shape (m, n).

    Example:
        >>> gradients = np.array([[1.0, -2.0], [1.0, 2.0]])
        >>> log_gradients(np.array([2.0, 4.0]), gradients).tolist()
        [[0.5, -1.0], [0.25, 0.5]]
    """
    losses = positive("losses", losses)
    return rows(gradients, len(losses)) / losses[:, None]


def by_state(
    gradients: ArrayLike, masks: ArrayLike, weights: ArrayLike | None = None
) -> States:
    """Moments of gradients apart for nodes that are on and nodes that are off.

    Args:
        gradients: with respect to the mask, shape (m, n).
        masks: 0 or 1, shape (m, n).
        weights: of the m masks.

    Returns:
        `States`; NaN for a node that is never on, or never off.

    Example:
        >>> gradients = np.array([[-1.0, 4.0], [-3.0, 6.0]])
        >>> states = by_state(gradients, np.array([[1.0, 0.0], [1.0, 1.0]]))
        >>> states.on_nodes.mean.tolist(), states.off_nodes.mean.tolist()
        ([-2.0, 6.0], [nan, 4.0])
    """
    masks = finite("masks", masks, (2,))
    gradients = rows(gradients, len(masks))
    if gradients.shape != masks.shape:
        raise ValueError(
            f"gradients {gradients.shape} and masks {masks.shape} must have the same "
            "shape, (m, n)"
        )
    on = masks == 1
    between = np.argwhere(~(on | (masks == 0)))
    if len(between):
        row, node = between[0].tolist()
        raise ValueError(
            f"{len(between)} entries of the masks are neither 0 nor 1; the first is "
            f"masks[{row}, {node}] = {masks[row, node]}. Such a node is neither on nor "
            "off: leave those masks out"
        )
    chance = chances(weights, len(masks))
    on_weight, on_nodes = _columns(gradients, chance, on)
    off_weight, off_nodes = _columns(gradients, chance, ~on)
    return States(
        _pooled(on_weight, on_nodes),
        _pooled(off_weight, off_nodes),
        on_nodes,
        off_nodes,
    )


def path_statistics(values: ArrayLike) -> PathStatistics:
    """Covariances along paths that flip every node once, estimated from many paths.

    Args:
        values: at the n + 1 masks of each path of `masks.flip_path`, shape
            (paths, n + 1).

    Returns:
        `PathStatistics`, unbiased (divided by paths - 1); correlations are NaN where a
        value does not vary. `hypercube.path_covariance` is what they estimate.

    Example:
        >>> values = np.array([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]])  # of two paths
        >>> path_statistics(values).from_start.tolist()
        [2.0, 0.0, -2.0]
    """
    values = finite("values", values, (2,)).astype(np.float64)
    if values.shape[0] < 2 or values.shape[1] < 2:
        raise ValueError(
            "values have shape (paths, n + 1), of at least two paths over at least one "
            f"node; got {values.shape}"
        )
    covariance = np.cov(values, rowvar=False)
    constant = np.ptp(values, axis=0) == 0
    covariance[constant] = covariance[:, constant] = 0
    spread = np.sqrt(np.diag(covariance))
    scale = np.where(spread * spread[0] > 0, spread * spread[0], np.nan)
    return PathStatistics(
        covariance, covariance[0], covariance[-1, ::-1], covariance[0] / scale
    )


def _columns(values, chance, chosen=None) -> tuple[np.ndarray, Moments]:
    """The weight and the moments of every column, or of what is chosen in it."""
    columns = values.reshape(len(values), -1).T
    weights = np.zeros(len(columns))
    found = Moments(np.full(len(columns), np.nan), np.full(len(columns), np.nan))
    for i, column in enumerate(columns):
        weight = chance if chosen is None else chance * chosen[:, i]
        weights[i] = weight.sum()
        if weights[i] > 0:
            column = column.astype(np.float64)
            found.mean[i] = mean = weight @ column / weights[i]
            found.sd[i] = math.sqrt(weight @ (column - mean) ** 2 / weights[i])
    return weights, found


def _pooled(weights: np.ndarray, columns: Moments) -> Moments:
    """Moments of all columns together, from their own."""
    some = weights > 0
    if not some.any():
        return Moments(np.array(np.nan), np.array(np.nan))
    share = weights[some] / weights.sum()
    mean = share @ columns.mean[some]
    apart = (columns.mean[some] - mean) ** 2
    sd = np.sqrt(share @ (columns.sd[some] ** 2 + apart))
    return Moments(np.array(mean), np.array(sd))
