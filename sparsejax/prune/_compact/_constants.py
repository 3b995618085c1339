"""What of every array in a program is constant, whatever the data are.

A `Known` is as many axes as its array, each of full size or of size one where nothing
differs along it; so that activations cost no more than their units, and a batch of any
size the same.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np


class Known(NamedTuple):
    """Constants among the entries of an array.

    Attributes:
        value: the entries, 0 where they vary with the data.
        varies: which entries vary; of the shape of `value`.
    """

    value: np.ndarray
    varies: np.ndarray

    @property
    def nonzero(self) -> np.ndarray:
        """Where entries are not known to be zero."""
        return np.asarray(self.varies | (self.value != 0))


def unknown(ndim: int) -> Known:
    """An array of which everything varies."""
    return Known(np.zeros((1,) * ndim, np.float32), np.ones((1,) * ndim, bool))


def constant(array: Any) -> Known:
    """An array that is known."""
    try:
        value = np.asarray(array)
    except TypeError:  # a key
        return unknown(np.ndim(array))
    return Known(value, np.zeros(value.shape, bool))


def of_parts(value: Any, varies: Any) -> Known:
    """The constants of what varies in parts."""
    value, varies = np.broadcast_arrays(np.asarray(value), np.asarray(varies))
    if varies.size and varies.all():
        return unknown(varies.ndim)
    return Known(np.where(varies, np.zeros((), value.dtype), value), varies)


_NUMPY: dict[str, Callable] = {
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "exp2": np.exp2,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "sqrt": np.sqrt,
    "square": np.square,
    "copy": np.positive,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "not": np.invert,
    "is_finite": np.isfinite,
}


def elementwise(step, operands: Sequence[Known]) -> Known:
    """The constants of a result each of whose entries is made of one of each."""
    ndim = len(step.shape)
    operands = [_ranked(known, ndim) for known in operands]
    varies = np.zeros((1,) * ndim, bool)
    for known in operands:
        varies = varies | known.varies
    if step.name in ("mul", "and"):  # nothing times anything is nothing
        for known in operands:
            varies = varies & known.nonzero
    elif step.name in ("div", "sqrt"):
        varies = varies & operands[0].nonzero
    elif step.name == "select_n":
        return _selected(operands)
    if varies.all():
        return unknown(ndim)
    with np.errstate(all="ignore"):
        value = _apply(step, [known.value for known in operands])
    return of_parts(value.astype(step.dtype), varies)


def _ranked(known: Known, ndim: int) -> Known:
    """Scalars with as many axes as what they are put together with."""
    if known.value.ndim == ndim:
        return known
    shape = (1,) * ndim
    return Known(known.value.reshape(shape), known.varies.reshape(shape))


def _apply(step, values: list[np.ndarray]) -> np.ndarray:
    if step.name == "convert_element_type":
        return values[0].astype(step.dtype)
    if step.name in _NUMPY:
        return np.asarray(_NUMPY[step.name](*values))
    full = [jnp.asarray(value) for value in np.broadcast_arrays(*values)]
    return np.asarray(step.run(*full)[0])


def _selected(operands: Sequence[Known]) -> Known:
    which, *cases = operands
    index = which.value.astype(int)
    values = np.broadcast_arrays(index, *[case.value for case in cases])
    varying = np.broadcast_arrays(index != 0, *[case.varies for case in cases])
    value, varies = values[1], varying[1]
    alike = ~varies
    for k in range(2, len(cases) + 1):
        alike = alike & ~varying[k] & (values[k] == values[1])
        value = np.where(values[0] == k - 1, values[k], value)
        varies = np.where(values[0] == k - 1, varying[k], varies)
    return of_parts(value, np.where(which.varies, ~alike, varies))


def joined(known: Known, axes: Sequence[int]) -> Known:
    """What is the same all along some axes, which get size one."""
    axes = tuple(a for a in axes if known.value.shape[a] != 1)
    if not axes:
        return known
    if 0 in known.value.shape:
        return unknown(known.value.ndim)
    first = known.value[tuple(slice(0, 1) if a in axes else slice(None)
                              for a in range(known.value.ndim))]  # fmt: skip
    differs = (known.varies | (known.value != first)).any(axis=axes, keepdims=True)
    return of_parts(first, differs)


def expanded(known: Known, sizes: dict[int, int]) -> Known:
    """With some axes at full size, `{axis: size}`."""
    shape = [*known.value.shape]
    for axis, size in sizes.items():
        shape[axis] = size
    return Known(*(np.broadcast_to(array, shape) for array in known))


def maximum(known: Known, axes: Sequence[int]) -> Known:
    """`joined`, but for borders of minus infinity, which no maximum is."""
    axes = tuple(a for a in axes if known.value.shape[a] != 1)
    if not axes or 0 in known.value.shape:
        return joined(known, axes)
    largest = known.value.max(axis=axes, keepdims=True)
    other = (known.value != largest) & (known.value != -np.inf)
    return of_parts(largest, (known.varies | other).any(axis=axes, keepdims=True))


def reshaped(known: Known, shape: tuple[int, ...], groups, new: tuple) -> Known:
    """After a reshape from `shape` to `new`, in `groups` of axes before and after."""
    full, target = {}, list(new)
    for before, after in groups:
        whole = any(known.value.shape[a] != 1 for a in before)
        for a in before:
            full[a] = shape[a] if whole else 1
        for b in after:
            target[b] = new[b] if whole else 1
    return Known(*(array.reshape(target) for array in expanded(known, full)))


def mapped(known: Known, function: Callable[[np.ndarray], np.ndarray]) -> Known:
    """After a step that moves entries."""
    return Known(*map(function, known))


def concatenated(parts: Sequence[Known], sizes: Sequence[int], axis: int) -> Known:
    """Arrays of those sizes along an axis one after the other."""
    parts = [expanded(part, {axis: n}) for part, n in zip(parts, sizes, strict=True)]
    shape = [max(part.value.shape[a] for part in parts)
             for a in range(parts[0].value.ndim)]  # fmt: skip
    shape = [1 if a == axis else n for a, n in enumerate(shape)]
    full = [
        [np.broadcast_to(array, [n if a == axis else side
                                 for a, side in enumerate(shape)])
         for array in part]
        for part, n in zip(parts, sizes, strict=True)
    ]  # fmt: skip
    value, varies = (np.concatenate(arrays, axis) for arrays in zip(*full, strict=True))
    return of_parts(value, varies)


_REDUCED: dict[str, Callable] = {
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_and": np.all,
    "reduce_or": np.any,
}


def zeros(known: Known, axes: Sequence[int]) -> Known:
    """What stays zero along some axes; all else varies."""
    there = known.nonzero.any(axis=tuple(axes), keepdims=True)
    return of_parts(np.zeros(there.shape, known.value.dtype), there)


def reduced(step, known: Known, shape: tuple[int, ...]) -> Known:
    """The constants of a sum, maximum and so on over axes."""
    axes = tuple(int(a) for a in step.params["axes"])
    if 0 in known.value.shape:
        return unknown(len(step.shape))
    varies = known.varies.any(axis=axes)
    if step.name == "reduce_sum":
        count = np.prod([shape[a] for a in axes if known.value.shape[a] == 1])
        value = known.value.sum(axis=axes) * count
    elif step.name in _REDUCED:
        value = _REDUCED[step.name](known.value, axis=axes)
    else:
        return unknown(len(step.shape))
    return of_parts(np.asarray(value).astype(step.dtype), varies)


def multiplied(step, a: Known, b: Known, shape: tuple[int, ...]) -> Known:
    """The constants of a `dot_general` whose left operand has a shape."""
    (left, right), batch = step.params["dimension_numbers"]
    repeats = 1
    for i, j in zip(left, right, strict=True):
        size = max(a.value.shape[i], b.value.shape[j])
        repeats *= shape[i] // max(size, 1)  # the same along the whole axis
        a, b = expanded(a, {i: size}), expanded(b, {j: size})
    first, second = _matrices(a, left, batch[0]), _matrices(b, right, batch[1])

    def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.matmul(first.array(x), second.array(y).swapaxes(-1, -2))

    varies = product(a.varies, b.nonzero) | product(a.nonzero, b.varies)
    sides = np.broadcast_shapes(first.lead, second.lead)
    out = (*sides, *first.rows, *second.rows)
    if varies.all():
        return unknown(len(out))
    with np.errstate(all="ignore"):
        value = (product(a.value, b.value) * repeats).astype(step.dtype)
    return of_parts(value.reshape(out), varies.reshape(out))


class _Matrices(NamedTuple):
    """How an operand is read as a stack of matrices (what stays, what is summed)."""

    axes: tuple[int, ...]
    lead: tuple[int, ...]
    rows: tuple[int, ...]
    columns: int

    def array(self, array: np.ndarray) -> np.ndarray:
        moved = array.transpose(self.axes)
        return moved.reshape(*self.lead, math.prod(self.rows), self.columns)


def _matrices(known: Known, over, batch) -> _Matrices:
    shape = known.value.shape
    free = [i for i in range(len(shape)) if i not in (*over, *batch)]
    axes = tuple(int(i) for i in (*batch, *free, *over))
    lead, rows = tuple(shape[i] for i in batch), tuple(shape[i] for i in free)
    return _Matrices(axes, lead, rows, math.prod(shape[i] for i in over))
