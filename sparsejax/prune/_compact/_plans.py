"""What of every step's operands and results stays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax.prune._compact._coupling import Record
from sparsejax.prune._compact._slices import Solution

Axes = tuple[np.ndarray | None, ...]


class Plan(NamedTuple):
    """What of the operands and results of one step stays.

    Attributes:
        name: of the primitive.
        operands: for every axis of each which positions stay; None for all.
        results: the same.
        inner: plans of what is called.
    """

    name: str
    operands: list[Axes]
    results: list[Axes]
    inner: list["Plan"]


def plans(records: Sequence[Record], solution: Solution) -> list[Plan]:
    """What stays of every step."""
    return [
        Plan(
            record.name,
            [kept_axes(ids, solution) for ids in record.operands],
            [kept_axes(ids, solution) for ids in record.results],
            plans(record.inner, solution),
        )
        for record in records
    ]


def kept_axes(ids: Sequence[np.ndarray], solution: Solution) -> Axes:
    """Which positions of every axis stay; None for all."""
    stays = [solution(own) for own in ids]
    return tuple(None if axis.all() else axis for axis in stays)


def take(array: Any, kept: Axes) -> Any:
    """An array at the positions that stay."""
    for axis, stays in enumerate(kept):
        if stays is not None:
            if stays.size != np.shape(array)[axis]:
                raise OtherShapes
            library = jnp if isinstance(array, jax.Array) else np
            array = library.take(array, np.flatnonzero(stays), axis=axis)
    return array


class OtherShapes(Exception):
    """The program for these inputs is another one."""


def shape_of(full: Sequence[int], kept: Axes) -> tuple[int, ...]:
    if len(full) != len(kept):
        raise OtherShapes
    pairs = zip(full, kept, strict=True)
    return tuple(_size(size, stays) for size, stays in pairs)


def _size(size: int, stays: np.ndarray | None) -> int:
    if stays is None:
        return size
    if stays.size != size:
        raise OtherShapes
    return int(stays.sum())
