"""Rules of `_coupling` for steps that put entries elsewhere."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsejax.prune._compact import _constants as constants
from sparsejax.prune._compact import _reads as reads
from sparsejax.prune._compact._slices import FIXED
from sparsejax.prune._compact._values import result, what


def broadcast(coupling, step, operands) -> list:
    (value, *_), axes = operands, step.params["broadcast_dimensions"]
    ids: list[Any] = [None] * len(step.shape)
    known = value.known
    sides = [1] * len(step.shape)
    for axis, target in enumerate(axes):
        sides[target] = known.value.shape[axis]
        if len(value.ids[axis]) == step.shape[target]:
            ids[target] = value.ids[axis]
        else:
            coupling.pin(value, what(step, "repeats"), [axis])
    order = np.argsort(axes)
    known = constants.mapped(known, lambda a: a.transpose(order).reshape(sides))
    for target, size in enumerate(step.shape):
        if ids[target] is None:
            ids[target] = coupling.slices.fresh(size)
    return result(step, ids, known)


def reshaped(coupling, step, operands) -> list:
    value, shape = operands[0], step.shape
    groups = reads.groups_of_axes(value.shape, shape)
    one = [a for a, size in enumerate(value.shape) if size == 1]
    coupling.pin(value, what(step, "drops"), one)
    ids: list[Any] = [np.full(n, FIXED) for n in shape]
    for before, after in groups:
        parts = [value.ids[a] for a in before]
        whole = parts[0] if len(parts) == 1 else coupling.slices.merge(parts)
        sizes = tuple(shape[b] for b in after)
        split = [whole] if len(after) == 1 else coupling.slices.split(whole, sizes)
        for b, part in zip(after, split, strict=True):
            ids[b] = part
    known = constants.reshaped(value.known, value.shape, groups, shape)
    return result(step, ids, known)


def squeezed(coupling, step, operands) -> list:
    (value,), axes = operands, tuple(int(a) for a in step.params["dimensions"])
    coupling.pin(value, what(step, "drops"), axes)
    ids = [own for a, own in enumerate(value.ids) if a not in axes]
    known = constants.mapped(value.known, lambda a: np.squeeze(a, axes))
    return result(step, ids, known)


def transposed(coupling, step, operands) -> list:
    (value,), order = operands, tuple(int(a) for a in step.params["permutation"])
    known = constants.mapped(value.known, lambda a: a.transpose(order))
    return result(step, [value.ids[a] for a in order], known)


def reversed(coupling, step, operands) -> list:
    (value,), axes = operands, step.params["dimensions"]
    ids = [own[::-1] if a in axes else own for a, own in enumerate(value.ids)]
    known = constants.mapped(value.known, lambda a: np.flip(a, axes))
    return result(step, ids, known)


def sliced(step) -> list[slice]:
    """The part of every axis that a `slice` takes."""
    params = step.params
    strides = params["strides"] or [1] * len(params["start_indices"])
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return [slice(int(a), int(b), int(by)) for a, b, by in bounds]


def cut(coupling, step, operands) -> list:
    (value,) = operands
    return result(step, *_part(value, sliced(step)))


def _part(value, parts: Sequence[slice]) -> tuple[list, constants.Known]:
    ids = [own[part] for own, part in zip(value.ids, parts, strict=True)]
    full = tuple(
        slice(None) if size == 1 and len(own) != 1 else part
        for size, own, part in zip(
            value.known.value.shape, value.ids, parts, strict=True
        )
    )
    return ids, constants.mapped(value.known, lambda a: a[full])


def split(coupling, step, operands) -> list:
    (value,), axis, start, results = operands, step.params["axis"], 0, []
    for size in step.params["sizes"]:
        parts = [slice(None)] * len(value.ids)
        parts[axis] = slice(start, start + size)
        results += result(step, *_part(value, parts))
        start += size
    return results


def concatenated(coupling, step, operands) -> list:
    axis = step.params["dimension"]
    ids = coupling.together(step, operands, skip=[axis])
    ids[axis] = np.concatenate([value.ids[axis] for value in operands])
    sizes = [len(value.ids[axis]) for value in operands]
    known = constants.concatenated([value.known for value in operands], sizes, axis)
    return result(step, ids, known)


def padded(coupling, step, operands) -> list | None:
    value, fill = operands
    config = step.params["padding_config"]
    if any(low < 0 or high < 0 or inner for low, high, inner in config):
        return None
    ids, known = list(value.ids), value.known
    for axis, (low, high, _) in enumerate(config):
        if not low and not high:
            continue
        around = [
            np.full(n, FIXED)
            if (value.ids[axis] == FIXED).all()
            else coupling.slices.fresh(n)
            for n in (low, high)
        ]
        ids[axis] = np.concatenate([around[0], value.ids[axis], around[1]])
        edge = constants.mapped(fill.known, lambda a: a.reshape((1,) * len(config)))
        sizes = (low, len(value.ids[axis]), high)
        known = constants.concatenated([edge, known, edge], sizes, axis)
    return result(step, ids, known)
