"""Expanded weights: how one layer acts on another through all that lies between.

The product of all weights on the way, nonlinear steps being read as linear ones (see
`reading`). All units of the target are one compiled call, and only their receptive
fields are computed (see `linear`). Where ReLUs are open or closed by chance it is the
mean gradient, up to a factor; that of given examples is `gradients`.

Reference: Voss et al., "Visualizing Weights", Distill, 2021.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax import checks, interpret, trees
from sparsejax.weights import _linear as linear
from sparsejax.weights._algebra import SIGNED, SPLIT, Algebra
from sparsejax.weights._ends import Ends, connect, read, required, seen


class Expanded(NamedTuple):
    """Expanded weights, in the layout of a kernel.

    Attributes:
        weights: sums over all paths, shape (*window, channels, units); the window is
            the receptive field on the source's map.
        positive, negative: sums over the paths with a positive and with a negative
            product, both at least 0, to the rounding of their sum. weights = positive -
            negative, to that rounding, too: the two grow faster with every layer. With
            one ReLU on every path they are the largest and the smallest (negated)
            gradient of an entry over all ways to open and close ReLUs; with more,
            bounds of it. None if not asked for.
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
    size: int | Iterable,
    units: int | Iterable | None = None,
    position: int | Iterable | None = None,
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
        size: shape of x, one array of real numbers. Only what the position needs of
            each map is computed, so that large maps cost no more than small ones.
        units: of the target, one or several; None for all.
        position: a place on the target's map; by default the middle, (n - 1) // 2.
            What would lie beyond the edges of the source's map is left out.
        split: find positive and negative parts and numbers of live paths, too; three
            products in place of one.
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
    checks.arrays(params)
    position = None if position is None else checks.several(position)
    x = jax.ShapeDtypeStruct(_size(size), trees.float_dtype(params))
    ends = connect(fn, params, x, source, target, position)
    picked = jnp.asarray(checks.units(units, ends.target.shape[-1]))
    parts, corner = _weights(ends, SPLIT if split else SIGNED)(params, picked)
    parts = [jnp.moveaxis(part, 0, -1) for part in parts]
    weights, positive, negative, paths = parts if split else (*parts, None, None, None)
    inner, around = None, None
    if through is not None:
        first = connect(fn, params, x, source, through, None)
        last = connect(fn, params, x, through, target, position)
        each = [_through(ends, first, last, params, unit) for unit in picked]
        inner, around = (jnp.stack(part, -1) for part in zip(*each, strict=True))
    corner = tuple(int(start) for start in np.asarray(corner[0]))
    return Expanded(
        weights, positive, negative, paths, inner, around, corner, ends.position
    )


def _size(size: Any) -> tuple[int, ...]:
    if isinstance(size, Mapping):
        raise ValueError(
            f"expand reads one input; of {checks.described(size)} keep one as x and "
            "close over the rest"
        )
    return checks.sizes(size)


@lru_cache(64)
def _weights(ends: Ends, algebra: Algebra) -> interpret.Batched:
    """(params, units) -> every part of the algebra, (units, *window, channels).

    And where the window begins, the same for all units.
    """

    def one(params, unit):
        found, end, want = seen(ends, params)
        window = want[found.source]

        def forward(*parts):
            return linear.follow(algebra.product, want, found.source, parts, end)

        back = _transposed(forward, found.source, window, algebra.count)
        parts = back((_seed(ends, unit),) * algebra.count)
        if algebra is SPLIT:
            whole, size, count = parts
            halves = (jnp.maximum(size / 2 + sign * whole / 2, 0) for sign in (1, -1))
            parts = whole, *halves, count
        return parts, jnp.array([start for start, _ in window[:-1]], jnp.int32)

    return interpret.Batched(one, (None, 0))


@partial(interpret.Compiled, static_argnums=(0, 1, 2))
def _through(ends: Ends, first: Ends, last: Ends, params, unit):
    """One unit by each between, (*window, channels, between), and the rest."""
    required(first, read(first, params))
    seen(last, params)
    found, end, want = seen(ends, params)
    source, middle = found.source, found.fed[str(last.source.name)].node
    want[middle] = (*want[middle][:-1], (0, middle.shape[-1]))
    follow = partial(linear.follow, SIGNED.product, want)
    seed = (_seed(ends, unit),)

    def after(part):
        return follow(middle, (part,), end)

    (inner,) = _transposed(after, middle, want[middle], 1)(seed)

    def before(part):
        return follow(source, (part,), middle)

    back = _transposed(before, source, want[source], 1)
    keep = jnp.eye(inner.shape[-1], dtype=inner.dtype)
    (parts,) = jax.vmap(lambda row: back((inner * row,)))(keep)

    def beside(part):
        return follow(source, (part,), end, middle)

    like = jnp.zeros(linear.sizes(want[source]), source.dtype)
    if jax.eval_shape(beside, like) is None:
        return jnp.moveaxis(parts, 0, -1), like
    (around,) = _transposed(beside, source, want[source], 1)(seed)
    return jnp.moveaxis(parts, 0, -1), around


def _seed(ends: Ends, unit):
    shape = (*(1 for _ in ends.position), ends.target.shape[-1])
    return jnp.zeros(shape, ends.target.dtype).at[..., unit].set(1)


def _transposed(run: Callable, node: linear.Node, box: linear.Box, count: int):
    like = jax.ShapeDtypeStruct(linear.sizes(box), node.dtype)
    return jax.linear_transpose(run, *[like] * count)
