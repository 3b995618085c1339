"""All subsets of a masked last hidden layer, by factors instead of forward passes.

For logits z = (hidden * m) @ kernel + bias, every other class c of a point has a lead
over its label's, r_c = z_c - z_label, that is linear in the mask, and the cross entropy
of the point is log(1 + sum_c e^{r_c}). With the mask split in halves, e^{r_c} is a
product of two tables, and the sum over points of logarithms a logarithm of products:
per mask, point and class two multiplications and two additions, no exponential.

Products are kept less one, w = u - 1, so that small losses keep their digits:
(1 + w)(1 + e) - 1 = w + e (1 + w). They are taken over groups of points, so small that
none can overflow, or larger where hardly any does: the few masks of which one did are
computed again. Points where a factor could leave the range of the floats go through the
usual form instead, with an exponential each and their largest lead taken out.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from sparsejax.hypercube import _memory as memory
from sparsejax.hypercube._subsets import bits

_TABLE = 4e6  # bytes of the tables over one half, at most: they stay in the cache
_LOW = 6  # nodes of that half, at most
_CALL = 20  # nodes whose subsets one call evaluates, at most
_GROUPS = (4, 2, 1)  # points in one product: the first size that cannot overflow
_LARGE = 16  # points in one product, where of masks drawn at random none overflows
_DRAWN = 256  # those masks


class Readout(NamedTuple):
    """What a masked last layer makes of every subset of its nodes.

    Attributes:
        losses: mean cross entropy in nats, shape (2^n,).
        accuracies: the fraction of points whose label has the largest logit, the lowest
            class winning ties; shape (2^n,).
        gradients: of the loss with respect to the mask, shape (2^n, n), or None.
    """

    losses: Float[np.ndarray, " subsets"]
    accuracies: Float[np.ndarray, " subsets"]
    gradients: Float[np.ndarray, "subsets n"] | None


def evaluate_readout(
    hidden: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike,
    labels: ArrayLike,
    *,
    gradients: bool = False,
) -> Readout:
    """Loss, accuracy and gradient of logits (hidden * m) @ kernel + bias for every m.

    Of any finite input every entry is finite. A node with activations or weights that
    are NaN or infinite is selected away where it is removed; subsets that keep it, and
    gradients to it, are NaN. Classes of bias -inf never win and take no part. Losses
    agree with the softmax cross
    entropy to about 1e-6 of their size in float32. Logits within rounding of a tie may
    be told apart otherwise than by a forward pass; exact ties go to the lowest class,
    as with `argmax`. Differences below the smallest normal float count as ties.

    Args:
        hidden: activations of the last hidden layer, shape (points, n), n up to 30.
        kernel: of the layer that reads them, shape (n, classes), two classes or more.
        bias: shape (classes,).
        labels: integers in [0, classes), shape (points,).
        gradients: also return the gradients.

    Returns:
        A `Readout` of NumPy arrays, float64 if an input is and x64 is enabled, else
        float32, in the order of `masks.subsets`.

    Raises:
        ValueError: if shapes do not fit, labels are out of range, no node or a bias is
            not finite, or the results do not fit into memory.

    Example:
        >>> hidden, kernel = np.ones((1, 2), "f4"), np.array([[1, 0], [0, 1]], "f4")
        >>> found = evaluate_readout(hidden, kernel, np.zeros(2, "f4"), np.array([1]))
        >>> print(found.losses.round(3), found.accuracies)
        [0.693 1.313 0.313 0.693] [0. 0. 1. 0.]
    """
    hidden, kernel, bias, labels = _checked(hidden, kernel, bias, labels)
    (points, n), dtype = hidden.shape, hidden.dtype
    bytes_each = (2 + n * gradients) * dtype.itemsize
    less = "use fewer nodes, or sample: sweep.evaluate of random masks"
    if gradients:
        alone = 2 * dtype.itemsize * 2**n / 1e9
        less = f"leave gradients out ({alone:,.1f} GB), or {less}"
    memory.check(bytes_each << n, f"the results of all 2^{n} subsets", less)
    whole = _finite_nodes(hidden, kernel)
    if not whole.all():
        rest = hidden[:, whole], kernel[whole], bias, labels
        return _filled(evaluate_readout(*rest, gradients=gradients), whole)
    parts, groups = _split(_leads(hidden, kernel, bias, labels))
    others = kernel.shape[1] - 1
    low = int(math.log2(max(_TABLE / (points * others * dtype.itemsize), 1)))
    low = min(low, _LOW, n)
    rows = 1 << max(min(n, _CALL) - low, 0)
    shape = (1 << (n - low), 1 << low)
    losses, accuracies = np.empty(shape, dtype), np.empty(shape, dtype)
    grads = np.empty((*shape, n), dtype) if gradients else None
    for start in range(0, len(losses), rows):
        here = slice(start, start + rows)
        loss, wrong, grad = _call(
            groups, low, rows, gradients, 1 / points, parts, jnp.int32(start)
        )
        losses[here] = loss
        accuracies[here] = 1 - np.asarray(wrong) / points
        if grads is not None:
            grads[here] = grad
    losses = losses.reshape(-1)
    for subset in np.flatnonzero(~np.isfinite(losses)):
        mask = subset >> np.arange(n) & 1
        losses[subset] = sum(_losses(part, mask).sum() for part in parts) / points
    if grads is not None:
        grads = grads.reshape(-1, n)
    return Readout(losses, accuracies.reshape(-1), grads)


class _Points(NamedTuple):
    """Leads offsets + mask @ slopes of the other classes over the labels'.

    Attributes:
        slopes: shape (classes - 1, n, points).
        offsets: shape (classes - 1, points).
        ties: whether the class wins a tie, being lower; shape (classes - 1, points).
    """

    slopes: Any
    offsets: Any
    ties: Any


def _checked(hidden, kernel, bias, labels) -> tuple[np.ndarray, ...]:
    """The inputs as arrays of one dtype, if they fit."""
    hidden, kernel, bias, labels = map(np.asarray, (hidden, kernel, bias, labels))
    shapes = f"{hidden.shape}, {kernel.shape}, {bias.shape} and {labels.shape}"
    if hidden.ndim != 2 or not (
        kernel.shape == (hidden.shape[1], bias.size)
        and bias.shape == (bias.size,)
        and labels.shape == (hidden.shape[0],)
    ):
        raise ValueError(
            "hidden, kernel, bias and labels must have the shapes (points, n), "
            f"(n, classes), (classes,) and (points,); got {shapes}"
        )
    (points, n), classes = hidden.shape, len(bias)
    if points < 1 or not 1 <= n <= 30 or classes < 2:
        raise ValueError(
            f"got {points} points, {n} nodes and {classes} classes; expected at least "
            "one point, 1 to 30 nodes and at least two classes"
        )
    if labels.dtype.kind not in "iu" or not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels must be integers in [0, {classes}); got {labels.dtype} from "
            f"{labels.min()} to {labels.max()}"
        )
    dtype = np.result_type(np.float32, hidden, kernel, bias)
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    hidden, kernel, bias = (a.astype(dtype) for a in (hidden, kernel, bias))
    able = bias > -np.inf
    if 1 < able.sum() < len(bias) and able[labels].all():
        kernel, bias, labels = (
            kernel[:, able],
            bias[able],
            (np.cumsum(able) - 1)[labels],
        )
    some = _finite_nodes(hidden, kernel).any()
    for name, array in {"hidden": hidden, "kernel": kernel, "bias": bias}.items():
        if not np.isfinite(array).all() and not (some and name != "bias"):
            raise ValueError(f"{name} has entries that are not finite in {dtype}")
    return hidden, kernel, bias, labels.astype(np.int64)


def _finite_nodes(hidden, kernel) -> np.ndarray:
    return np.isfinite(hidden).all(0) & np.isfinite(kernel).all(1)


def _filled(found: Readout, whole: np.ndarray) -> Readout:
    """Results for the subsets of some nodes among those of all, the others NaN."""
    nodes, n = np.flatnonzero(whole), len(whole)
    kept = np.arange(len(found.losses))[:, None] >> np.arange(len(nodes)) & 1
    at = (kept << nodes).sum(1)  # the number of each subset among all

    def spread(values):
        wide = np.full((1 << n, *values.shape[1:]), np.nan, values.dtype)
        wide[at] = values
        return wide

    losses, accuracies = spread(found.losses), spread(found.accuracies)
    if found.gradients is None:
        return Readout(losses, accuracies, None)
    gradients = np.full((1 << n, n), np.nan, found.gradients.dtype)
    gradients[:, nodes] = spread(found.gradients)
    return Readout(losses, accuracies, gradients)


def _leads(hidden, kernel, bias, labels) -> _Points:
    """In float64; see `_Points`. The arrays keep the dtype of `hidden`."""
    others = np.arange(len(bias) - 1)[:, None]
    others = others + (others >= labels)  # the classes but the label's
    weights, biases = kernel.astype(np.float64), bias.astype(np.float64)
    slopes = (weights[:, others] - weights[:, labels][:, None]).swapaxes(0, 1)
    slopes = slopes * hidden.T
    offsets = biases[others] - biases[labels]
    reach = len(labels) * (np.abs(offsets) + np.abs(slopes).sum(1)).max()
    if reach > np.finfo(hidden.dtype).max / 2:
        raise ValueError(
            f"logits may differ by {reach / len(labels):.1e}, too much for "
            f"{hidden.dtype}; scale hidden or kernel"
        )

    def narrow(array):
        return array.astype(hidden.dtype)

    return _Points(narrow(slopes), narrow(offsets), others < labels)


def _split(points: _Points) -> tuple[list[_Points], tuple[int, ...]]:
    """The points for products and those for exponentials, with sizes of groups (0)."""
    info = np.finfo(points.offsets.dtype)
    slopes, offsets = (array.astype(np.float64) for array in points[:2])
    reach = (np.abs(offsets) + np.abs(slopes).sum(1)).max(0)
    upper = offsets + np.maximum(slopes, 0).sum(1)
    top = np.maximum(upper.max(0), 0)
    bound = top + np.log(np.exp(-top) + np.exp(upper - top).sum(0))  # of the loss
    # no factor over- or underflows, and neither does a product (with room to spare)
    most, reach_most = _most(info.dtype), -math.log(info.tiny) - 3
    safe = (reach < reach_most) & (bound < most)
    parts, groups = [], []
    if safe.any():
        # dealt out in the order of their bounds, so that groups are about equal
        order = np.flatnonzero(safe)[np.argsort(-bound[safe], kind="stable")]
        padding = -len(order) % _LARGE
        dealt = np.arange(len(order) + padding).reshape(_LARGE, -1).T
        dealt = dealt[:, np.arange(_LARGE).reshape(_GROUPS[0], -1).T.ravel()].ravel()
        bounds = np.append(bound[order], np.zeros(padding))[dealt]
        for group in _GROUPS:
            if bounds.reshape(-1, group).sum(1).max() < most:
                break
        part = _take(points, order, padding)
        part = _Points(*(array[..., dealt] for array in part))
        if _is_calm(part, most):
            group = _LARGE
        parts.append(part)
        groups.append(group)
    if not safe.all():
        parts.append(_take(points, np.flatnonzero(~safe), 0))
        groups.append(0)
    return parts, tuple(groups)


def _is_calm(points: _Points, most: float) -> bool:
    """Whether large groups have far smaller products, for all of some random masks."""
    masks = np.random.default_rng(0).integers(0, 2, (_DRAWN, points.slopes.shape[1]))
    sums = (_losses(points, mask).reshape(-1, _LARGE).sum(1).max() for mask in masks)
    return all(bool(largest < 0.8 * most) for largest in sums)


def _losses(points: _Points, mask: np.ndarray) -> np.ndarray:
    """The loss of every point under a mask, in float64."""
    leads = points.offsets + np.einsum(
        "n,cnp->cp", mask, points.slopes, dtype=np.float64
    )
    top = np.maximum(leads.max(0), 0)
    return top + np.log(np.exp(-top) + np.exp(leads - top).sum(0))


def _take(points: _Points, which, padding: int) -> _Points:
    """Some of the points, and others that add nothing to any sum."""

    def pad(array, value):
        return np.pad(
            array[..., which],
            [(0, 0)] * (array.ndim - 1) + [(0, padding)],
            constant_values=value,
        )

    return _Points(pad(points[0], 0), pad(points[1], -np.inf), pad(points[2], False))


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _call(groups, low, rows, gradients, scale, parts, start):
    """Means over points for `rows` subsets of the high nodes times all of the low."""
    dtype, n = parts[0].slopes.dtype, parts[0].slopes.shape[1]
    dot = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    subsets = bits(jnp.arange(1 << low, dtype=jnp.int32), low).astype(dtype)
    lows = [dot("cnp,ln->cpl", part.slopes[:, :low], subsets) for part in parts]
    factors = [jnp.exp(r) if g else r for r, g in zip(lows, groups, strict=True)]

    def row(index):
        mask = bits(index, n - low).astype(dtype)
        loss, wrong = jnp.zeros(1 << low, dtype), jnp.zeros(1 << low, jnp.int32)
        grad = jnp.zeros((n, 1 << low), dtype)
        for part, group, r, factor in zip(parts, groups, lows, factors, strict=True):
            high = part.offsets + dot("cnp,n->cp", part.slopes[:, low:], mask)
            least = jnp.where(part.ties, _below(-high), -high)[..., None]
            wrong += _any(r > least).sum(0, dtype=jnp.int32)
            if group:
                loss += _product(group, high, factor)
            else:
                loss += _direct(high, factor)
            if gradients:
                chances = _chances(group, high, factor)
                grad += dot("cnp,cpl->nl", part.slopes, chances)
        return loss * scale, wrong, grad.T * scale if gradients else None

    return jax.lax.map(row, start + jnp.arange(rows, dtype=jnp.int32))


def _below(x):
    """The next lower float; what is below the smallest normal one counts as 0."""
    tiny = jnp.finfo(x.dtype).tiny
    return jnp.where(jnp.abs(x) < tiny, -tiny, jnp.nextafter(x, -jnp.inf))


def _most(dtype) -> float:
    """The logarithm of a product that is safe, with room to spare."""
    return math.log(np.finfo(dtype).max) - 3


def _sum(values):
    return values.sum(0) if len(values) > 1 else values[0]


def _any(values):
    return values.any(0) if len(values) > 1 else values[0]


def _product(group, high, factor):
    """The sum of losses, by products over groups of points."""
    odds = jnp.exp(high).reshape(len(high), -1, group, 1)
    factor = factor.reshape(len(high), -1, group, factor.shape[-1])
    excess = [_sum(odds[:, :, i] * factor[:, :, i]) for i in range(group)]
    while len(excess) > 1:  # in pairs: fewer operations wait for others
        pairs = zip(excess[::2], excess[1::2], strict=True)
        excess = [one + two * (1 + one) for one, two in pairs]
    return jnp.log1p(excess[0]).sum(0)


def _direct(high, r):
    """The same point by point, with the largest lead taken out of the exponentials."""
    top, excess, _ = _apart(high, r)
    return (top + jnp.log1p(excess)).sum(0)


def _chances(group, high, factor):
    """The probability of every other class."""
    if group:
        odds = jnp.exp(high)[..., None] * factor
        return odds / (1 + odds.sum(0))
    _, excess, odds = _apart(high, factor)
    return odds / (1 + excess)


def _apart(high, r):
    """The largest lead, and what the others and their sum are relative to it."""
    r = high[..., None] + r
    top = jnp.maximum(r.max(0), 0)
    odds = jnp.exp(r - top)
    return top, odds.sum(0) + jnp.expm1(-top), odds
