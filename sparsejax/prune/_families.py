"""Rules of `_coupling`: what each primitive does to the axes of its operands."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsejax.prune import _constants as constants
from sparsejax.prune import _loops
from sparsejax.prune import _reads as reads
from sparsejax.prune._slices import FIXED
from sparsejax.prune._values import Value, meets, where

ELEMENTWISE = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp conj "
    "convert_element_type copy copy_p cos cosh digamma div eq erf erf_inv erfc exp "
    "exp2 expm1 floor ge gt imag integer_pow is_finite le lgamma log log1p logistic lt "
    "max min mul ne neg nextafter not or population_count pow real reduce_precision "
    "rem round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical "
    "sign sin sinh sqrt square sub tan tanh xor".split()
)
REDUCTIONS = frozenset(
    "reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or argmax "
    "argmin".split()
)
CUMULATIVE = frozenset("cumsum cumprod cummax cummin cumlogsumexp".split())
WINDOWS = frozenset(
    "reduce_window_sum reduce_window_max reduce_window_min reduce_window".split()
)


def rule(name: str) -> Callable[..., list | None] | None:
    """The rule of a primitive, if there is one."""
    if name in ELEMENTWISE:
        return _elementwise
    if name in REDUCTIONS:
        return _reduced
    if name in CUMULATIVE:
        return _accumulated
    if name in WINDOWS:
        return _windows
    return _RULES.get(name)


def _value(step, ids, known) -> list:
    return [Value(tuple(ids), known, step.dtype)]


def _elementwise(coupling, step, operands) -> list:
    full = [value for value in operands if len(value.ids) == len(step.shape)]
    known = constants.elementwise(step, [value.known for value in operands])
    return _value(step, coupling.together(step, full), known)


def _name(coupling, step, operands) -> list:
    """A named activation, times its mask."""
    (value,) = operands
    name = step.params["name"]
    if name in coupling.nodes:
        mask = np.asarray(coupling.nodes[name])
        mask = mask.reshape((1,) * (len(value.ids) - mask.ndim) + mask.shape)
        varies = value.known.varies & (mask != 0)
        product = np.where(mask == 0, 0, value.known.value * mask)
        known = constants.of_parts(product.astype(value.dtype), varies)
        value = value._replace(known=known)
    coupling.named[name] = value
    return [value]


def _broadcast(coupling, step, operands) -> list:
    (value, *_), axes = operands, step.params["broadcast_dimensions"]
    ids: list[Any] = [None] * len(step.shape)
    known = value.known
    sides = [1] * len(step.shape)
    for axis, target in enumerate(axes):
        sides[target] = known.value.shape[axis]
        if len(value.ids[axis]) == step.shape[target]:
            ids[target] = value.ids[axis]
        else:
            coupling.pin(value, _what(step, "repeats"), [axis])
    order = np.argsort(axes)
    known = constants.mapped(known, lambda a: a.transpose(order).reshape(sides))
    for target, size in enumerate(step.shape):
        if ids[target] is None:
            ids[target] = coupling.slices.fresh(size)
    return _value(step, ids, known)


def _reshaped(coupling, step, operands) -> list:
    value, shape = operands[0], step.shape
    groups = reads.groups_of_axes(value.shape, shape)
    one = [a for a, size in enumerate(value.shape) if size == 1]
    coupling.pin(value, _what(step, "drops"), one)
    ids: list[Any] = [np.full(n, FIXED) for n in shape]
    for before, after in groups:
        parts = [value.ids[a] for a in before]
        whole = parts[0] if len(parts) == 1 else coupling.slices.merge(parts)
        sizes = tuple(shape[b] for b in after)
        split = [whole] if len(after) == 1 else coupling.slices.split(whole, sizes)
        for b, part in zip(after, split, strict=True):
            ids[b] = part
    known = constants.reshaped(value.known, value.shape, groups, shape)
    return _value(step, ids, known)


def _squeezed(coupling, step, operands) -> list:
    (value,), axes = operands, tuple(int(a) for a in step.params["dimensions"])
    coupling.pin(value, _what(step, "drops"), axes)
    ids = [own for a, own in enumerate(value.ids) if a not in axes]
    known = constants.mapped(value.known, lambda a: np.squeeze(a, axes))
    return _value(step, ids, known)


def _transposed(coupling, step, operands) -> list:
    (value,), order = operands, tuple(int(a) for a in step.params["permutation"])
    known = constants.mapped(value.known, lambda a: a.transpose(order))
    return _value(step, [value.ids[a] for a in order], known)


def _reversed(coupling, step, operands) -> list:
    (value,), axes = operands, step.params["dimensions"]
    ids = [own[::-1] if a in axes else own for a, own in enumerate(value.ids)]
    known = constants.mapped(value.known, lambda a: np.flip(a, axes))
    return _value(step, ids, known)


def sliced(step) -> list[slice]:
    """The part of every axis that a `slice` takes."""
    params = step.params
    strides = params["strides"] or [1] * len(params["start_indices"])
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return [slice(int(a), int(b), int(by)) for a, b, by in bounds]


def _sliced(coupling, step, operands) -> list:
    (value,) = operands
    return _value(step, *_part(value, sliced(step)))


def _part(value, parts: Sequence[slice]) -> tuple[list, constants.Known]:
    ids = [own[part] for own, part in zip(value.ids, parts, strict=True)]
    full = tuple(
        slice(None) if size == 1 and len(own) != 1 else part
        for size, own, part in zip(
            value.known.value.shape, value.ids, parts, strict=True
        )
    )
    return ids, constants.mapped(value.known, lambda a: a[full])


def _split(coupling, step, operands) -> list:
    (value,), axis, start, results = operands, step.params["axis"], 0, []
    for size in step.params["sizes"]:
        parts = [slice(None)] * len(value.ids)
        parts[axis] = slice(start, start + size)
        results += _value(step, *_part(value, parts))
        start += size
    return results


def _concatenated(coupling, step, operands) -> list:
    axis = step.params["dimension"]
    ids = coupling.together(step, operands, skip=[axis])
    ids[axis] = np.concatenate([value.ids[axis] for value in operands])
    sizes = [len(value.ids[axis]) for value in operands]
    known = constants.concatenated([value.known for value in operands], sizes, axis)
    return _value(step, ids, known)


def _padded(coupling, step, operands) -> list | None:
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
        edge = constants.mapped(
            fill.known, lambda a: a.reshape((1,) * len(config))
        )
        sizes = (low, len(value.ids[axis]), high)
        known = constants.concatenated([edge, known, edge], sizes, axis)
    return _value(step, ids, known)


def _reduced(coupling, step, operands) -> list:
    (value, *_), axes = operands, tuple(int(a) for a in step.params["axes"])
    if step.name == "reduce_sum":
        coupling.read(step, reads.of_sum(value.known.nonzero, value.ids, axes))
    else:
        coupling.pin(value, _what(step, "compares"), axes)
    ids = [own for a, own in enumerate(value.ids) if a not in axes]
    return _value(step, ids, constants.reduced(step, value.known, value.shape))


def _what(step, verb: str) -> str:
    return f"{where(step)} {verb} it with others"


def _accumulated(coupling, step, operands) -> list:
    (value,), axis = operands, int(step.params["axis"])
    coupling.pin(value, _what(step, "accumulates"), [axis])
    return _value(step, value.ids, _only_zeros(value.known, [axis]))


def _only_zeros(known, axes) -> constants.Known:
    """What stays zero along some axes; all else varies."""
    there = known.nonzero.any(axis=tuple(axes), keepdims=True)
    return constants.of_parts(np.zeros(there.shape, known.value.dtype), there)


def _windows(coupling, step, operands) -> list:
    value, params = operands[0], step.params
    strides = params["window_strides"]
    window = params["window_dimensions"]
    moves = [
        a
        for a, size in enumerate(window)
        if size != 1 or strides[a] != 1 or any(params["padding"][a])
    ]
    coupling.pin(value, _what(step, "pools"), moves)
    for other in operands[1:]:
        coupling.pin(other, _what(step, "pools"))
    ids = [
        np.full(n, FIXED) if a in moves else value.ids[a]
        for a, n in enumerate(step.shape)
    ]
    if step.name == "reduce_window_max":
        known = constants.maximum(value.known, moves)
    elif step.name == "reduce_window":
        known = constants.unknown(len(ids))
    else:
        known = _only_zeros(value.known, moves)
    return _value(step, ids, known)


def _multiplied(coupling, step, operands) -> list:
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
    return _value(step, [*shared[1], *free[0], *free[1]], known)


def _convolved(coupling, step, operands) -> list | None:
    (image, kernel), params = operands, step.params
    if params["batch_group_count"] != 1:
        return None
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    (batch, channels, *places), (out, into, *taps) = numbers.lhs_spec, numbers.rhs_spec
    coupling.pin(image, _what(step, "mixes"), places)
    coupling.pin(kernel, _what(step, "mixes"), taps)
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
    return _value(step, ids, known)


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
    known = constants.joined(known, rest) if plain else _only_zeros(known, rest)
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


def _gathered(coupling, step, operands) -> list:
    value, index = operands
    numbers, sizes = step.params["dimension_numbers"], step.params["slice_sizes"]
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    whole = [
        a for a, n in enumerate(sizes) if n == len(value.ids[a]) and a not in gone
    ]
    rest = [a for a in range(len(sizes)) if a not in whole]
    coupling.pin(value, _what(step, "looks up"), rest)
    coupling.pin(index, _what(step, "looks up"))
    ids: list[Any] = [np.full(n, FIXED) for n in step.shape]
    known = _only_zeros(value.known, rest) if rest else value.known
    shape = [1] * len(ids)
    offsets = [a for a in range(len(sizes)) if a not in gone]
    for axis, target in zip(offsets, numbers.offset_dims, strict=True):
        if axis in whole:
            ids[target] = value.ids[axis]
            shape[target] = known.value.shape[axis]
    return _value(step, ids, constants.mapped(known, lambda a: a.reshape(shape)))


def _dynamically_sliced(coupling, step, operands) -> list:
    value, *starts = operands
    whole = [n == len(own) for n, own in zip(step.shape, value.ids, strict=True)]
    moves = [a for a, same in enumerate(whole) if not same]
    coupling.pin(value, _what(step, "looks up"), moves)
    ids = [
        own if same else np.full(n, FIXED)
        for same, own, n in zip(whole, value.ids, step.shape, strict=True)
    ]
    known = constants.joined(value.known, moves)
    return _value(step, ids, known)


def _dynamically_updated(coupling, step, operands) -> list:
    value, update, *_ = operands
    pairs = zip(value.ids, update.ids, strict=True)
    moves = [a for a, (own, other) in enumerate(pairs) if len(own) != len(other)]
    for each in (value, update):
        coupling.pin(each, _what(step, "puts"), moves)
    ids = coupling.together(step, [value, update], skip=moves)
    known = constants.unknown(len(ids))
    return _value(step, ids, known)


def _numbered(coupling, step, operands) -> list:
    ids = [coupling.slices.fresh(n) for n in step.shape]
    axis = step.params["dimension"]
    sides = [1] * len(ids)
    sides[axis] = -1
    known = constants.constant(np.arange(step.shape[axis]).reshape(sides))
    return _value(step, ids, known)


def _sorted(coupling, step, operands) -> list:
    axis = step.params["dimension"]
    ids = tuple(coupling.together(step, operands))
    for value in operands:
        coupling.pin(value, _what(step, "sorts"), [axis])
    unknown = constants.unknown(len(ids))
    return [Value(ids, unknown, value.dtype) for value in operands]


def _same(coupling, step, operands) -> list:
    """Values as they are."""
    return list(operands)


_RULES = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenated,
    "conv_general_dilated": _convolved,
    "dot_general": _multiplied,
    "dynamic_slice": _dynamically_sliced,
    "dynamic_update_slice": _dynamically_updated,
    "gather": _gathered,
    "iota": _numbered,
    "name": _name,
    "optimization_barrier": _same,
    "pad": _padded,
    "reshape": _reshaped,
    "rev": _reversed,
    "scan": _loops.coupled,
    "slice": _sliced,
    "sort": _sorted,
    "split": _split,
    "squeeze": _squeezed,
    "stop_gradient": _same,
    "transpose": _transposed,
}


def is_elementwise(step) -> bool:
    """Whether each entry of a result is made of one entry of each operand."""
    return step.name in ELEMENTWISE

