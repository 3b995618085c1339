"""What the output loses when a window of the input is hidden.

No gradient is needed and none is trusted: the answer is in the unit of the output. It
depends on the window's size and on what hides it, and takes an evaluation per window.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from sparsejax import interpret
from sparsejax.relevance import _batches as batches
from sparsejax.relevance import _starts as starts
from sparsejax.relevance import _targets as targets


def occlusion(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    *,
    target: Any = None,
    at: str | None = None,
    window: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    baseline: float | int | Float[ArrayLike, "..."] = 0.0,
    batch_size: int | None = None,
) -> Float[Array, "..."]:
    """f(x) - f(hidden), at every place its mean over the windows that hide the place.

    Args:
        fn: any JAX function `fn(params, x)`, in evaluation mode.
        params: its parameters.
        x: one example.
        target, at: what to explain, and a named activation in place of x, as in
            `explain`.
        window: sides along the first axes; others are hidden whole. One number is for
            every axis but the channels, the last of three axes or more.
        stride: steps from window to window along the same axes; by default the window.
            The last window ends where x does.
        baseline: what hides: a number, or an array that broadcasts to x.
        batch_size: windows at a time; by default all, or what is reasonable.

    Returns:
        Of x's shape.

    Raises:
        ValueError: for windows that do not fit, or strides that leave places out;
            else as in `gradient`.

    Example:
        >>> fn = lambda params, x: x[0] * x[1] + x[2]
        >>> occlusion(fn, {}, jnp.array([2.0, 3.0, 1.0]), window=1).tolist()
        [6.0, 6.0, 1.0]

    Reference: Zeiler and Fergus, "Visualizing and Understanding Convolutional
    Networks", 2013 (arXiv 1311.2901).
    """
    fn, x = starts.begin(fn, params, x, at)
    window = tuple(window) if np.iterable(window) else window
    sides = _sides("window", window, x.shape, x.shape)
    strides = _sides("stride", window if stride is None else stride, x.shape, sides)
    hides = [_hides(*axis) for axis in zip(x.shape, sides, strides, strict=True)]
    filling = targets.filling("baseline", baseline, x)
    run = targets.number(fn, target)

    def hidden(index):
        inside = jnp.ones((), bool)
        for hide, i in zip(hides, index, strict=True):
            inside = inside[..., None] & jnp.asarray(hide)[i]
        return run(params, jnp.where(inside, filling, x))

    counts = [len(hide) for hide in hides]
    indices = jnp.indices(counts).reshape(x.ndim, math.prod(counts)).T
    outputs = batches.over(hidden, indices, size=x.size, batch_size=batch_size)
    output = interpret.whole(run, params, x)
    result = _mean((output - outputs).reshape(counts), hides)
    targets.check_finite({"x": x, "output": output, "input": result})
    return result


def _sides(name: str, given: Any, shape: tuple, most: tuple) -> tuple[int, ...]:
    """A whole number for every axis."""
    given = tuple(given) if np.iterable(given) else given
    if not np.issubdtype(np.asarray(given).dtype, np.integer):
        raise ValueError(f"{name} is {given!r}; it can be whole numbers, one an axis")
    if np.ndim(given) == 0:
        given = (int(given),) * (len(shape) - (len(shape) > 2))
    sides = (*given, *most[len(given) :])
    fits = len(sides) == len(shape)
    if not fits or not all(1 <= s <= m for s, m in zip(sides, most, strict=True)):
        bound = f"x has shape {shape}"
        if name == "stride":
            bound = f"the window is {most}; a longer step would leave places out"
        raise ValueError(f"{name} is {tuple(given)}, but {bound}")
    return sides


def _hides(length: int, side: int, stride: int) -> np.ndarray:
    """Which places of an axis every window hides, (windows, places)."""
    starts = [*range(0, length - side, stride), length - side]
    place = np.arange(length)
    return np.array([(s <= place) & (place < s + side) for s in starts])


def _mean(drops: Array, hides: list[np.ndarray]) -> Array:
    """At every place the mean of the windows' numbers over those that hide it.

    A window is a product of intervals, so axes are dealt with one by one.
    """
    for hide in hides:
        shares = jnp.asarray(hide / hide.sum(0), drops.dtype)
        drops = jnp.tensordot(drops, shares, ((0,), (0,)))  # the axis goes to the end
    return drops
