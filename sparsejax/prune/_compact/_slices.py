"""Slices of arrays that stand or fall together, and which of them are needed.

Every position on every axis of every array of a program has an id. Positions that must
be kept or removed together are made equal; those that must stay are pinned, with a
reason. Where axes are merged into one (a flattened image, heads), position (i, j) of
the merged axis is kept where i and j both are. What is read keeps what it is made of.
The least set that satisfies all of this stays; everything else can go.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

FIXED = 0  # the id of everything that stays whatever happens
Ids = np.ndarray
Kept = Callable[[Ids], np.ndarray]
Needs = Callable[[Kept], list[tuple[Ids, np.ndarray]]]


class Slices:
    """Ids, and what is known about them."""

    def __init__(self):
        self.count = 1
        self.equal: list[tuple[Ids, Ids]] = []
        self.pins: list[tuple[Ids, str]] = []
        self.merges: list[tuple[Ids, list[Ids]]] = []
        self.reads: list[tuple[Needs, str]] = []

    def fresh(self, size: int) -> Ids:
        """Ids of their own for the positions of an axis."""
        self.count += size
        return np.arange(self.count - size, self.count)

    def unite(self, a: Ids, b: Ids, reason: str) -> Ids:
        """Keep or remove the positions of two axes together; ids for both."""
        if a is b or np.array_equal(a, b):
            return a
        fixed = (a == FIXED) != (b == FIXED)
        if fixed.any():
            self.pin(np.maximum(a, b)[fixed], reason)
        if not fixed.all():
            self.equal.append((a[~fixed], b[~fixed]))
        return np.where(a == FIXED, b, a)

    def pin(self, ids: Ids, reason: str) -> None:
        """Keep positions, and say why."""
        ids = ids[ids != FIXED]
        if ids.size:
            self.pins.append((ids, reason))

    def read(self, needs: Needs, reason: str) -> None:
        """Keep what a step reads: `needs(kept) -> [(ids, needed)]`."""
        self.reads.append((needs, reason))

    def merge(self, parts: Sequence[Ids]) -> Ids:
        """Ids of the axis into which several are merged, in row-major order."""
        shape = tuple(len(part) for part in parts)
        moving = [i for i, part in enumerate(parts) if (part != FIXED).any()]
        if len(moving) <= 1:  # the others stay, so that one decides
            sides = [1] * len(parts)
            part = np.zeros(1, int)
            for i in moving:
                sides[i], part = shape[i], parts[i]
            return np.broadcast_to(part.reshape(sides), shape).ravel()
        whole = self.fresh(int(np.prod(shape)))
        self.merges.append((whole.reshape(shape), list(parts)))
        return whole

    def split(self, whole: Ids, shape: tuple[int, ...]) -> list[Ids]:
        """Ids of the axes into which one is split."""
        if (whole == FIXED).all() or whole.size == 0:
            return [np.zeros(size, int) for size in shape]
        parts = [np.zeros(1, int) if n == 1 else self.fresh(n) for n in shape]
        self.merges.append((whole.reshape(shape), parts))
        return parts

    def solve(self) -> "Solution":
        """The least set of positions that stays."""
        return Solution(self)


class Solution:
    """Which positions stay, and why.

    Attributes:
        classes: number of the class of every id; those of one class stay or go
            together.
        kept: whether each class stays.
        reasons: why the classes that stay do.
    """

    def __init__(self, slices: Slices):
        self.classes = _classes(slices)
        self.kept = np.zeros(self.classes.max() + 1, bool)
        self.reasons: dict[int, str] = {}
        self._keep(np.zeros(1, int), np.ones(1, bool), "")
        for ids, reason in slices.pins:
            self._keep(ids, np.ones(ids.shape, bool), reason)
        steps = [*reversed(slices.reads)]
        before = -1
        while before != (before := int(self.kept.sum())):
            for whole, parts in slices.merges:
                self._merge(whole, parts)
            for needs, reason in steps:
                for ids, needed in needs(self):
                    self._keep(ids, needed, reason)

    def __call__(self, ids: Ids) -> np.ndarray:
        """Whether each id stays."""
        return self.kept[self.classes[ids]]

    def reason(self, ids: Ids) -> str:
        """Why the first of some ids stays."""
        return next((self.reasons.get(c, "") for c in self.classes[ids]), "")

    def _keep(self, ids: Ids, needed: np.ndarray, reason: str) -> None:
        wanted = self.classes[ids[np.broadcast_to(needed, ids.shape)]]
        new = np.unique(wanted[~self.kept[wanted]])
        self.kept[new] = True
        self.reasons.update(dict.fromkeys(new.tolist(), reason))

    def _merge(self, whole: Ids, parts: Sequence[Ids]) -> None:
        """Keep (i, j) where i and j stay, and i and j where (i, j) does."""
        stays = self(whole)
        if stays.any():
            reason = self.reason(whole[stays])
            for axis, part in enumerate(parts):
                others = tuple(a for a in range(whole.ndim) if a != axis)
                self._keep(part, np.asarray(stays.any(axis=others)), reason)
        both = np.ones(whole.shape, bool)
        for axis, part in enumerate(parts):
            sides = [1] * whole.ndim
            sides[axis] = len(part)
            both = both & self(part).reshape(sides)
        reason = "it is part of an axis that is kept whole"
        self._keep(whole, both, reason)


def _classes(slices: Slices) -> np.ndarray:
    """The number of the class of every id."""
    ends = [np.concatenate(side) for side in zip(*slices.equal, strict=True)]
    rows, columns = ends or [np.zeros(0, int)] * 2
    links = coo_matrix(
        (np.ones(len(rows), bool), (rows, columns)), shape=(slices.count,) * 2
    )
    return connected_components(links, directed=False)[1]
