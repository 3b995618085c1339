"""How the error of a layer grows with changes of its weights: H = 2 mean(x x').

The mean squared change of what a layer computes is a quadratic form in the change of
its weights, the same for all its outputs, and the inputs x of the layer are all that
it takes. `prune.obs` needs nothing else, so inputs can come in batches: their sums of
products are added, every row with the same weight, however many a batch has.

A convolution multiplies patches: `patches` cuts them out, a row for every place.
"""

import itertools as it
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import ArrayLike, Float

from sparsejax import checks

# Elements of inputs that are turned into float64 at once, on the host.
_CHUNK = 1 << 23


class Hessian(NamedTuple):
    """What was seen of a layer's inputs.

    Attributes:
        products: sum of x x' over rows, shape (inputs, inputs), or with a leading axis
            of groups.
        rows: how many rows there were.
    """

    products: Any
    rows: Any


def hessian(inputs: ArrayLike | Any) -> Hessian:
    """Sums of products of a layer's inputs, x x' over all rows.

    In float64 on the host; inside `jit` and `vmap` in the precision of the inputs,
    float32 at least, without a check for NaN; squares that are below its range, of
    inputs below 1e-19 in float32, are zeros there.

    Args:
        inputs: of a dense layer, shape (rows, inputs); of a convolution `patches`,
            shape (groups, rows, inputs).

    Raises:
        ValueError: for another number of axes, no rows, and values that are not finite.

    Example:
        >>> x = np.array([[1, 2], [3, 0], [0, 1]])
        >>> state = accumulate(hessian(x[:1]), x[1:])
        >>> state.products.tolist(), state.rows
        ([[10.0, 2.0], [2.0, 5.0]], 3)
    """
    traced = isinstance(inputs, Tracer)
    if not checks.is_array(inputs) or jnp.iscomplexobj(inputs):
        raise ValueError(
            f"inputs must be one array of real numbers, got {checks.described(inputs)}"
        )
    x = inputs if traced else np.asarray(inputs)
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise ValueError(
            "inputs must have shape (rows, inputs), or (groups, rows, inputs) as from "
            f"prune.patches, with no axis empty; got {x.shape}"
        )
    rows = x.shape[-2]
    if traced:
        wide = x.dtype in (jnp.float32, jnp.float64)
        x = x if wide else x.astype(jnp.float32)
        product = jnp.einsum("...ni,...nj->...ij", x, x, precision="highest")
        return Hessian(product, jnp.asarray(rows, jnp.int32))
    products = np.zeros((*x.shape[:-2], x.shape[-1], x.shape[-1]))
    for part in np.array_split(x, -(-x.size // _CHUNK), axis=-2):
        part = part.astype(np.float64)
        if bad := np.count_nonzero(~np.isfinite(part)):
            raise ValueError(
                f"inputs must be finite; {bad} of {part.size} values are NaN or "
                "infinite: look at the activations that this layer reads"
            )
        products += part.swapaxes(-1, -2) @ part
    return Hessian(products, rows)


def accumulate(state: Hessian | Any, inputs: ArrayLike | Any) -> Hessian:
    """`hessian` of all rows so far and these: batches of any sizes, in any order.

    Raises:
        ValueError: as `hessian` does, and for inputs of another shape than before.

    Example:
        >>> state = hessian(np.array([[1.0, 2.0]]))
        >>> state = accumulate(state, np.array([[3.0, 0.0], [0.0, 1.0]]))
        >>> state.products.tolist(), state.rows
        ([[10.0, 2.0], [2.0, 5.0]], 3)
    """
    if not isinstance(state, Hessian):
        raise ValueError(f"state is {checks.described(state)}, expected a Hessian")
    new = hessian(inputs)
    if new.products.shape != jnp.shape(state.products):
        raise ValueError(
            f"inputs of shape {jnp.shape(inputs)} do not continue a Hessian of shape "
            f"{jnp.shape(state.products)}"
        )
    old = state.products
    if isinstance(new.products, Tracer):
        old = jnp.asarray(old, new.products.dtype)
    elif not isinstance(old, Tracer):
        old = np.asarray(old, np.float64)
    return Hessian(old + new.products, state.rows + new.rows)


def patches(
    x: ArrayLike | Any,
    kernel_shape: Iterable[int],
    *,
    strides: int | Iterable[int] | Any = 1,
    padding: str | Iterable[Iterable[int]] | Any = "SAME",
    dilation: int | Iterable[int] | Any = 1,
) -> Float[jax.Array, "groups rows inputs"]:
    """What a convolution multiplies its kernel with, a row for every place.

    `patches(x, kernel.shape)[g] @ kernel.reshape(-1, outputs)` are the outputs of the
    g-th group (of its slice of the outputs). Images may be cut inside `jit`.

    Args:
        x: images, shape (samples, height, width, channels), or with any other number of
            spatial axes.
        kernel_shape: (height, width, inputs, outputs); `channels / inputs` groups.
        strides: of the convolution, a number or one for each spatial axis.
        padding: "SAME", "VALID", or (before, after) for each spatial axis.
        dilation: of the kernel.

    Returns:
        Shape (groups, samples * places, height * width * inputs).

    Raises:
        ValueError: if images and kernel do not fit.

    Example:
        >>> x = np.arange(6.0).reshape(1, 2, 3, 1)
        >>> patches(x, (2, 2, 1, 1), padding="VALID")[0].tolist()
        [[0.0, 1.0, 3.0, 4.0], [1.0, 2.0, 4.0, 5.0]]
    """
    if not checks.is_array(x):
        raise ValueError(f"images are one array, got {checks.described(x)}")
    x, kernel_shape = jnp.asarray(x), tuple(kernel_shape)
    if len(kernel_shape) < 2:
        raise ValueError(f"{kernel_shape} is not the shape of a kernel")
    *taps, inputs, outputs = kernel_shape
    if x.ndim != len(taps) + 2 or not inputs or x.shape[-1] % inputs:
        raise ValueError(
            f"images of shape {x.shape} do not fit a kernel of shape "
            f"{kernel_shape}: they need {len(taps)} spatial axes, and a "
            f"multiple of {inputs} channels last"
        )
    groups = x.shape[-1] // inputs
    if outputs % groups:
        raise ValueError(f"{outputs} outputs cannot be divided into {groups} groups")
    strides = _each("strides", strides, len(taps))
    dilation = _each("dilation", dilation, len(taps))
    spans = [(n - 1) * d + 1 for n, d in zip(taps, dilation, strict=True)]
    padding = _around(padding, x.shape[1:-1], spans, strides)
    x = jnp.pad(x, [(0, 0), *padding, (0, 0)])
    sizes = [n - span for n, span in zip(x.shape[1:-1], spans, strict=True)]
    if min(sizes, default=0) < 0:
        raise ValueError(
            f"a kernel that spans {tuple(spans)} does not fit into padded images of "
            f"{x.shape[1:-1]}"
        )

    def cut(tap):
        at = [i * d for i, d in zip(tap, dilation, strict=True)]
        places = zip(at, sizes, strides, strict=True)
        return x[(slice(None), *(slice(i, i + n + 1, s) for i, n, s in places))]

    # (samples, places, taps, channels), of which each group reads a slice
    views = jnp.stack([cut(tap) for tap in it.product(*map(range, taps))], axis=-2)
    rows = math.prod(views.shape[:-2])
    views = views.reshape(rows, math.prod(taps), groups, inputs)
    return views.transpose(2, 0, 1, 3).reshape(groups, rows, -1)


def _each(name: str, numbers, axes: int) -> list[int]:
    """One whole number for every axis."""
    found = checks.sizes(numbers, name)
    if len(found) not in (1, axes):
        raise ValueError(f"{name} is {found}; expected one, or one for each of {axes}")
    return [*found] * (axes if len(found) == 1 else 1)


def _around(padding, sides, spans, strides) -> list[tuple[int, int]]:
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        return [*jax.lax.padtype_to_pads(sides, spans, strides, padding.upper())]
    pairs = [checks.several(pair) for pair in checks.several(padding)]
    if len(pairs) != len(sides) or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            "padding must be 'SAME', 'VALID', or (before, after) for each of "
            f"{len(sides)} axes, got {pairs}"
        )
    return pairs
