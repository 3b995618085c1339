"""Rules of `_coupling` for steps that look entries up, or put them in order."""

from typing import Any

import numpy as np

from sparsejax.prune._compact import _constants as constants
from sparsejax.prune._compact._slices import FIXED
from sparsejax.prune._compact._values import Value, result, what


def gathered(coupling, step, operands) -> list:
    value, index = operands
    numbers, sizes = step.params["dimension_numbers"], step.params["slice_sizes"]
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    whole = [a for a, n in enumerate(sizes) if n == len(value.ids[a]) and a not in gone]
    rest = [a for a in range(len(sizes)) if a not in whole]
    coupling.pin(value, what(step, "looks up"), rest)
    coupling.pin(index, what(step, "looks up"))
    ids: list[Any] = [np.full(n, FIXED) for n in step.shape]
    known = constants.zeros(value.known, rest) if rest else value.known
    shape = [1] * len(ids)
    offsets = [a for a in range(len(sizes)) if a not in gone]
    for axis, target in zip(offsets, numbers.offset_dims, strict=True):
        if axis in whole:
            ids[target] = value.ids[axis]
            shape[target] = known.value.shape[axis]
    return result(step, ids, constants.mapped(known, lambda a: a.reshape(shape)))


def dynamically_sliced(coupling, step, operands) -> list:
    value, *starts = operands
    whole = [n == len(own) for n, own in zip(step.shape, value.ids, strict=True)]
    moves = [a for a, same in enumerate(whole) if not same]
    coupling.pin(value, what(step, "looks up"), moves)
    ids = [
        own if same else np.full(n, FIXED)
        for same, own, n in zip(whole, value.ids, step.shape, strict=True)
    ]
    known = constants.joined(value.known, moves)
    return result(step, ids, known)


def dynamically_updated(coupling, step, operands) -> list:
    value, update, *_ = operands
    pairs = zip(value.ids, update.ids, strict=True)
    moves = [a for a, (own, other) in enumerate(pairs) if len(own) != len(other)]
    for each in (value, update):
        coupling.pin(each, what(step, "puts"), moves)
    ids = coupling.together(step, [value, update], skip=moves)
    known = constants.unknown(len(ids))
    return result(step, ids, known)


def sorted(coupling, step, operands) -> list:
    axis = step.params["dimension"]
    ids = tuple(coupling.together(step, operands))
    for value in operands:
        coupling.pin(value, what(step, "sorts"), [axis])
    unknown = constants.unknown(len(ids))
    return [Value(ids, unknown, value.dtype) for value in operands]
