"""Steps that only move elements, part by part (see `linear`)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax.interpret import primitives as families
from sparsejax.weights._linear import Box, Node, crop, each, full, sizes, unless_empty


def move(step, arguments: list) -> list[Node]:
    """The results of a step, each linear in the nodes among the arguments.

    What else is among them is zero, if it is real, or says where things go.
    """
    inputs = [x for x in arguments if isinstance(x, Node)]
    made = _RULES[step.name](step, arguments) if step.name in _RULES else None
    if made is not None:
        return [Node(step.shape, step.dtype, inputs, *made)]
    return _anything(step, arguments, inputs)


def _anything(step, arguments, inputs) -> list[Node]:
    """A step without a rule: whole inputs, parts of what comes out."""
    whole = [full(x.shape) for x in inputs]

    def outputs(values):
        given = iter(values)
        return step.run(
            *(next(given) if isinstance(x, Node) else _still(x) for x in arguments)
        )

    like = jax.eval_shape(
        outputs, [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs]
    )

    def result(i):
        def run(product, box, values):
            count = len(next(x for x in values if x is not None))
            zeros = [jnp.zeros(x.shape, x.dtype) for x in inputs]
            given = [
                [z if x is None else x[k] for x, z in zip(values, zeros, strict=True)]
                for k in range(count)
            ]
            return tuple(crop(outputs(one)[i], box) for one in given)

        return run

    return [
        Node(y.shape, y.dtype, inputs, lambda box: whole, result(i))
        for i, y in enumerate(like)
    ]


def _still(x):
    real = jnp.issubdtype(jnp.result_type(x), jnp.floating)
    return jnp.zeros_like(x) if real else x


def _alike(step, arguments):
    def run(box, x):
        return step.run(x)[0]

    return (lambda box: [box]), each(run)


def _slice(step, arguments):
    p, (x,) = step.params, arguments
    strides = p["strides"] or (1,) * len(x.shape)
    starts = p["start_indices"]

    def need(box):
        return [tuple(
            (s + a * stride, s + (b - 1) * stride + 1)
            for s, stride, (a, b) in zip(starts, strides, box, strict=True)
        )]  # fmt: skip

    def run(box, x):
        return x[tuple(slice(None, None, stride) for stride in strides)]

    return need, each(run)


def _pad(step, arguments):
    x, config = arguments[0], np.asarray(step.params["padding_config"]).tolist()
    if not isinstance(x, Node) or any(gap for _, _, gap in config):
        return None
    ends = list(zip(x.shape, config, strict=True))

    def need(box):
        return unless_empty([
            (max(a - low, 0), min(b - low, n))
            for (a, b), (n, (low, _, _)) in zip(box, ends, strict=True)
        ])  # fmt: skip

    def run(box, x):
        around = [
            (max(low - a, 0), max(b - low - n, 0))
            for (a, b), (n, (low, _, _)) in zip(box, ends, strict=True)
        ]
        return jnp.pad(x, around)

    return need, each(run)


def _concatenate(step, arguments):
    axis = step.params["dimension"]
    starts, at = [], 0
    for x in arguments:
        starts.append(at)
        at += jnp.shape(x)[axis] if not isinstance(x, Node) else x.shape[axis]
    ends = [*starts[1:], at]

    def pieces(box: Box):
        """The part of every operand, None if it is empty."""
        a, b = box[axis]
        for start, end in zip(starts, ends, strict=True):
            side = max(a, start) - start, min(b, end) - start
            part = (*box[:axis], side, *box[axis + 1 :])
            yield part if side[0] < side[1] else None

    def need(box):
        both = zip(arguments, pieces(box), strict=True)
        return [part for x, part in both if isinstance(x, Node)]

    def run(product, box, values):
        del product
        given, (like, *_) = iter(values), [x for x in values if x is not None]
        found = []
        for x, part in zip(arguments, pieces(box), strict=True):
            value = next(given) if isinstance(x, Node) else None
            if part is not None:
                zero = jnp.zeros(sizes(part), step.dtype)
                found.append([zero] * len(like) if value is None else value)
        return tuple(jnp.concatenate(one, axis) for one in zip(*found, strict=True))

    return need, run


def _select(step, arguments):
    which, *cases = arguments
    if isinstance(which, Node):
        return None
    count = sum(isinstance(x, Node) for x in cases)

    def run(product, box, values):
        del product
        given, (like, *_) = iter(values), [x for x in values if x is not None]
        zero = [jnp.zeros(sizes(box), step.dtype)] * len(like)
        found = [next(given) if isinstance(x, Node) else None for x in cases]
        found = [zero if x is None else x for x in found]
        pick = crop(which, box)
        return tuple(jax.lax.select_n(pick, *one) for one in zip(*found, strict=True))

    return (lambda box: [box] * count), run


def _broadcast(step, arguments):
    x, axes = arguments[0], step.params["broadcast_dimensions"]

    def need(box):
        return [tuple(
            box[a] if n == step.shape[a] else (0, 1)
            for n, a in zip(x.shape, axes, strict=True)
        )]  # fmt: skip

    return need, each(lambda box, x: jax.lax.broadcast_in_dim(x, sizes(box), axes))


def _reshape(step, arguments):
    """Where axes of length 1 come or go; anything else is not taken apart."""
    (x, *_) = arguments

    def long(shape):
        return [a for a, n in enumerate(shape) if n != 1]

    old, new = long(x.shape), long(step.shape)
    if [x.shape[a] for a in old] != [step.shape[a] for a in new]:
        return None

    def need(box):
        part = list(full(x.shape))
        for a, b in zip(old, new, strict=True):
            part[a] = box[b]
        return [tuple(part)]

    return need, each(lambda box, x: x.reshape(sizes(box)))


def _transpose(step, arguments):
    order = step.params["permutation"]

    def need(box):
        part = {a: side for a, side in zip(order, box, strict=True)}
        return [tuple(part[a] for a in range(len(order)))]

    return need, each(lambda box, x: x.transpose(order))


_RULES: dict[str, Callable] = {
    "slice": _slice,
    "pad": _pad,
    "concatenate": _concatenate,
    "select_n": _select,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _reshape,
    "transpose": _transpose,
} | dict.fromkeys(families.CASTS, _alike)
