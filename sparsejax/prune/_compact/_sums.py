"""Rules of `_coupling` for products, sums and other steps that put entries together."""

from typing import Any

import numpy as np

from sparsejax.prune._compact import _constants as constants
from sparsejax.prune._compact import _reads as reads
from sparsejax.prune._compact._slices import FIXED
from sparsejax.prune._compact._values import meets, result, what


def reduced(coupling, step, operands) -> list:
    (value, *_), axes = operands, tuple(int(a) for a in step.params["axes"])
    if step.name == "reduce_sum":
        coupling.read(step, reads.of_sum(value.known.nonzero, value.ids, axes))
    else:
        coupling.pin(value, what(step, "compares"), axes)
    ids = [own for a, own in enumerate(value.ids) if a not in axes]
    return result(step, ids, constants.reduced(step, value.known, value.shape))


def accumulated(coupling, step, operands) -> list:
    (value,), axis = operands, int(step.params["axis"])
    coupling.pin(value, what(step, "accumulates"), [axis])
    return result(step, value.ids, constants.zeros(value.known, [axis]))


def windows(coupling, step, operands) -> list:
    value, params = operands[0], step.params
    strides = params["window_strides"]
    window = params["window_dimensions"]
    moves = [
        a
        for a, size in enumerate(window)
        if size != 1 or strides[a] != 1 or any(params["padding"][a])
    ]
    coupling.pin(value, what(step, "pools"), moves)
    for other in operands[1:]:
        coupling.pin(other, what(step, "pools"))
    ids = [
        np.full(n, FIXED) if a in moves else value.ids[a]
        for a, n in enumerate(step.shape)
    ]
    if step.name == "reduce_window_max":
        known = constants.maximum(value.known, moves)
    elif step.name == "reduce_window":
        known = constants.unknown(len(ids))
    else:
        known = constants.zeros(value.known, moves)
    return result(step, ids, known)


def multiplied(coupling, step, operands) -> list:
    left, right = operands
    numbers = step.params["dimension_numbers"]
    shared: list[list[Any]] = []
    for pairs in numbers[0], numbers[1]:
        shared.append([
            coupling.slices.unite(left.ids[i], right.ids[j], meets(step))
            for i, j in zip(*pairs, strict=True)
        ])  # fmt: skip
    pairs = [(value.known.nonzero, value.ids) for value in operands]
    coupling.read(step, reads.of_product(pairs, numbers))
    free = [
        [own for a, own in enumerate(value.ids) if a not in (*over, *batch)]
        for value, over, batch in zip(operands, *numbers, strict=True)
    ]
    known = constants.multiplied(step, left.known, right.known, left.shape)
    return result(step, [*shared[1], *free[0], *free[1]], known)


def convolved(coupling, step, operands) -> list | None:
    (image, kernel), params = operands, step.params
    if params["batch_group_count"] != 1:
        return None
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    (batch, channels, *places), (out, into, *taps) = numbers.lhs_spec, numbers.rhs_spec
    coupling.pin(image, what(step, "mixes"), places)
    coupling.pin(kernel, what(step, "mixes"), taps)
    _grouped(coupling, image.ids[channels], kernel.ids[into], kernel.ids[out], groups)
    links = kernel.known.nonzero.any(axis=tuple(taps))
    links = links if out < into else links.T
    there = image.known.nonzero.any(axis=(batch, *places))
    features, targets = image.ids[channels], kernel.ids[out]
    links = np.broadcast_to(links, (len(targets), len(kernel.ids[into])))
    there = np.broadcast_to(there, len(features))
    coupling.read(
        step, reads.of_convolution((there, features), (links, targets), groups)
    )
    ids: list[Any] = [np.full(n, FIXED) for n in step.shape]
    ids[numbers.out_spec[0]], ids[numbers.out_spec[1]] = image.ids[batch], targets
    known = _convolution(step, operands, there)
    return result(step, ids, known)


def _grouped(coupling, features, inputs, outputs, groups: int) -> None:
    """Tie the channels that come and go to a kernel's."""
    slices = coupling.slices
    if groups == 1:
        slices.unite(features, inputs, "a convolution reads it")
        return
    group = slices.fresh(groups)
    for ids, inside in (
        (features, inputs),
        (outputs, np.full(len(outputs) // groups, FIXED)),
    ):
        if len(ids) == groups:
            slices.pin(inside, "each group has one")
            slices.unite(ids, group, "a group of channels is used")
        else:
            inside = slices.fresh(len(ids) // groups) if ids is outputs else inside
            slices.merges.append((ids.reshape(groups, -1), [group, inside]))


def _convolution(step, operands, there: np.ndarray) -> constants.Known:
    """The constants of a convolution: of what is zero, or the same everywhere."""
    (image, kernel), params = operands, step.params
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    (_, channels, *_), (out, into, *taps) = numbers.lhs_spec, numbers.rhs_spec
    known, size = image.known, len(image.ids[channels])
    plain = not any(map(any, params["padding"])) and set(params["lhs_dilation"]) <= {1}
    rest = [a for a in range(len(image.ids)) if a != channels]
    known = constants.joined(known, rest) if plain else constants.zeros(known, rest)
    value, varies = (np.broadcast_to(a.ravel(), size) for a in known)
    weights = kernel.known
    if weights.varies.any():
        varies = there
    table = weights.value.sum(axis=tuple(taps))
    links = weights.nonzero.any(axis=tuple(taps))
    table, links = (table, links) if out < into else (table.T, links.T)
    shape = (len(kernel.ids[out]), len(kernel.ids[into]))
    table, links = (np.broadcast_to(a, shape) for a in (table, links))
    group = np.arange(shape[0]) * groups // max(shape[0], 1)
    source = group[:, None] * shape[1] + np.arange(shape[1])
    changes = (links & varies[source]).any(axis=1)
    total = (table * value[source]).sum(axis=1).astype(step.dtype)
    sides = [1] * len(step.shape)
    sides[numbers.out_spec[1]] = shape[0]
    return constants.of_parts(total.reshape(sides), changes.reshape(sides))
