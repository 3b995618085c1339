"""How easy a unit's weights are to read: how few of them hold how much of it.

Of kernels and of expanded weights, for all units at once; `vmap` over stacked masks
works as everywhere. Against the share of weights that are left it is the answer to
whether sparse networks are easier to read.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from sparsejax import checks, masks, pages, trees
from sparsejax.weights._expanded import Expanded


class Statistics(NamedTuple):
    """Of every unit; a unit without weights has zeros throughout.

    Attributes:
        norm: of its weights.
        inputs: the smallest number of input channels that hold a share of its squared
            norm.
        participation: (sum w^2)^2 / sum w^4, which is k for k weights of equal size.
        live: weights, or paths, that are not zero.
        cancellation: the part of all paths that opposite ones cancel, 1 - sum |E| /
            sum (E+ + E-), from 0 to 1; 0 for a kernel, whose weights are its paths.
    """

    norm: Float[Array, " units"]
    inputs: Int[Array, " units"]
    participation: Float[Array, " units"]
    live: Float[Array, " units"]
    cancellation: Float[Array, " units"]

    @pages.display
    def _repr_html_(self) -> str:
        fields = [np.asarray(field).tolist() for field in self]
        rows = [(i, *unit) for i, unit in enumerate(zip(*fields, strict=True))]
        header = ("unit", *self._fields)
        return pages.output(pages.listing(rows, header, title="Readability of units"))


def statistics(
    kernel: ArrayLike | Expanded | Any,
    *,
    share: float | int | Any = 0.9,
) -> Statistics:
    """Statistics of readability of every unit of a kernel.

    Args:
        kernel: shape (*places, channels, units), multiplied by its mask if it has one;
            or expanded weights with their parts (`expand(..., split=True)`).
        share: of the squared norm, in (0, 1].

    Returns:
        `Statistics`, arrays of shape (units,).

    Raises:
        ValueError: for a share out of range, a kernel of fewer than two axes or not of
            real numbers, and expanded weights without parts.

    Example:
        >>> kernel = jnp.array([[2.0, 0.0], [2.0, 0.0], [0.5, 0.0]])
        >>> found = statistics(kernel)
        >>> found.inputs.tolist(), found.live.tolist()
        ([2, 0], [3.0, 0.0])
    """
    number = isinstance(share, float | int | np.number) and not isinstance(share, bool)
    if not number or not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share!r}")
    if isinstance(kernel, Expanded):
        if kernel.positive is None or kernel.negative is None or kernel.paths is None:
            raise ValueError("these expanded weights have no parts: pass split=True")
        w, live = kernel.weights, _over_inputs(kernel.paths)
        whole = _over_inputs(kernel.positive + kernel.negative)
        kept = _over_inputs(jnp.abs(w)) / jnp.where(whole > 0, whole, 1)
        cancellation = jnp.where(whole > 0, jnp.clip(1 - kept, 0, 1), 0)
    else:
        checks.array(kernel, "kernel", floating=True)
        w = jnp.asarray(kernel)
        if w.ndim < 2:
            raise ValueError(
                f"a kernel has shape (..., channels, units), got {w.shape}"
            )
        # By bits but the sign: XLA takes numbers below the normal range for zeros.
        bits = w.view(f"uint{8 * w.dtype.itemsize}") << 1
        live = _over_inputs((bits != 0).astype(jnp.int32)).astype(_wide(w))
        cancellation = jnp.zeros_like(live)
    norm, inputs, participation = _of_weights(w, share)
    return Statistics(norm, inputs, participation, live, cancellation)


def by_layer(
    params: PyTree, mask: PyTree, *, share: float | int | Any = 0.9
) -> dict[str, Statistics]:
    """Statistics of every kernel of a masked network.

    Args:
        params: parameters.
        mask: a tree like `Masks.weights`; its leaves of two axes or more are kernels.
            What it removes does not matter, even if it is NaN.
        share: as in `statistics`.

    Returns:
        `{path: Statistics}`.

    Raises:
        ValueError: if the mask does not fit the parameters, or has no kernels.

    Example:
        >>> params = {"kernel": jnp.array([[2.0], [2.0], [7.0]]), "bias": jnp.ones(1)}
        >>> mask = {"kernel": jnp.array([[1.0], [1.0], [0.0]]), "bias": jnp.ones(())}
        >>> {path: s.inputs.tolist() for path, s in by_layer(params, mask).items()}
        {'kernel': [2]}
    """
    checks.arrays(params)
    pruned = trees.by_path(masks.apply(params, mask))
    shapes = {path: jnp.ndim(leaf) for path, leaf in trees.by_path(mask).items()}
    kernels = {path: pruned[path] for path, axes in shapes.items() if axes >= 2}
    if not kernels:
        raise ValueError(
            f"the mask has no kernels: none of {trees.listed(shapes)} has two axes"
        )
    return {path: statistics(leaf, share=share) for path, leaf in kernels.items()}


def _wide(w):
    """The type of counts: exact up to 2^24."""
    return w.dtype if w.dtype.itemsize > 2 else jnp.float32


def _over_inputs(w):
    return w.sum(tuple(range(w.ndim - 1)))


@jax.jit
def _of_weights(w, share):
    """Norms, inputs and participation."""
    size = jnp.abs(w).max(tuple(range(w.ndim - 1)))
    scaled = w / jnp.where(size > 0, size, 1)  # so that fourth powers are not lost
    squares = jnp.square(scaled)
    second, fourth = _over_inputs(squares), _over_inputs(jnp.square(squares))
    participation = jnp.square(second) / jnp.where(fourth > 0, fourth, 1)
    held = squares.sum(tuple(range(w.ndim - 2)))
    held = jnp.cumsum(-jnp.sort(-held, axis=0), axis=0)
    inputs = jnp.where(held[-1] > 0, 1 + (held < share * held[-1]).sum(0), 0)
    return size * jnp.sqrt(second), inputs, participation
