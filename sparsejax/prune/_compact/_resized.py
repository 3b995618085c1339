"""Steps whose parameters hold shapes or positions, on smaller arrays."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax.prune._compact import _moves as moves
from sparsejax.prune._compact._plans import Axes, take


def rule(name: str) -> Callable[..., list] | None:
    """How a primitive runs, if not as it is."""
    return _RULES.get(name)


def _resized(step, arrays, plan, shape) -> list:
    return step.run(*arrays, shape=shape)


def _reshaped(step, arrays, plan, shape) -> list:
    return step.run(*arrays, new_sizes=shape)


def _numbered(step, arrays, plan, shape) -> list:
    return [take(step.run()[0], plan.results[0])]


def _convolved(step, arrays, plan, shape) -> list:
    image, kernel = arrays
    if 0 in image.shape or 0 in kernel.shape:
        return [jnp.zeros(shape, step.dtype)]
    numbers = step.params["dimension_numbers"]
    channels = image.shape[numbers.lhs_spec[1]]
    groups = channels // kernel.shape[numbers.rhs_spec[1]]
    return step.run(image, kernel, feature_group_count=groups)


def _positions(kept: np.ndarray | None, part: slice, stays) -> np.ndarray | None:
    """Where in a smaller axis the kept positions of a part of it are."""
    if kept is None:
        return None
    index = np.arange(kept.size)[part]
    index = index if stays is None else index[stays]
    return (np.cumsum(kept) - 1)[index]


def _cut(array, parts: Sequence[slice], kept: Axes, result: Axes):
    """A part of a smaller array."""
    triples = list(zip(kept, parts, result, strict=True))
    places = [_positions(*triple) for triple in triples]
    whole = [part if where is None else slice(None)
             for part, where in zip(parts, places, strict=True)]  # fmt: skip
    array = array[tuple(whole)]
    for axis, where in enumerate(places):
        if where is None:
            continue
        if where.size and np.array_equal(where, where[0] + np.arange(where.size)):
            array = jax.lax.slice_in_dim(
                array, int(where[0]), int(where[-1]) + 1, axis=axis
            )
        else:
            array = jnp.take(array, where, axis=axis)
    return array


def _sliced(step, arrays, plan, shape) -> list:
    parts = moves.sliced(step)
    return [_cut(arrays[0], parts, plan.operands[0], plan.results[0])]


def _split(step, arrays, plan, shape) -> list:
    axis, start, outs = step.params["axis"], 0, []
    for size, result in zip(step.params["sizes"], plan.results, strict=True):
        kept = [None if a != axis else own for a, own in enumerate(plan.operands[0])]
        parts = [slice(None)] * len(kept)
        parts[axis] = slice(start, start + size)
        outs.append(_cut(arrays[0], parts, tuple(kept), result))
        start += size
    return outs


def _padded(step, arrays, plan, shape) -> list:
    config = []
    for (low, high, inner), stays in zip(
        step.params["padding_config"], plan.results[0], strict=True
    ):
        if stays is not None:
            low, high = int(stays[:low].sum()), int(stays[stays.size - high :].sum())
        config.append((low, high, inner))
    return step.run(*arrays, padding_config=tuple(config))


def _gathered(step, arrays, plan, shape) -> list:
    sizes = step.params["slice_sizes"]
    pairs = zip(sizes, plan.operands[0], strict=True)
    sizes = tuple(n if stays is None else int(stays.sum()) for n, stays in pairs)
    return step.run(*arrays, slice_sizes=sizes)


def _dynamically_sliced(step, arrays, plan, shape) -> list:
    return step.run(*arrays, slice_sizes=shape)


_RULES = {
    "broadcast_in_dim": _resized,
    "conv_general_dilated": _convolved,
    "dynamic_slice": _dynamically_sliced,
    "gather": _gathered,
    "iota": _numbered,
    "pad": _padded,
    "reshape": _reshaped,
    "slice": _sliced,
    "split": _split,
}
