"""Shares of a maximum: multipliers m_i with Q(a_i) = m_i Q(b), for b = max_i a_i.

- winner: one for the first largest. The derivative, but for ties.
- radial: R(a_i) = s_i R(b) with s_i = max(a_i, 0) / sum_j max(a_j, 0) if some a_i is
  positive, else s_i = (1 / a_i) / sum_j (1 / a_j). It does not depend on the scale.
- cross: limit of comparing soft maxima eps log sum exp(a_i / eps): the whole change
  goes to the largest of the input if the maximum rose, to the baseline's largest if it
  fell. Against zero and with all negative: the same relevance for all.
- path: the part of the straight way from the baseline on which a_i is the largest:
  integrated gradients of the maximum (Sundararajan et al., 2017, arXiv 1703.01365).
"""

import itertools as it
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax.interpret import primitives as families
from sparsejax.relevance._nodes import Entry, baseline, change, value

KNOWN = families.MAXIMA | {"max", "min"}

Values = Float[Array, "k *shape"]


def shares(
    rule: str,
    values: Values,
    baselines: Values | None,
    deltas: Values | None = None,
) -> Values:
    """Multipliers of all arguments of a maximum, along the first axis.

    Args:
        rule: "winner", "radial", "cross" or "path".
        values: the arguments.
        baselines: the arguments for the baseline; None compares with zero.
        deltas: how far the arguments are from those, if that is known better than by
            subtraction.
    """
    if rule == "winner" or (rule == "path" and baselines is None):
        return _first(values)
    if baselines is None:
        deltas, rise = values, values.max(0)
    else:
        deltas = values - baselines if deltas is None else deltas
        rise = _rise(values, baselines, deltas)
    if rule == "path" and baselines is not None:
        return _path(baselines, deltas)
    if rule == "radial":
        part = _radial(values)
    elif baselines is None:
        inside = (values > _lowest(values.dtype)).astype(values.dtype)
        uniform = inside / jnp.maximum(
            inside.sum(0), 1
        )  # nothing to what pads a window
        part = jnp.where(rise > 0, _first(values), uniform)
    else:
        part = jnp.where(rise > 0, _first(values), _first(baselines))
    far = deltas != 0
    return jnp.where(far, part * rise / jnp.where(far, deltas, 1), 0)


def _first(values: Values) -> Values:
    """One for the first largest, else zero."""
    largest, taken, found = values.max(0), None, []
    if values.shape[0] > 32:
        places = jnp.arange(values.shape[0]).reshape(-1, *[1] * (values.ndim - 1))
        return (places == values.argmax(0)).astype(values.dtype)
    for row in values:
        wins = row == largest
        found.append(wins if taken is None else wins & ~taken)
        taken = wins if taken is None else wins | taken
    return jnp.stack(found).astype(values.dtype)


def _radial(values: Values) -> Values:
    positive = jnp.maximum(values, 0)
    total = positive.sum(0)
    some = total > 0
    far = values != 0
    inverse = jnp.where(far, 1 / jnp.where(far, jnp.abs(values), 1), 0)
    others = inverse.sum(0)
    shares = positive / jnp.where(some, total, 1)
    return jnp.where(some, shares, inverse / jnp.where(others > 0, others, 1))


def _rise(values: Values, baselines: Values, deltas: Values) -> Float[Array, "*shape"]:
    """How much the maximum rises: as its winner does, if that is the same."""
    winner, other = values.argmax(0), baselines.argmax(0)
    carried = jnp.take_along_axis(deltas, winner[None], 0)[0]
    return jnp.where(winner == other, carried, values.max(0) - baselines.max(0))


def _path(baselines: Values, slopes: Values) -> Values:
    """How much of the way each of the lines a0 + t (a - a0) is above the others."""
    index = jnp.arange(slopes.shape[0])

    def part(i):
        gap, tilt = baselines[i] - baselines, slopes - slopes[i]
        earlier = (index < i).reshape(-1, *[1] * (slopes.ndim - 1))
        flat = jnp.where(tilt == 0, 1, tilt)
        low = jnp.where(tilt < 0, gap / flat, 0).max(0)
        high = jnp.where(tilt > 0, gap / flat, 1).min(0)
        under = (tilt == 0) & ((gap < 0) | ((gap == 0) & earlier))
        length = jnp.clip(jnp.minimum(high, 1) - jnp.maximum(low, 0), 0)
        return jnp.where(under.any(0), 0, length)

    return jax.vmap(part)(index)


def pass_back(entry: Entry, rule: str, q: Float[Array, "..."]) -> list:
    """Multipliers of the operands of a maximum or minimum."""
    if rule == "winner" and _is_tiled(entry):
        return [_to_tiles(entry, q)]
    multipliers = shares(rule, *_compared(entry)) * q
    shapes = [jax.ShapeDtypeStruct(jnp.shape(value(x)), q.dtype) for x in entry.inputs]

    def place(*x):
        return _arguments(entry, 0.0)(*x)

    return list(jax.linear_transpose(place, *shapes)(_sign(entry) * multipliers))


def difference(entry: Entry) -> Float[Array, "..."]:
    """How far a maximum or minimum is from the baseline's."""
    return _sign(entry) * _rise(*_compared(entry))


def _compared(entry: Entry) -> tuple:
    """What competes: values, and for a baseline its values and how far they are."""
    lowest = _lowest(entry.outputs[0].value.dtype)

    def at(of, edge):
        return _arguments(entry, edge)(*map(of, entry.inputs))

    if all(getattr(x, "baseline", None) is None for x in entry.inputs):
        return at(value, lowest), None, None
    return at(value, lowest), at(baseline, lowest), at(change, 0.0)


def _lowest(dtype) -> float:
    """What stands for minus infinity at the edge of an array."""
    return float(jnp.finfo(dtype).min) / 4


def _sign(entry: Entry) -> int:
    return -1 if entry.step.name.endswith("min") else 1


def _arguments(entry: Entry, edge: float) -> Callable:
    """A function from operands to what competes, `(k, *results)`; a minimum's negated.

    Windows that reach over the edge see `edge` there.
    """
    name, params, sign = entry.step.name, entry.step.params, _sign(entry)
    if name in ("max", "min"):

        def stack(x):
            return jnp.stack(jnp.broadcast_arrays(*x))
    elif name.startswith("reduce_window"):

        def stack(x):
            (x,) = x
            return jnp.stack(_windows(x, sign * edge, params))
    else:
        axes = params["axes"]

        def stack(x):
            (x,) = x
            rest = [n for i, n in enumerate(x.shape) if i not in axes]
            return jnp.moveaxis(x, axes, range(len(axes))).reshape(-1, *rest)

    return lambda *x: sign * stack(x)


def _windows(x, edge, params) -> list:
    """Strided slices of a padded array, one for each place in the window."""
    gaps = [n - 1 for n in params["base_dilation"]]
    padding = [(*ends, gap) for ends, gap in zip(params["padding"], gaps, strict=True)]
    if any(map(any, padding)):
        x = jax.lax.pad(x, jnp.asarray(edge, x.dtype), padding)
    sizes, strides = params["window_dimensions"], params["window_strides"]
    spread = params["window_dilation"]
    places = list(it.product(*map(range, sizes)))
    counts = [
        (n - (size - 1) * d - 1) // s + 1
        for n, size, s, d in zip(x.shape, sizes, strides, spread, strict=True)
    ]

    def cut(place):
        start = [i * d for i, d in zip(place, spread, strict=True)]
        stop = [
            a + (n - 1) * s + 1 for a, n, s in zip(start, counts, strides, strict=True)
        ]
        return jax.lax.slice(x, start, stop, strides)

    return [cut(place) for place in places]


def _is_tiled(entry: Entry) -> bool:
    """Whether windows tile the array, as in most max-pooling."""
    if not entry.step.name.startswith("reduce_window"):
        return False
    p, shape = entry.step.params, jnp.shape(value(entry.inputs[0]))
    sizes = p["window_dimensions"]
    fits = all(n % size == 0 for n, size in zip(shape, sizes, strict=True))
    plain = {*p["window_dilation"], *p["base_dilation"]} == {1}
    unpadded = not any(low or high for low, high in p["padding"])
    return fits and plain and unpadded and sizes == p["window_strides"]


def _to_tiles(entry: Entry, q):
    """What the winner rule gives to windows side by side: no sums, so faster."""
    x, sizes = value(entry.inputs[0]), entry.step.params["window_dimensions"]
    values = _windows(_sign(entry) * x, 0.0, entry.step.params)
    largest, first = values[0], jnp.zeros(q.shape, jnp.int32)
    for i, row in enumerate(values[1:], 1):
        first = jnp.where(row > largest, i, first)
        largest = jnp.maximum(largest, row)
    tiled = [n for pair in zip(q.shape, sizes, strict=True) for n in pair]
    rows = tuple(range(0, 2 * q.ndim, 2))

    def spread(x):
        return jax.lax.broadcast_in_dim(x, tiled, rows)

    place = jnp.arange(math.prod(sizes), dtype=jnp.int32).reshape(sizes)
    place = jax.lax.broadcast_in_dim(place, tiled, tuple(i + 1 for i in rows))
    return jnp.where(spread(first) == place, spread(q), 0).reshape(x.shape)
