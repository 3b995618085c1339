"""Where the unit axes of a layer go, step by step.

Unit axes are a tuple, in the order in which their units are counted. Axes of one entry
hold no units apart: they may vanish from the tuple. Where axes can't be followed, as
through a reshape that merges units and places, they are None.
"""

import math
from collections.abc import Iterator, Sequence

from sparsejax.interpret import FlatStep, FlatValue

Axes = tuple[int, ...] | None


def followed(step: FlatStep, operand: FlatValue, axes: Axes) -> Axes:
    """The unit axes of a step's first result, given those of one of its operands."""
    if axes is None:
        return None
    before, after = operand.shape, step.outputs[0].shape
    if step.kind == "transpose":
        places = list(step.params["permutation"])
        return tuple(places.index(axis) for axis in axes)
    if step.kind == "reshape":
        return reshaped(axes, before, after)
    if step.kind == "broadcast_in_dim":
        places = step.params["broadcast_dimensions"]
        return tuple(int(places[axis]) for axis in axes)
    if step.kind == "squeeze":
        gone = {d % len(before) for d in step.params["dimensions"]}
        kept = [axis for axis in range(len(before)) if axis not in gone]
        return tuple(kept.index(axis) for axis in axes if axis in kept)
    return axes if before == after and step.keeps_places else None


def reshaped(axes: tuple[int, ...], before: Sequence, after: Sequence) -> Axes:
    """The unit axes after a reshape; None if it merges units with places.

    Example:
        >>> reshaped((2,), (5, 7, 6), (5, 7, 2, 3)), reshaped((2,), (5, 7, 6), (5, 42))
        ((2, 3), None)
    """
    new: list[int] = []
    for old, fresh in _groups(before, after):
        units = [axis for axis in old if axis in axes]
        if units and len(units) < len(old):
            return None
        new += fresh if units else []
    return tuple(new)


def _groups(before: Sequence, after: Sequence) -> Iterator[tuple[list, list]]:
    """The smallest groups of neighboring axes that a reshape maps onto each other."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    while left and right:
        old, fresh = [left.pop(0)], [right.pop(0)]
        while (a := _size(old, before)) != (b := _size(fresh, after)):
            if a < b:
                old.append(left.pop(0))
            else:
                fresh.append(right.pop(0))
        yield old, fresh


def _size(axes: Sequence[int], shape: Sequence[int]) -> int:
    return math.prod(shape[axis] for axis in axes)
