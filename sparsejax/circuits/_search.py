"""Greedy search, with a beam or with swaps, and all subsets."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool

from sparsejax import checks
from sparsejax.circuits._losses import Losses
from sparsejax.circuits._nodes import layout
from sparsejax.circuits._ranking import Ranking, checked_table, sets_of

MOST = 20  # nodes of which all subsets are evaluated here


def greedy(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    direction: str = "backward",
    batch_size: int = 32,
) -> Ranking:
    """One node after the other goes, or comes: each time the one that costs least.

    n (n + 1) / 2 evaluations; for hundreds of nodes take `eliminate`.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        direction: "backward" removes from all nodes, "forward" adds to none.
        batch_size: subsets evaluated at a time.

    Raises:
        ValueError: for an unknown direction, or a loss that is NaN for some subset.

    Example:
        >>> import jax.numpy as jnp
        >>> weights = jnp.array([1.0, 3.0, 2.0])
        >>> loss = lambda masks: 6 - (masks["h"] * weights).sum()
        >>> greedy(loss, {"h": jnp.ones(3)}).losses.tolist()
        [6.0, 3.0, 1.0, 0.0]
    """
    ranking = beam(loss, nodes, width=1, direction=direction, batch_size=batch_size)
    return ranking._replace(method=f"greedy {direction}")


def beam(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    width: int = 4,
    direction: str = "backward",
    batch_size: int = 32,
) -> Ranking:
    """Greedy search that goes on from several sets of every size.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        width: number of sets that are kept of every size.
        direction: "backward" or "forward".
        batch_size: subsets evaluated at a time.

    Raises:
        ValueError: as of `greedy`.

    Example:
        >>> def loss(masks):
        ...     return (3 - masks["h"] @ jnp.array([2.0, 1.0, 0.0])) ** 2
        >>> beam(loss, {"h": jnp.ones(3)}, width=2).losses.tolist()
        [9.0, 1.0, 0.0, 0.0]
    """
    if direction not in ("backward", "forward"):
        raise ValueError(
            f"direction is {direction!r}; expected 'backward' or 'forward'"
        )
    width = checks.integer(width, "width", 1)
    losses = Losses(loss, nodes, batch_size)
    n, back = losses.plan.count, direction == "backward"
    front = np.full((1, n), back)
    keep, values = {n if back else 0: front[0]}, {n if back else 0: losses(front)[0]}
    for size in range(n - 1, -1, -1) if back else range(1, n + 1):
        candidates = _neighbors(front, back)
        costs = losses(candidates)
        front = candidates[np.argsort(costs, kind="stable")[:width]]
        keep[size], values[size] = front[0], costs.min()
    rows = np.array([keep[k] for k in range(n + 1)])
    best = np.array([values[k] for k in range(n + 1)])
    method = f"beam {direction}, {width} wide"
    return Ranking(method, rows, best, None, losses.count)


def swap(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    start: Ranking | None = None,
    rounds: int = 100,
    batch_size: int = 32,
) -> Ranking:
    """Sets that no exchange of one node within for one without makes better.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        start: sets to begin from; those of `greedy` by default.
        rounds: largest number of exchanges at every size.
        batch_size: subsets evaluated at a time.

    Raises:
        ValueError: as of `greedy`, and for a start of another number of nodes.

    Example:
        >>> def loss(masks):
        ...     return (3 - masks["h"] @ jnp.array([2.0, 1.0, 0.0])) ** 2
        >>> swap(loss, {"h": jnp.ones(3)}).losses.tolist()
        [9.0, 1.0, 0.0, 0.0]
    """
    losses = Losses(loss, nodes, batch_size)
    first = greedy(loss, nodes, batch_size=batch_size) if start is None else start
    keep = sets_of(first, losses.plan.count).copy()
    values = first.losses.copy() if start is None else losses(keep)
    for row in range(1, len(keep) - 1):
        for _ in range(rounds):
            candidates = _exchanges(keep[row])
            costs = losses(candidates)
            if not costs.min() < values[row]:
                break
            keep[row], values[row] = candidates[costs.argmin()], costs.min()
    total = losses.count + (first.evaluations if start is None else 0)
    return Ranking(f"swaps from {first.method}", keep, values, None, total)


def exact(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    table: ArrayLike | None = None,
    batch_size: int = 256,
) -> Ranking:
    """The best set of every size, of all 2^n: what other finders are measured against.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        table: losses of all subsets, of `hypercube.evaluate(*flat(loss, nodes))`, which
            is faster where nodes are in layers; evaluated here by default.
        batch_size: subsets evaluated at a time.

    Returns:
        The `Ranking`; of equal sets the one with the smallest number.

    Raises:
        ValueError: for more nodes than can be enumerated; it says what to use instead,
            and what that costs.

    Example:
        >>> def loss(masks):
        ...     return (3 - masks["h"] @ jnp.array([2.0, 1.0, 0.0])) ** 2
        >>> exact(loss, {"h": jnp.ones(3)}).keep[2].tolist()
        [True, True, False]
    """
    n = layout(nodes).count
    if n > MOST and table is None:
        raise ValueError(
            f"all 2^{n} subsets of {n} nodes are too many to evaluate (at most {MOST} "
            f"nodes): use eliminate or greedy (at most {n * (n + 1) // 2} evaluations; "
            "a locally minimal circuit), hitting_set (a smallest one, proved if the "
            "loss is monotone; hundreds of evaluations to 2^n), or mask fewer nodes"
        )
    count = 0
    if table is None:
        losses = Losses(loss, nodes, batch_size)
        table = np.concatenate([losses(part) for part in _all(n)])
        count = losses.count
    values = checked_table(table, n)
    sizes = np.bitwise_count(np.arange(1 << n))
    order = np.lexsort((values, sizes))
    best = order[np.searchsorted(sizes[order], np.arange(n + 1))]
    keep = (best[:, None] >> np.arange(n) & 1).astype(bool)
    return Ranking("exact", keep, values[best], None, count)


def from_table(table: ArrayLike, nodes: Mapping[str, Any]) -> Callable:
    """A loss that looks up its values, so that searches cost next to nothing.

    It has no gradient, and refuses to be asked for one.

    Args:
        table: losses of all 2^n subsets, bit i for node i, as `hypercube.evaluate`
            returns them.
        nodes: masks of ones, by name, in the order of depth.

    Raises:
        ValueError: for a table of another number of nodes.

    Example:
        >>> loss = from_table(np.array([4.0, 1, 3, 2]), {"h": jnp.ones(2)})
        >>> float(loss({"h": jnp.array([0.0, 1.0])}))
        3.0
    """
    plan = layout(nodes)
    values = jnp.asarray(checked_table(table, plan.count), jnp.float32)
    bits = jnp.asarray(1 << np.arange(plan.count), jnp.int32)

    @jax.custom_jvp
    def look_up(mask: Array):
        return values[jnp.where(mask > 0, bits, 0).sum()]

    @look_up.defjvp
    def refuse(primals, tangents):
        raise ValueError(
            "a table of losses has no gradient: finders that take one need the loss"
        )

    def loss(masks: Mapping[str, Array]):
        return look_up(jnp.concatenate([masks[k].reshape(-1) for k in plan.names]))

    return loss


def _all(n: int):
    """All subsets, up to 4,096 at a time."""
    for start in range(0, 1 << n, 4096):
        numbers = np.arange(start, min(start + 4096, 1 << n))
        yield (numbers[:, None] >> np.arange(n) & 1).astype(bool)


def _neighbors(front: np.ndarray, back: bool) -> Bool[np.ndarray, "sets n"]:
    """The different sets with one node less, or one more."""
    rows = [(row, i) for row in front for i in np.flatnonzero(row == back)]
    sets = np.array([row for row, _ in rows])
    sets[np.arange(len(rows)), [i for _, i in rows]] = not back
    if len(front) == 1:
        return sets
    first = np.unique(sets, axis=0, return_index=True)[1]
    return sets[np.sort(first)]


def _exchanges(row: np.ndarray) -> Bool[np.ndarray, "sets n"]:
    inside, outside = np.flatnonzero(row), np.flatnonzero(~row)
    sets = np.repeat(row[None], len(inside) * len(outside), axis=0)
    index = np.arange(len(sets))
    sets[index, np.repeat(inside, len(outside))] = False
    sets[index, np.tile(outside, len(inside))] = True
    return sets
