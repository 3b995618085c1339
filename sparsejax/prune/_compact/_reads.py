"""What a sum of products reads: the terms that can differ from zero."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from sparsejax.prune._compact._slices import Ids, Kept

Needs = Callable[[Kept], list[tuple[Ids, np.ndarray]]]


def somewhere(
    nonzero: np.ndarray, ids: Sequence[Ids], axes: Sequence[int], kept: Kept
) -> np.ndarray:
    """Whether there is something along some axes, where they are kept; their size 1."""
    for axis in axes:
        stays = kept(ids[axis])
        if nonzero.shape[axis] != 1 or len(stays) == 1:
            sides = [1] * nonzero.ndim
            sides[axis] = -1
            nonzero = nonzero & stays.reshape(sides)
        elif not stays.any():
            nonzero = np.zeros_like(nonzero)
    return np.asarray(nonzero.any(axis=tuple(axes), keepdims=True))


def of_sum(nonzero: np.ndarray, ids: Sequence[Ids], axes: Sequence[int]) -> Needs:
    """The positions that a sum over axes reads."""
    rest = [a for a in range(len(ids)) if a not in axes]

    def needs(kept: Kept) -> list[tuple[Ids, np.ndarray]]:
        there = somewhere(nonzero, ids, rest, kept)
        return [(ids[a], _along(there, a, len(ids[a]))) for a in axes]

    return needs


def of_product(
    operands: Sequence[tuple[np.ndarray, Sequence[Ids]]], dimension_numbers
) -> Needs:
    """The positions that a `dot_general` sums over and that are not zero."""
    contracted, batch = dimension_numbers

    def needs(kept: Kept) -> list[tuple[Ids, np.ndarray]]:
        sides = []
        for (nonzero, ids), over, shared in zip(
            operands, contracted, batch, strict=True
        ):
            axes = [*map(int, shared), *map(int, over)]
            free = [a for a in range(len(ids)) if a not in axes]
            there = somewhere(nonzero, ids, free, kept)
            shape = [there.shape[a] for a in axes]
            sides.append(there.transpose(*axes, *free).reshape(shape))
        both = sides[0] & sides[1]
        ids, over, lead = operands[0][1], contracted[0], len(batch[0])
        shared = [ids[a] for a in batch[0]]
        both = _at(both, shared, kept)
        return [
            (ids[a], _along(both, lead + k, len(ids[a]))) for k, a in enumerate(over)
        ]

    return needs


def of_convolution(
    features: tuple[np.ndarray, Ids], kernel: tuple[np.ndarray, Ids], groups: int
) -> Needs:
    """The channels that a convolution sums over and that are not zero.

    Args:
        features: which are not zero, and their ids.
        kernel: where it is not zero, `(outputs, inputs of a group)`, and ids of the
            outputs.
        groups: number of groups of features.
    """
    (nonzero, inputs), (links, outputs) = features, kernel
    links = links.reshape(groups, len(outputs) // groups, links.shape[1])
    nonzero = np.broadcast_to(nonzero, inputs.shape)

    def needs(kept: Kept) -> list[tuple[Ids, np.ndarray]]:
        stays = kept(outputs).reshape(groups, -1, 1)
        read = (links & stays).any(axis=1).ravel()
        return [(inputs, read & nonzero)]

    return needs


def _at(nonzero: np.ndarray, ids: Sequence[Ids], kept: Kept) -> np.ndarray:
    """What there is at the positions of the first axes that are kept."""
    for axis, own in enumerate(ids):
        sides = [1] * nonzero.ndim
        sides[axis] = -1
        nonzero = nonzero & kept(own).reshape(sides)
    return nonzero


def _along(there: np.ndarray, axis: int, size: int) -> np.ndarray:
    others = tuple(a for a in range(there.ndim) if a != axis)
    return np.broadcast_to(there.any(axis=others), (size,))


def groups_of_axes(before: Sequence[int], after: Sequence[int]) -> list:
    """The smallest groups of axes of two shapes with as many entries in each.

    Axes of size one are in no group.

    Example:
        >>> groups_of_axes((2, 3, 4), (6, 2, 2))
        [([0, 1], [0]), ([2], [1, 2])]
    """
    sides = [
        [(axis, size) for axis, size in enumerate(shape) if size != 1]
        for shape in (before, after)
    ]
    if math.prod(before) == 0:
        return [([a for a, _ in sides[0]], [b for b, _ in sides[1]])]
    groups = []
    while sides[0] or sides[1]:
        group, sizes = ([], []), [1, 1]
        while not group[0] or not group[1] or sizes[0] != sizes[1]:
            side = int(sizes[0] > sizes[1]) if group[0] else 0
            axis, size = sides[side].pop(0)
            group[side].append(axis)
            sizes[side] *= size
        groups.append(group)
    return groups
