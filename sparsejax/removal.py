"""Statistics of what node removal does to a network: how losses and gradients spread.

Everything takes either a sample of masks or all of them with their probabilities
(`hypercube.weights`) as `weights`, so that "1,000 masks drawn" and "all 2^n exactly"
go through the same formulas. Statistics are NumPy's, in float64; standard deviations
are of the population (divided by the total weight, as `np.std`).

The questions and the figures are those of Hobson, "Neural Networks, More than you
wanted to Show", section 1.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.special import ndtr


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


class HeatMaps(NamedTuple):
    """The loss at every point of a square, and its gradient to the mask.

    Attributes:
        loss: shape (size, size).
        gradients: shape (n, size, size).
    """

    loss: Float[np.ndarray, "rows columns"]
    gradients: Float[np.ndarray, "nodes rows columns"]


class Flips(NamedTuple):
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


def density(
    values: ArrayLike,
    width: float | int,
    at: ArrayLike,
    weights: ArrayLike | None = None,
) -> Float[np.ndarray, " places"]:
    """Kernel density: a Gaussian of a given width in place of every value.

    Values are shared out between the two nearest points of a grid of width / 50, so the
    time hardly depends on the number of places; the error is below 1e-4 of the peak.

    Args:
        values: shape (m,), or (m, n) for all of them together.
        width: standard deviation of the Gaussian.
        at: where to evaluate, shape (k,).
        weights: of the m rows; by default all the same. They need not add up to 1.

    Returns:
        Shape (k,); it integrates to 1.

    Example:
        >>> density(np.zeros(5), 0.5, np.zeros(1)).round(3).tolist()
        [0.798]
    """
    values = _finite("values", values, (1, 2))
    places = _finite("at", at, (1,)).astype(np.float64)
    chance = _chances(weights, len(values)) / math.prod(values.shape[1:])
    if not 0 < width < math.inf:
        raise ValueError(f"width must be a positive number, got {width}")
    step, reach = width / _CELLS, _REACH * _CELLS
    low = places.min() - _REACH * width
    span = (places.max() - low) / step + reach
    if span > _MOST_CELLS:
        raise ValueError(
            f"at spans {np.ptp(places):g}, that is {np.ptp(places) / width:.3g} widths "
            f"of {width:g}; evaluate fewer than {_MOST_CELLS // _CELLS:,} widths at a "
            "time"
        )
    mass = _binned(values, chance, low, step, math.ceil(span) + 2)
    near, result = np.arange(-reach, reach + 1), np.empty(len(places))
    for start in range(0, len(places), 1024):
        position = (places[start : start + 1024] - low) / step
        cells = np.rint(position).astype(np.int64)[:, None] + near
        kernel = np.exp(-0.5 * ((position[:, None] - cells) / _CELLS) ** 2)
        result[start : start + 1024] = (mass[cells] * kernel).sum(axis=1)
    return result / (width * math.sqrt(2 * math.pi))


def moments(values: ArrayLike, weights: ArrayLike | None = None) -> Moments:
    """Mean and standard deviation of all values together.

    Args:
        values: shape (m,), or (m, n) for all of them together.
        weights: of the m rows.
    """
    values = _finite("values", values, (1, 2))
    return _pooled(*_columns(values, _chances(weights, len(values))))


def fit_log_normal(values: ArrayLike, weights: ArrayLike | None = None) -> LogNormal:
    """The normal distribution with the mean and deviation of the logarithms.

    Args:
        values: positive, shape (m,).
        weights: of the values.

    Returns:
        `LogNormal`; the distance is exact with ties and weights.
    """
    values = _positive("values", values)
    chance = _chances(weights, len(values))
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
    """
    losses = _positive("losses", losses)
    return _rows(gradients, len(losses)) / losses[:, None]


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
    """
    masks = _finite("masks", masks, (2,))
    gradients = _rows(gradients, len(masks))
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
    chance = _chances(weights, len(masks))
    on_weight, on_nodes = _columns(gradients, chance, on)
    off_weight, off_nodes = _columns(gradients, chance, ~on)
    return States(
        _pooled(on_weight, on_nodes),
        _pooled(off_weight, off_nodes),
        on_nodes,
        off_nodes,
    )


def heat_maps(
    loss: Callable[[Array, Array], Array],
    mask: ArrayLike,
    *,
    extent: float | int = 1.0,
    size: int = 101,
) -> HeatMaps:
    """The loss and its gradient to every node, at every point of the input square.

    Args:
        loss: `loss(mask, point) -> number`, with the mask (n,) and the point (2,).
        mask: may be fractional.
        extent: the square is [-extent, extent]^2, edges included.
        size: points a side, two at least.

    Returns:
        `HeatMaps`, as images: the first coordinate grows to the right, the second
        upwards, so row 0 is at its largest.
    """
    mask = jnp.asarray(mask)
    if not jnp.issubdtype(mask.dtype, jnp.inexact):
        mask = mask.astype(jnp.float32)
    if mask.ndim != 1 or not mask.size:
        raise ValueError(f"mask must be a vector over nodes, got shape {mask.shape}")
    if not 0 < extent < math.inf or size < 2:
        raise ValueError(f"no square of {size}x{size} points to {extent}")
    side = np.linspace(-extent, extent, size)
    points = np.stack(np.meshgrid(side, side[::-1]), axis=-1)
    points = jnp.asarray(points, mask.dtype)
    shape = jax.eval_shape(loss, mask, points[0, 0])
    if getattr(shape, "shape", None) != () or shape.dtype.kind not in "fV":
        raise ValueError(
            "loss(mask, point) of one point must return a floating-point number, got "
            f"{shape}"
        )
    both = jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0))
    maps = jax.jit(lambda mask: jax.lax.map(lambda row: both(mask, row), points))
    losses, gradients = jax.device_get(maps(mask))
    bad = np.argwhere(~(np.isfinite(losses) & np.isfinite(gradients).all(axis=-1)))
    if len(bad):
        raise ValueError(
            f"the loss or its gradient is not finite at {len(bad)} of {size * size} "
            f"points; the first is {points[tuple(bad[0])].tolist()}"
        )
    return HeatMaps(losses, np.moveaxis(gradients, -1, 0))


def flips(values: ArrayLike) -> Flips:
    """Covariances along paths that flip every node once, estimated from many paths.

    Args:
        values: at the n + 1 masks of each path of `masks.flip_path`, shape
            (paths, n + 1).

    Returns:
        `Flips`, unbiased (divided by paths - 1); correlations are NaN where a value
        does not vary. `hypercube.path_covariance` is what they estimate.
    """
    values = _finite("values", values, (2,)).astype(np.float64)
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
    return Flips(covariance, covariance[0], covariance[-1, ::-1], covariance[0] / scale)


_CELLS = 50  # of the grid, for one width
_REACH = 8  # widths, where a Gaussian is 1e-14 of its peak
_MOST_CELLS = 1 << 26
_ROWS = 1 << 16  # values worked on at a time


def _binned(values, chance, low: float, step: float, cells: int) -> np.ndarray:
    """The weight at every point of a grid, each value shared by its two neighbours."""
    mass = np.zeros(cells)
    rows = max(_ROWS // math.prod(values.shape[1:]), 1)
    high = low + (cells - 2) * step
    for start in range(0, len(values), rows):
        part = values[start : start + rows].astype(np.float64).T  # rows come last
        part, weight = np.broadcast_arrays(part, chance[start : start + rows])
        inside = (part >= low) & (part <= high)
        position, weight = (part[inside] - low) / step, weight[inside]
        cell = position.astype(np.int64)
        upper = weight * (position - cell)
        mass += np.bincount(cell, weight - upper, cells)
        mass[1:] += np.bincount(cell, upper, cells)[:-1]
    return mass


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


def _finite(name: str, array: ArrayLike, axes: tuple[int, ...]) -> np.ndarray:
    found = np.asarray(array)
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


def _positive(name: str, array: ArrayLike) -> np.ndarray:
    found = _finite(name, array, (1,)).astype(np.float64)
    bad = np.flatnonzero(found <= 0)
    if len(bad):
        raise ValueError(
            f"{len(bad)} of {len(found)} {name} are not positive and have no log; the "
            f"first is {name}[{bad[0]}] = {found[bad[0]]}"
        )
    return found


def _rows(gradients: ArrayLike, count: int) -> np.ndarray:
    found = _finite("gradients", gradients, (2,))
    if len(found) != count:
        raise ValueError(f"gradients of {len(found)} masks, expected those of {count}")
    return found


def _chances(weights: ArrayLike | None, count: int) -> Float[np.ndarray, " rows"]:
    """Weights that add up to 1."""
    if weights is None:
        return np.full(count, 1 / count)
    found = _finite("weights", weights, (1,)).astype(np.float64)
    if len(found) != count:
        raise ValueError(f"there are {len(found)} weights for {count} rows of values")
    if found.min() < 0 or found.sum() == 0:
        raise ValueError(
            "weights must be at least 0 and not all 0; the smallest is "
            f"{found.min()}, their sum {found.sum()}"
        )
    return found / found.sum()
