"""Which weights of a layer go: those that cost least, in exact numbers.

Of equal costs the first in the kernel goes first, as in `prune.remove`.
"""

import itertools as it
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import numpy as np

from sparsejax.prune import _surgeon as surgeon


def cheapest(
    forms: Sequence[surgeon.Form],
    weights: np.ndarray,
    alive: np.ndarray,
    keep: int,
    pattern: tuple[int, int] | None,
) -> np.ndarray:
    """What exact surgery keeps: of all outputs the cheapest next weight goes.

    Outputs do not touch each other, so each has its own order of removal, and they are
    merged: a weight that is cheap only after dearer ones waits for them.

    Args:
        forms: a Hessian for each group.
        weights: shape (groups, inputs, outputs).
        alive: what may be kept, of the same shape.
        keep: how many are kept, unless there is a pattern.
        pattern: (n, m), at most n of every m inputs.
    """
    kept, surplus = alive.copy(), np.count_nonzero(alive) - keep
    if pattern is None and not surplus:
        return kept
    groups, width, outputs = weights.shape
    size, most = (width, width) if pattern is None else (pattern[1], pattern[0])
    columns, orders, costs, flats = [], [], [], []
    for g, form in enumerate(forms):
        starts = surgeon.fit(form, weights[g], alive[g])
        starts[form.dead] = 0  # costs nothing
        full = alive[g].all(axis=0)
        whole = surgeon.inverse(form, np.arange(width)) if full.any() else np.empty(0)
        for o in range(outputs):
            stay = np.flatnonzero(alive[g, :, o])
            inverse = whole if full[o] else surgeon.inverse(form, stay)
            places = stay // size
            count = np.bincount(places, minlength=width // size)
            room = (
                np.maximum(count - most, 0) if pattern else np.minimum(count, surplus)
            )
            order, cost = surgeon.trace(starts[stay, o], inverse, places, room)
            columns.append((g, o))
            orders.append(stay[order])
            costs.append(np.maximum.accumulate(cost))
            flats.append(stay[order] * groups * outputs + g * outputs + o)
    lengths = [len(order) for order in orders]
    if pattern is None:
        of = np.repeat(np.arange(len(orders)), lengths)
        first = np.lexsort((np.concatenate(flats), np.concatenate(costs)))[:surplus]
        lengths = np.bincount(of[first], minlength=len(orders))
    for (g, o), order, length in zip(columns, orders, lengths, strict=True):
        kept[g, order[:length], o] = False
    return kept


def by_block(
    alive: np.ndarray, keep: int, pattern: tuple[int, int] | None, block: int
) -> list[Callable[[int, np.ndarray], np.ndarray]]:
    """For each group, `choose(start, scores)` for `surgeon.sweep`.

    Args:
        alive: what may be kept, shape (groups, inputs, outputs).
        keep: how many are kept, unless there is a pattern.
        pattern: (n, m), at most n of every m inputs; then `block` is m.
        block: inputs chosen together.
    """
    if pattern is not None:
        return [partial(_most_of_each, a, pattern[0]) for a in alive]
    # Blocks have what they keep from the running total, so that the sum is exact.
    starts = range(0, alive.shape[1], block)
    sizes = [int(np.count_nonzero(a[s : s + block])) for a in alive for s in starts]
    total = max(sum(sizes), 1)
    upto = [round(Fraction(keep * seen, total)) for seen in it.accumulate(sizes)]
    quotas = np.diff(upto, prepend=0).reshape(len(alive), -1)
    return [
        partial(_most, a, dict(zip(starts, quota, strict=True)))
        for a, quota in zip(alive, quotas, strict=True)
    ]


def _most(alive, quota, start, scores) -> np.ndarray:
    kept = alive[start : start + len(scores)].copy()
    order = np.where(kept, scores, np.inf).argsort(axis=None, kind="stable")
    kept.reshape(-1)[order[: np.count_nonzero(kept) - quota[start]]] = False
    return kept


def _most_of_each(alive, most, start, scores) -> np.ndarray:
    kept = alive[start : start + len(scores)].copy()
    order = np.where(kept, scores, -1).argsort(axis=0, kind="stable")
    np.put_along_axis(kept, order[: len(scores) - most], False, axis=0)
    return kept
