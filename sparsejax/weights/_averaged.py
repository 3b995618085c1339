"""Gradients between two activations at given examples: what the linear reading leaves.

The mean over examples is the counterpart of expanded weights, ReLUs being as open as
they are. The gradients of one unit at each example are a kernel whose units are the
examples: `factor` with form "group" finds what they have in common.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from sparsejax import checks, interpret, lift
from sparsejax.weights._ends import Ends, box, connect, connected, read


class Gradients(NamedTuple):
    """Gradients of units with respect to an activation.

    Attributes:
        weights: shape (*window, channels, units), or (examples, *window, channels,
            units) without averaging; the window is the smallest on the source's map
            that holds all gradients that are not zero.
        corner: where the window begins on the source's map.
        position: the place of the units on the target's map.
    """

    weights: Float[np.ndarray, "... channels units"]
    corner: tuple[int, ...]
    position: tuple[int, ...]


def gradients(
    fn: Callable[[PyTree, Array], Any],
    params: PyTree,
    x: ArrayLike | Any,
    source: str | None,
    target: str | None,
    *,
    units: int | Iterable | None = None,
    position: int | Iterable | None = None,
    average: bool = True,
    batch_size: int | None = None,
) -> Gradients:
    """Gradients of units of one activation with respect to another, at examples.

    Args:
        fn: any JAX function `fn(params, x)` of one example, with named activations.
        params: its parameters.
        x: examples, one array, shape (examples, ...); of real numbers if they are the
            source.
        source: an activation's name, its last axis being channels; None for the input.
        target: an activation's name, its last axis being units; None for the output.
        units: of the target, one or several; None for all.
        position: a place on the target's map; by default the middle, (n - 1) // 2.
        average: over examples, else all are kept.
        batch_size: examples at a time; by default at most 32, and on CPUs fewer where
            they would need too much memory at a time.

    Returns:
        `Gradients`.

    Raises:
        ValueError: for an unknown name, for two activations that no path connects, and
            for units or a position that are not there.

    Example:
        >>> fn = lambda params, x: jax.nn.relu(x @ params)
        >>> x = np.array([[1.0], [-1.0]], "f4")
        >>> gradients(fn, jnp.array([[4.0]]), x, None, None).weights.tolist()
        [[2.0]]
    """
    checks.array(x, floating=source is None)
    checks.arrays(params)
    position = None if position is None else checks.several(position)
    x = jnp.asarray(x)
    if not x.ndim:
        raise ValueError(f"x must have an axis of examples, got {checks.described(x)}")
    if not len(x) or (batch_size is not None and batch_size < 1):
        raise ValueError(f"need examples in batches, got {len(x)}, {batch_size} a time")
    one = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
    ends = connect(fn, params, one, source, target, position)
    picked = jnp.asarray(checks.units(units, ends.target.shape[-1]))
    if batch_size is None:

        def lower(count):
            return _batch.lower(ends, average, params, x[:count], picked)

        batch_size = interpret.fitting(lower, len(x), 32)
    starts = range(0, len(x), batch_size)
    batches = [x[i : i + batch_size] for i in starts]
    parts = [np.asarray(_batch(ends, average, params, x, picked)) for x in batches]
    found = np.concatenate(parts)
    found = found.sum(0, keepdims=True) / len(x) if average else found
    found = np.moveaxis(found, 1, -1)
    window = box(np.asarray((found != 0).any((0, -2, -1))))
    found = found[(slice(None), *(slice(*side) for side in window))]
    corner = tuple(start for start, _ in window)
    return Gradients(found[0] if average else found, corner, ends.position)


@partial(interpret.Compiled, static_argnums=(0, 1))
def _batch(ends: Ends, total: bool, params, x, units):
    """Of every example (or their total) and unit, shape (examples, units, *source)."""
    connected(ends, read(ends, params))
    source, target = ends.source.name, ends.target.name

    def gradient(x):
        def value(change):
            if source is None:
                fn, at = ends.fn, x + change
            else:
                fn, at = lift.edit(ends.fn, {source: lambda h: h + change}), x
            if target is None:
                return fn(params, at)[ends.position]
            return lift.activations(fn, target, units=True)(params, at)[1][target][
                ends.position
            ]

        start = jnp.zeros(ends.source.shape, ends.source.dtype)
        values, back = jax.vjp(value, start)

        def one(unit):
            return back(jnp.zeros_like(values).at[unit].set(1))[0]

        return jax.vmap(one)(units)

    found = jax.vmap(gradient)(x)
    return found.sum(0, keepdims=True) if total else found
