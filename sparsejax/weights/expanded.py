"""Expanded weights: how one layer acts on another through all that lies between.

The product of all weights on the way, nonlinear steps being read as linear ones (see
`reading`). All units of the target are one compiled call on the source's own map; what
comes back is the receptive field alone. Where ReLUs are open or closed by chance it is
the mean gradient, up to a factor; that of given examples is `gradients`.

Reference: Voss et al., "Visualizing Weights", Distill, 2021.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from sparsejax.weights.algebra import SIGNED, SPLIT
from sparsejax.weights.ends import Ends, Window, chosen, connect, connected, field, pull


class Expanded(NamedTuple):
    """Expanded weights, in the layout of a kernel.

    Attributes:
        weights: sums over all paths, shape (*window, channels, units); the window is
            the receptive field on the source's map.
        positive, negative: sums over the paths with a positive and with a negative
            product, both at least 0: weights = positive - negative. With one ReLU on
            every path they are the largest and the smallest (negated) gradient of an
            entry over all ways to open and close ReLUs; with more, bounds of it. None
            if not asked for.
        paths: numbers of paths without a zero weight, same shape, as floats: exact to
            2^24 in float32, and not finite beyond 1e38. None if not asked for.
        through: the part of every unit in between, shape (*window, channels, between,
            units); None if not asked for.
        around: the part of the paths that pass none of them, same shape as weights.
        corner: where the window begins on the source's map.
        position: the place of the units on the target's map.
    """

    weights: Float[Array, "*window channels units"]
    positive: Any
    negative: Any
    paths: Any
    through: Any
    around: Any
    corner: tuple[int, ...]
    position: tuple[int, ...]


def expand(
    fn: Callable[[PyTree, Array], Any],
    params: PyTree,
    source: str | None,
    target: str | None,
    *,
    size: Sequence[int],
    units: Sequence[int] | None = None,
    position: Sequence[int] | None = None,
    split: bool = False,
    through: str | None = None,
) -> Expanded:
    """The weights from one activation to another, through any number of layers.

    Args:
        fn: any JAX function `fn(params, x)` of one example, in evaluation mode, with
            named activations. The same objects compile once.
        params: its parameters; `sparsejax.bind` gives a masked function.
        source: an activation's name, its last axis being channels; None for the input.
            Windows blur what is before a pooling: name what comes out of it.
        target: an activation's name, its last axis being units; None for the output.
        size: shape of x. Time grows with it: the smallest that holds the receptive
            field serves best.
        units: of the target; None for all.
        position: a place on the target's map; by default the middle, (n - 1) // 2.
            What would lie beyond the edges of the source's map is left out.
        split: find positive and negative parts and numbers of live paths, too; takes
            five times as many products.
        through: an activation between the two, to find the part of each of its units.

    Returns:
        `Expanded`.

    Raises:
        ValueError: for an unknown name, for two activations that no path connects, for
            a step between them that has no linear reading, and for units or a position
            that are not there.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> def fn(params, x):
        ...     h = checkpoint_name(jax.nn.relu(x @ params[0]), "hidden")
        ...     return h @ params[1]
        >>> params = jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [-1.0]])
        >>> found = expand(fn, params, None, None, size=(1,), split=True)
        >>> found.weights.item(), found.positive.item(), found.negative.item()
        (1.0, 3.0, 2.0)
    """
    x = jax.ShapeDtypeStruct(tuple(size), _dtype(params))
    ends = connect(fn, params, x, source, target, position)
    picked = jnp.asarray(chosen(units, ends.target.shape[-1]))
    window = field(ends, params)
    algebra = SPLIT if split else SIGNED
    parts = _weights(ends, window, algebra, None, params, picked)
    weights = parts[0] - parts[1] if split else parts[0]
    positive, negative, paths = parts if split else (None, None, None)
    inner, around = None, None
    if through is not None:
        first = connect(fn, params, x, source, through, None)
        last = connect(fn, params, x, through, target, position)
        each = [_through(first, last, window, params, unit) for unit in picked]
        inner = jnp.stack(each, -1)
        around = jnp.zeros_like(weights)
        if connected(ends, params, through).target is not None:
            (around,) = _weights(ends, window, SIGNED, through, params, picked)
    corner = tuple(start for start, _ in window)
    return Expanded(
        weights, positive, negative, paths, inner, around, corner, ends.position
    )


def _dtype(params: PyTree) -> Any:
    kinds = [jnp.result_type(leaf) for leaf in jax.tree.leaves(params)]
    return jnp.dtype("float64" if jnp.dtype("float64") in kinds else "float32")


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _weights(ends: Ends, window: Window, algebra, cut, params, units):
    """Every part of the algebra, shape (*window, channels, units)."""
    back = pull(ends, params, algebra, cut)

    def one(unit):
        seed = _seed(ends, unit)
        return back(tuple(seed * number for number in algebra.seeds))

    return [_cropped(part, window) for part in jax.vmap(one)(units)]


@partial(jax.jit, static_argnums=(0, 1, 2))
def _through(first: Ends, last: Ends, window: Window, params, unit):
    """One unit by way of each in between, shape (*window, channels, between)."""
    (inner,) = pull(last, params, SIGNED)((_seed(last, unit),))
    back = pull(first, params, SIGNED)
    each = jnp.eye(inner.shape[-1], dtype=inner.dtype)
    (parts,) = jax.vmap(lambda keep: back((inner * keep,)))(each)
    return _cropped(parts, window)


def _seed(ends: Ends, unit):
    zeros = jnp.zeros(ends.target.shape, ends.target.dtype)
    return zeros.at[(*ends.position, unit)].set(1)


def _cropped(stack, window: Window):
    """A stack of maps: their window, and the stack's axis last."""
    inside = stack[(slice(None), *(slice(*side) for side in window))]
    return jnp.moveaxis(inside, 0, -1)
