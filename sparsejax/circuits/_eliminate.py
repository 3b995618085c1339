"""Elimination in batches: many nodes at a time as long as the loss holds."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sparsejax.circuits._losses import Losses
from sparsejax.circuits._ranking import Ranking, of_order

_ALONE = 32  # nodes from which on down they go one at a time


def eliminate(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    target: float | None = None,
    fraction: float = 0.3,
    batch_size: int = 32,
) -> Ranking:
    """Remove the cheapest nodes, always looking at what the removal costs now.

    Every round takes the loss without each node left, one compiled map, and removes
    the cheapest fraction; with a target, only as much of it (halved until it does) as
    keeps the loss below. Below 33 nodes they go one at a time, as in `greedy`.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        target: loss that a circuit may have; without one the fraction always goes.
        fraction: part of the nodes left that a round removes at most.
        batch_size: subsets evaluated at a time.

    Returns:
        The `Ranking`. With a target, the smallest set that meets it is locally minimal:
        without any one of its nodes it misses the target. Sets are nested; below that
        size they go on being taken apart.

    Raises:
        ValueError: if all nodes together miss the target, or a loss is NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = lambda masks: jnp.maximum(2 - masks["h"].sum(), 0.0)
        >>> ranking = eliminate(loss, {"h": jnp.ones(4)}, target=0.0)
        >>> ranking.losses.tolist(), ranking.smallest(0.0)
        ([2.0, 1.0, 0.0, 0.0, 0.0], 2)
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}; expected a part above 0, up to 1")
    losses = Losses(loss, nodes, batch_size)
    keep = np.ones(losses.plan.count, bool)
    whole = losses.of(keep)
    if target is not None and not whole <= target:
        raise ValueError(
            f"the loss with all nodes is {whole:.6g}, above the target {target:.6g}: "
            "the network itself misses it; allow more, or take a metric of what it "
            "does, such as metric='kl'"
        )
    order = _taken_apart(losses, keep, target, fraction)
    rows = of_order(order)
    values = losses(rows)
    while target is not None:
        size = int(np.flatnonzero(values <= target)[0])
        left = np.flatnonzero(rows[size])
        if size <= _ALONE:  # looked at without each node, on the way
            break
        if losses(_without_each(rows[size], left)).min() > target:
            break
        first = order[: len(order) - size]  # passed by, in a batch: go on from there
        rest = _taken_apart(losses, rows[size], target, fraction)
        order = np.concatenate([first, rest])
        rows = of_order(order)
        values = losses(rows)
    method = "eliminate" if target is None else f"eliminate to {target:.4g}"
    return Ranking(method, rows, values, None, losses.count)


def _taken_apart(losses: Losses, keep, target, fraction: float) -> np.ndarray:
    """The nodes of a set, in the order in which they go."""
    keep, gone = keep.copy(), []
    while keep.any():
        left = np.flatnonzero(keep)
        costs = losses(_without_each(keep, left))
        order = left[np.argsort(costs, kind="stable")]
        many = 1
        if len(left) > _ALONE:
            many = max(1, int(fraction * len(left)))
            if target is not None and costs.min() <= target:
                many = _most(losses, keep, order, many, target)
        gone += order[:many].tolist()
        keep[order[:many]] = False
    return np.array(gone)


def _without_each(keep: np.ndarray, left: np.ndarray) -> np.ndarray:
    rows = np.repeat(keep[None], len(left), axis=0)
    rows[np.arange(len(left)), left] = False
    return rows


def _most(losses, keep, order, many: int, target) -> int:
    """The largest of many, many / 2, many / 4, ..., 1 that keeps the loss."""
    counts = []
    while many > 1:
        counts.append(many)
        many //= 2
    if not counts:
        return 1
    rows = np.repeat(keep[None], len(counts), axis=0)
    for row, count in zip(rows, counts, strict=True):
        row[order[:count]] = False
    passing = np.flatnonzero(losses(rows) <= target)
    return counts[passing[0]] if len(passing) else 1
