"""The rule of `_coupling` for every primitive that has one."""

from collections.abc import Callable

import numpy as np

from sparsejax.interpret import primitives
from sparsejax.prune._compact import _constants as constants
from sparsejax.prune._compact import _lookups as lookups
from sparsejax.prune._compact import _loops as loops
from sparsejax.prune._compact import _moves as moves
from sparsejax.prune._compact import _sums as sums
from sparsejax.prune._compact._values import result

_RUNNING = ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
_WINDOWS = ("reduce_window_sum", "reduce_window_max", "reduce_window_min")


def rule(name: str) -> Callable[..., list | None] | None:
    """The rule of a primitive, if there is one."""
    return elementwise if name in primitives.ELEMENTWISE else _RULES.get(name)


def elementwise(coupling, step, operands) -> list:
    full = [value for value in operands if len(value.ids) == len(step.shape)]
    known = constants.elementwise(step, [value.known for value in operands])
    return result(step, coupling.together(step, full), known)


def _name(coupling, step, operands) -> list:
    """A named activation, times its mask."""
    (value,) = operands
    name = step.params["name"]
    if name in coupling.nodes:
        mask = np.asarray(coupling.nodes[name])
        _check(name, mask, value.shape)
        mask = mask.reshape((1,) * (len(value.ids) - mask.ndim) + mask.shape)
        varies = value.known.varies & (mask != 0)
        product = np.where(mask == 0, 0, value.known.value * mask)
        known = constants.of_parts(product.astype(value.dtype), varies)
        value = value._replace(known=known)
    coupling.named[name] = value
    return [value]


def _check(name: str, mask: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse a mask that does not broadcast to its activation from the right."""
    sizes = shape[len(shape) - mask.ndim :] if mask.ndim <= len(shape) else None
    pairs = zip(mask.shape, sizes or (), strict=False)
    if sizes is None or not all(own in (1, size) for own, size in pairs):
        raise ValueError(
            f"masks.nodes[{name!r}] has shape {mask.shape}; expected one that "
            f"broadcasts to {shape} from the right, such as {shape[-1:]} for units"
        )


def _numbered(coupling, step, operands) -> list:
    ids = [coupling.slices.fresh(n) for n in step.shape]
    axis = step.params["dimension"]
    sides = [1] * len(ids)
    sides[axis] = -1
    known = constants.constant(np.arange(step.shape[axis]).reshape(sides))
    return result(step, ids, known)


def _same(coupling, step, operands) -> list:
    """Values as they are."""
    return list(operands)


_RULES = {
    "broadcast_in_dim": moves.broadcast,
    "concatenate": moves.concatenated,
    "conv_general_dilated": sums.convolved,
    "dot_general": sums.multiplied,
    "dynamic_slice": lookups.dynamically_sliced,
    "dynamic_update_slice": lookups.dynamically_updated,
    "gather": lookups.gathered,
    "iota": _numbered,
    "name": _name,
    "optimization_barrier": _same,
    "pad": moves.padded,
    "reshape": moves.reshaped,
    "rev": moves.reversed,
    "scan": loops.coupled,
    "slice": moves.cut,
    "sort": lookups.sorted,
    "split": moves.split,
    "squeeze": moves.squeezed,
    "stop_gradient": _same,
    "transpose": moves.transposed,
    **dict.fromkeys([*primitives.REDUCTIONS, "argmax", "argmin"], sums.reduced),
    **dict.fromkeys(_RUNNING, sums.accumulated),
    **dict.fromkeys(_WINDOWS, sums.windows),
}
