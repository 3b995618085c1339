"""Linear steps that compute no more of an array than is asked for.

What one place of a map needs of the maps before it is a small window of each. A `Node`
knows what part of its inputs a part of it needs, and computes that part alone; so the
work does not depend on how large the maps are. Steps without a rule of their own need
all of their inputs, and are right, too.

Parts of an array are `Box`es, first and past-the-last index along every axis. Weights
act through a `product` (see `algebra`); values are tuples of its parts.
"""

import dataclasses
import itertools as it
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Box = tuple[tuple[int, int], ...]


@dataclasses.dataclass(eq=False)
class Node:
    """An array that is linear in its inputs.

    Attributes:
        shape, dtype: of the array.
        inputs: nodes.
        need: `need(box) -> [box of each input]`, None for those it does not need.
        run: `run(product, box, values) -> value` from values of just those boxes, None
            where an input is zero; at least one is not.
        number: how many were made before it.
    """

    shape: tuple[int, ...]
    dtype: Any
    inputs: Sequence["Node"] = ()
    need: Callable = lambda box: []
    run: Callable = lambda product, box, values: None
    number: int = dataclasses.field(default_factory=it.count().__next__)


def sizes(box: Box) -> tuple[int, ...]:
    """The shape of a part."""
    return tuple(stop - start for start, stop in box)


def demand(end: Node, box: Box) -> dict[Node, Box]:
    """What is needed of every array to compute a part of one, in order of making."""
    want, left = {end: box}, {end}
    while left:
        node = max(left, key=lambda node: node.number)
        left.remove(node)
        for x, side in zip(node.inputs, node.need(want[node]), strict=True):
            if side is not None:
                want[x] = _hull(want[x], side) if x in want else side
                left.add(x)
    return dict(sorted(want.items(), key=lambda item: item[0].number))


def follow(
    product: Callable,
    want: dict[Node, Box],
    start: Node,
    parts: tuple,
    end: Node,
    cut: Node | None = None,
) -> tuple | None:
    """The value of `end`, or None for zero, if all that begins is `parts` at `start`.

    Args:
        product: how weights act.
        want: what is computed of every node, by `demand`.
        start: where parts of the shape that is wanted are put in.
        parts: the value there.
        end: a node.
        cut: a node that lets nothing through.
    """
    values: dict[Node, tuple | None] = {}
    for node, box in want.items():
        needed = zip(node.inputs, node.need(box), strict=True)
        given = [_within(values.get(x), want.get(x), side) for x, side in needed]
        if node is start:
            values[node] = parts
        elif node is cut or all(x is None for x in given):
            values[node] = None
        else:
            values[node] = node.run(product, box, given)
    return values[end]


def crop(array, box: Box):
    """The part of an array that a part of its broadcast needs."""
    inside = part(jnp.shape(array), box)
    return array[tuple(slice(*side) for side in inside)]


def part(shape: tuple[int, ...], box: Box) -> Box:
    """What a part of an array needs of one that was broadcast to it."""
    sides = zip(shape, box, strict=bool(shape))
    return tuple((0, 1) if n == 1 else side for n, side in sides)


def _hull(a: Box, b: Box) -> Box:
    return tuple((min(p[0], q[0]), max(p[1], q[1])) for p, q in zip(a, b, strict=True))


def _within(parts: tuple | None, have: Box | None, box: Box | None) -> tuple | None:
    """A value's part; None if there is none."""
    if parts is None or have is None or box is None or have == box:
        return None if box is None else parts
    inside = zip(box, have, strict=True)
    where = tuple(slice(a - start, b - start) for (a, b), (start, _) in inside)
    return tuple(x[where] for x in parts)


def full(shape: Sequence[int]) -> Box:
    """All of an array."""
    return tuple((0, n) for n in shape)


def unless_empty(box: Sequence) -> list[Box | None]:
    """A need of one input, if of anything."""
    return [tuple(box) if all(a < b for a, b in box) else None]


def each(function: Callable) -> Callable:
    """A run of one input in which no weights take part."""
    return lambda product, box, values: tuple(function(box, x) for x in values[0])


def add(shape: tuple[int, ...], inputs: Sequence[Node]) -> Node:
    """The sum of arrays, broadcast to a shape."""

    def run(product, box, values):
        terms = zip(*(x for x in values if x is not None), strict=True)
        return tuple(jnp.broadcast_to(sum(term), sizes(box)) for term in terms)

    def need(box):
        return [part(x.shape, box) for x in inputs]

    return Node(shape, inputs[0].dtype, inputs, need, run)


def scale(shape: tuple[int, ...], x: Node, weight) -> Node:
    """The product with an array, broadcast to a shape."""
    weight = jnp.asarray(weight, x.dtype)

    def times(w, x):
        return x * w

    def run(product, box, values):
        return product(times, crop(weight, box), values[0])

    return Node(shape, x.dtype, [x], lambda box: [part(x.shape, box)], run)


def dot(step, x: Node, side: int, weights) -> Node:
    """A dot product with an array, x being operand number `side`."""
    contracted, batch = step.params["dimension_numbers"]

    def apply(w, x):
        return step.run(*((w, x) if side else (x, w)))[0]

    if batch[0]:
        return _whole(step, x, apply, weights)
    free = [a for a in range(len(x.shape)) if a not in contracted[side]]
    first = len(step.shape) - len(free) if side else 0  # their place in the result

    def need(box):
        inside = list(full(x.shape))
        for i, axis in enumerate(free):
            inside[axis] = box[first + i]
        return [tuple(inside)]

    def run(product, box, values):
        made = range(first, first + len(free))  # of these just what is asked for
        rest = tuple(
            slice(None) if a in made else slice(*side) for a, side in enumerate(box)
        )
        return tuple(y[rest] for y in product(apply, weights, values[0]))

    return Node(step.shape, step.dtype, [x], need, run)


def conv(step, x: Node, side: int, weights) -> Node:
    """A convolution with an array, x being operand number `side`."""
    p = step.params

    def apply(w, x, **more):
        return step.run(*((w, x) if side else (x, w)), **more)[0]

    if side or p["batch_group_count"] > 1 or {*p["lhs_dilation"]} - {1}:
        return _whole(step, x, apply, weights)
    spec = p["dimension_numbers"]
    windows = [
        _Windows(x.shape[a], weights.shape[k], stride, low, spread)
        for a, k, stride, (low, _), spread in zip(
            spec.lhs_spec[2:], spec.rhs_spec[2:], p["window_strides"], p["padding"],
            p["rhs_dilation"], strict=True,
        )
    ]  # fmt: skip

    def parts(box):
        return [
            w.part(*box[a]) for w, a in zip(windows, spec.out_spec[2:], strict=True)
        ]

    def need(box):
        inside = list(full(x.shape))
        inside[spec.lhs_spec[0]] = box[spec.out_spec[0]]
        for a, (side, _) in zip(spec.lhs_spec[2:], parts(box), strict=True):
            inside[a] = side
        return unless_empty(inside)

    def run(product, box, values):
        around = tuple(edges for _, edges in parts(box))
        once = p["feature_group_count"] == 1
        once = once and all(sizes(box)[a] == 1 for a in spec.out_spec[2:])
        seen = _one_place(p, around) if once else partial(apply, padding=around)
        found = product(seen, weights, values[0])
        axis = spec.out_spec[1]  # of the others just what is asked for
        return tuple(jax.lax.slice_in_dim(y, *box[axis], axis=axis) for y in found)

    return Node(step.shape, step.dtype, [x], need, run)


def _one_place(params, around) -> Callable:
    """A convolution whose window fits once: a product, back and forth."""
    of_x, of_w, of_y = params["dimension_numbers"]

    def apply(w, x):
        for a, (low, high), spread in zip(
            of_x[2:], around, params["rhs_dilation"], strict=True
        ):
            edges = [(0, 0)] * x.ndim
            edges[a] = low, high
            x = jax.lax.slice_in_dim(jnp.pad(x, edges), 0, None, spread, axis=a)
        y = jax.lax.dot_general(
            x, w, ((of_x[1:], of_w[1:]), ((), ())), precision=params["precision"],
            preferred_element_type=params["preferred_element_type"],
        )  # fmt: skip
        return jnp.moveaxis(jnp.expand_dims(y, range(2, x.ndim)), range(x.ndim), of_y)

    return apply


def pool(step, x: Node, mean: bool) -> Node:
    """Sums, or means, over windows."""
    p = step.params
    count = math.prod(p["window_dimensions"])
    weight = jnp.asarray(1 / count if mean else 1, x.dtype)

    def total(x, padding, base=None):
        zero, size = np.zeros((), x.dtype), p["window_dimensions"]
        return jax.lax.reduce_window(
            x, zero, jax.lax.add, size, p["window_strides"], padding, base,
            p["window_dilation"],
        )  # fmt: skip

    if {*p["base_dilation"]} - {1}:

        def apply(w, x):
            return w * total(x, p["padding"], p["base_dilation"])

        return _whole(step, x, apply, weight)
    windows = [
        _Windows(n, size, stride, low, spread)
        for n, size, stride, (low, _), spread in zip(
            x.shape, p["window_dimensions"], p["window_strides"], p["padding"],
            p["window_dilation"], strict=True,
        )
    ]  # fmt: skip

    def parts(box):
        return [w.part(*side) for w, side in zip(windows, box, strict=True)]

    def run(product, box, values):
        around = tuple(edges for _, edges in parts(box))
        return product(lambda w, x: w * total(x, around), weight, values[0])

    def need(box):
        return unless_empty([side for side, _ in parts(box)])

    return Node(step.shape, step.dtype, [x], need, run)


def reduce(step, x: Node, mean: bool) -> Node:
    """Sums, or means, over axes."""
    axes = step.params["axes"]
    count = math.prod(x.shape[a] for a in axes)
    weight = jnp.asarray(1 / count if mean else 1, x.dtype)
    kept = [a for a in range(len(x.shape)) if a not in axes]

    def need(box):
        inside = list(full(x.shape))
        for a, side in zip(kept, box, strict=True):
            inside[a] = side
        return [tuple(inside)]

    def run(product, box, values):
        return product(lambda w, x: w * x.sum(axes), weight, values[0])

    return Node(step.shape, step.dtype, [x], need, run)


class _Windows:
    """Windows along one axis of length n."""

    def __init__(self, n: int, size: int, stride: int, low: int, spread: int):
        self.n, self.stride, self.low = int(n), int(stride), int(low)
        self.reach = int((size - 1) * spread + 1)

    def part(self, start: int, stop: int):
        """What windows number start to stop - 1 see, and what padding beside it."""
        first = start * self.stride - self.low
        last = (stop - 1) * self.stride - self.low + self.reach
        a, b = max(first, 0), min(last, self.n)
        return (a, b), (a - first, last - b)


def _whole(step, x: Node, apply: Callable, weights) -> Node:
    """A step that is not taken apart."""

    def need(box):
        return [full(x.shape)]

    def run(product, box, values):
        return tuple(crop(y, box) for y in product(apply, weights, values[0]))

    return Node(step.shape, step.dtype, [x], need, run)
