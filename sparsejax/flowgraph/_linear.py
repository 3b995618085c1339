"""What linear primitives do to arrays of affine forms: sums, products, convolutions.

Each is a product with a sparse matrix, made of the weights that are not zero, and makes
no nodes; where both factors depend on the input, products of two numbers do. Rules as
in `_rules`.
"""

import dataclasses
import itertools as it
import math

import numpy as np

from sparsejax.flowgraph import _forms
from sparsejax.flowgraph._forms import Forms


def add(tracer, step, arguments) -> list:
    a, b = tracer.together(step, arguments)
    return [_forms.add(a, b)]


def sub(tracer, step, arguments) -> list:
    a, b = tracer.together(step, arguments)
    return [_forms.add(a, _forms.scale(b, -np.ones(len(b.const))))]


def neg(tracer, step, arguments) -> list:
    (x,) = arguments
    return [_forms.scale(x, -np.ones(len(x.const)))]


def mul(tracer, step, arguments) -> list:
    """Where one factor is a number the product is linear; elsewhere a node."""
    # whether it makes nodes or not, which depends on weights: keys must not
    two = all(isinstance(argument, Forms) for argument in arguments)
    layer = tracer.layer("mul") if two else None
    a, b = tracer.together(step, arguments)
    fixed_a, fixed_b = a.terms == 0, b.terms == 0
    linear = fixed_a | fixed_b
    factors = np.where(fixed_b, b.const, np.where(fixed_a, a.const, 0.0))
    tracer.check(step, "a factor", factors)
    # rows of the other factor: a's where b is a number
    other = _forms.take(
        [a, b], np.arange(a.const.size) + np.where(fixed_b, 0, a.const.size)
    )
    result = _forms.scale(dataclasses.replace(other, shape=a.shape), factors)
    if linear.all():
        return [result]
    rest = (~linear).astype(float)  # the other rows are 0 * 0 here, and no nodes
    pair = [_forms.scale(a, rest), _forms.scale(b, rest)]
    return [_forms.add(result, tracer.apply(step, "mul", pair, layer))]


def div(tracer, step, arguments) -> list:
    x, y = arguments
    if isinstance(y, Forms):
        return [tracer.apply(step, "div", tracer.together(step, arguments))]
    divisor = np.asarray(y, np.float64)
    if not divisor.all():
        raise tracer.error(step, "divides by a constant that is 0")
    inverse = 1 / divisor
    return mul(tracer, step, [x, inverse])


def reduce_sum(tracer, step, arguments) -> list:
    (x,) = arguments
    members = groups(x, step.params["axes"])
    return [_sums(tracer, step, x, members)]


def cumsum(tracer, step, arguments) -> list:
    (x,) = arguments
    axis, index = step.params["axis"], x.index
    index = np.moveaxis(index, axis, -1)
    n = index.shape[-1]
    tracer.room(step, n * index.size)
    back = step.params["reverse"]
    seen = np.triu(np.ones((n, n), bool)) if back else np.tril(np.ones((n, n), bool))
    groups = np.where(seen, index[..., None, :], -1)
    return [_sums(tracer, step, x, np.moveaxis(groups, -2, axis))]


def reduce_window_sum(tracer, step, arguments) -> list:
    (x,) = arguments
    return [_sums(tracer, step, x, windows(tracer, step, x))]


def dot_general(tracer, step, arguments) -> list:
    a, b = arguments
    (sum_a, sum_b), (batch_a, batch_b) = step.params["dimension_numbers"]
    if isinstance(a, Forms) and isinstance(b, Forms):
        return [_dot_of_two(tracer, step, a, b)]
    left = _matrices(_index(a), batch_a, sum_a)
    right = _matrices(_index(b), batch_b, sum_b)
    out = np.arange(math.prod(step.shape)).reshape(
        left.shape[0], left.shape[1], right.shape[1]
    )
    if isinstance(a, Forms):
        x, moving, weights = a, left, np.asarray(b, np.float64).reshape(-1)[right]
    else:
        x, moving, weights = b, right, np.asarray(a, np.float64).reshape(-1)[left]
        out = np.swapaxes(out, 1, 2)
    tracer.check(step, "a weight", weights)
    batch, column, term = np.nonzero(weights)
    tracer.room(step, len(term) * moving.shape[1])
    source = moving[batch, :, term]
    values = np.broadcast_to(weights[batch, column, term][:, None], source.shape)
    kernel = _forms.kernel(
        [out[batch, :, column]], [source], [values], out.size, len(x.const)
    )
    return [tracer.product(step, kernel, x)]


def conv_general_dilated(tracer, step, arguments) -> list:
    x, weights = arguments
    params = step.params
    if isinstance(weights, Forms):
        raise tracer.error(step, "convolves with a kernel that depends on the input")
    if params["batch_group_count"] != 1:
        raise tracer.error(step, "has batch groups, which no layer has")
    spec = params["dimension_numbers"]
    index = np.transpose(x.index, spec.lhs_spec)  # (batch, channel, *space)
    weights = np.transpose(np.asarray(weights, np.float64), spec.rhs_spec)
    tracer.check(step, "a weight", weights)
    out = np.transpose(
        np.arange(math.prod(step.shape)).reshape(step.shape), spec.out_spec
    )
    groups = params["feature_group_count"]
    per_group = weights.shape[0] // groups
    tracer.room(step, int(np.count_nonzero(weights)) * out[0, 0].size * len(out))
    rows, columns, values = [], [], []
    shifts = _shifts(
        index,
        (1, 1, *weights.shape[2:]),
        (1, 1, *params["window_strides"]),
        ((0, 0), (0, 0), *params["padding"]),
        (1, 1, *params["lhs_dilation"]),
        (1, 1, *params["rhs_dilation"]),
    )
    for offset, image in shifts:
        unit, channel = np.nonzero(weights[(slice(None), slice(None), *offset[2:])])
        source = image[:, unit // per_group * weights.shape[1] + channel]
        rows.append(out[:, unit])
        columns.append(source)
        factors = weights[(unit, channel, *offset[2:])]
        spread = factors.reshape(1, -1, *(1 for _ in offset[2:]))
        values.append(np.broadcast_to(spread, source.shape))
    kernel = _forms.kernel(rows, columns, values, out.size, len(x.const))
    return [tracer.product(step, kernel, x)]


def groups(x: Forms, axes) -> np.ndarray:
    """Positions of the elements that a reduction takes together, `(*rest, members)`."""
    kept = [a for a in range(len(x.shape)) if a not in axes]
    index = np.transpose(x.index, (*kept, *axes))
    return index.reshape(*(x.shape[a] for a in kept), -1)


def windows(tracer, step, x: Forms) -> np.ndarray:
    """Positions of the elements in every window, -1 for padding."""
    params = step.params
    tracer.room(step, math.prod((*step.shape, *params["window_dimensions"])))
    images = [
        image
        for _, image in _shifts(
            x.index,
            params["window_dimensions"],
            params["window_strides"],
            params["padding"],
            params["base_dilation"],
            params["window_dilation"],
        )
    ]
    return np.stack(images, axis=-1)


def _shifts(index, window, strides, padding, base_dilation, window_dilation):
    """For every place in a window, the element that is there, over all windows."""
    shape = [(n - 1) * d + 1 if n else 0 for n, d in zip(index.shape, base_dilation)]
    wide = np.full(shape, -1)
    wide[tuple(slice(None, None, d) for d in base_dilation)] = index
    wide = np.pad(
        wide, [(max(a, 0), max(b, 0)) for a, b in padding], constant_values=-1
    )
    crop = [slice(max(-a, 0), n - max(-b, 0))
            for (a, b), n in zip(padding, wide.shape)]  # fmt: skip
    wide = wide[tuple(crop)]
    reach = [(k - 1) * d + 1 for k, d in zip(window, window_dilation)]
    counts = [max((n - r) // s + 1, 0) for n, r, s in zip(wide.shape, reach, strides)]
    for offset in it.product(*map(range, window)):
        starts = [o * d for o, d in zip(offset, window_dilation)]
        yield offset, wide[tuple(
            slice(a, a + s * (n - 1) + 1 if n else a, s)
            for a, s, n in zip(starts, strides, counts)
        )]  # fmt: skip


def _sums(tracer, step, x: Forms, groups: np.ndarray) -> Forms:
    rows = np.arange(math.prod(groups.shape[:-1]))
    rows = np.broadcast_to(rows[:, None], (len(rows), groups.shape[-1]))
    tracer.room(step, rows.size)
    kernel = _forms.kernel(
        [rows], [groups.reshape(rows.shape)], [np.ones(rows.shape)],
        len(rows), len(x.const),
    )  # fmt: skip
    return tracer.product(step, kernel, x)


def _matrices(index: np.ndarray, batch, contracted) -> np.ndarray:
    """An operand of a product as `(batch, free, contracted)`."""
    free = [a for a in range(index.ndim) if a not in (*batch, *contracted)]

    def size(axes):
        return math.prod(index.shape[a] for a in axes)

    moved = np.transpose(index, (*batch, *free, *contracted))
    return moved.reshape(size(batch), size(free), size(contracted))


def _dot_of_two(tracer, step, a: Forms, b: Forms) -> Forms:
    """A product of two arrays that both depend on the input: a node for each factor."""
    (sum_a, sum_b), (batch_a, batch_b) = step.params["dimension_numbers"]
    left = _matrices(a.index, batch_a, sum_a)[:, :, None, :]
    right = _matrices(b.index, batch_b, sum_b)[:, None, :, :]
    left, right = np.broadcast_arrays(left, right)
    tracer.room(step, left.size)
    pairs = [_forms.take([a], left), _forms.take([b], right)]
    (products,) = mul(tracer, step._replace(shape=left.shape), pairs)
    groups = products.index.reshape(-1, left.shape[-1])
    sums = _sums(tracer, step, products, groups)
    return dataclasses.replace(sums, shape=step.shape)


def _index(array) -> np.ndarray:
    """The flat position of every element."""
    return np.arange(math.prod(array.shape)).reshape(array.shape)
