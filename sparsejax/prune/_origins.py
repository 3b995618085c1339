"""Which unit each element of an array comes from, and each kernel entry multiplies.

An origin is an array of integers in place of the array itself: numbers of units,
`OTHER` for elements that come from none of them, `ZERO` for those that are always zero,
as padding. All of it is known while a function is traced.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax.interpret import primitives as families

OTHER, ZERO = -1, -2
# Run on origins, which are no places.
MOVES = families.MOVES - families.PLACED
# Along an axis, sums hold more and more units.
POOLS = families.SUMS - {"cumsum"}


def moved(step, origins: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The origins of the results of a step in `MOVES`."""
    with jax.ensure_compile_time_eval():
        results = step.run(*[jnp.asarray(origin, jnp.int32) for origin in origins])
        return [np.asarray(array) for array in results]


def pooled(step, origin: np.ndarray) -> np.ndarray | None:
    """That of the result of a step in `POOLS`; None if it adds different units up."""
    if step.name == "reduce_sum":
        kept = [a for a in range(origin.ndim) if a not in step.params["axes"]]
        return _along(origin, kept)
    sizes = zip(step.params["window_dimensions"], origin.shape, step.shape, strict=True)
    kept = [a for a, (w, old, new) in enumerate(sizes) if w == 1 and old == new]
    unit = _along(origin, kept)
    return None if unit is None else _spread(unit, kept, step.shape)


def multiplied(step, origin, side: int, shape: tuple[int, ...]) -> np.ndarray | None:
    """The unit that every entry of a kernel multiplies; None if that is several.

    Args:
        step: a dot product or a convolution.
        origin: of the operand that is no kernel.
        side: which operand that is.
        shape: of the kernel.
    """
    numbers = step.params["dimension_numbers"]
    if step.name == "dot_general":
        contracted, batch = numbers
        axes = (*batch[1 - side], *contracted[1 - side])
        unit = _along(origin, (*batch[side], *contracted[side]))
    elif side or step.params["batch_group_count"] > 1:
        return None
    else:
        axes = numbers.rhs_spec[:2]
        unit = _along(origin, numbers.lhs_spec[1:2])
        if unit is not None:
            outputs, inputs = (shape[a] for a in axes)
            groups = step.params["feature_group_count"]
            group = np.arange(outputs)[:, None] * groups // outputs
            unit = unit[group * inputs + np.arange(inputs)]
    return None if unit is None else np.maximum(_spread(unit, axes, shape), OTHER)


def _along(origin: np.ndarray, axes: Sequence[int]) -> np.ndarray | None:
    """The units along some axes, in that order; None if they vary along others too."""
    whole = [a in axes or stride != 0 for a, stride in enumerate(origin.strides)]
    origin = origin[tuple(slice(None) if w else slice(1) for w in whole)]  # no copies
    shape = [origin.shape[a] for a in axes]
    rest = origin.size // max(math.prod(shape), 1)
    table = np.moveaxis(origin, axes, range(len(shape))).reshape(*shape, rest)
    unit = table.max(axis=-1, initial=ZERO)
    same = (table == unit[..., None]) | (table == ZERO)
    return unit if same.all() else None


def _spread(unit: np.ndarray, axes: Sequence[int], shape) -> np.ndarray:
    """An array of a shape that varies along some axes alone: `_along` undone."""
    sides = [size if a in axes else 1 for a, size in enumerate(shape)]
    return np.broadcast_to(unit.transpose(np.argsort(axes)).reshape(sides), shape)
