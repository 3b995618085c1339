"""The activations of a function that can be named, and what they are called."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from sparsejax import interpret
from sparsejax.interpret import FlatStep, FlatValue, Program, primitives
from sparsejax.naming import _layers, _origins, _regions
from sparsejax.naming._axes import Axes, followed
from sparsejax.naming._layers import Layer

_LINEAR = primitives.ADDITIONS | primitives.SCALINGS


class Point(NamedTuple):
    """An activation of a function, and the name that it is given.

    Attributes:
        name: `K:post` and so on, for a kernel K; "" where there is none to give.
        shape: as named, the units in one last axis; in a loop, of one step.
        units: how many units the last axis counts; 0 if it counts none.
        dtype: of the activation.
        loops: of the loops around it, from outside in: how many steps, where they take
            slices of the parameters, one layer each; 1 where they repeat the same.
        alias: the first name of the same activation; "" if this is it.
        is_output: whether nothing but fn's own result is made of it.
        is_default: whether `named(fn)` names it.
        place: where in the user's code it is made.
        reason: why it can't be named; "" if it can.
        note: what to know before naming it; "" if nothing.
    """

    name: str
    shape: tuple[int, ...]
    units: int
    dtype: Any
    loops: tuple[int, ...]
    alias: str
    is_output: bool
    is_default: bool
    place: str
    reason: str
    note: str


class Spot(NamedTuple):
    """A point with its value in the flattened program, and the unit axes there."""

    point: Point
    value: FlatValue
    axes: Axes


class _Candidate(NamedTuple):
    name: str
    value: FlatValue
    axes: Axes
    step: FlatStep
    note: str = ""


def spots(program: Program, params) -> list[Spot]:
    """Every point of a program whose first inputs are `params`, in its order."""
    flow = interpret.flatten(program, jax.tree.leaves(params))
    layers = _layers.layers(flow.steps, params)
    origin = _origins.origins(flow.steps, layers)
    candidates, used = [], set()
    for layer in layers:
        if (attention := _origins.attention(layer, origin)) is not None:
            used |= {attention.scores, attention.mix}
            candidates += _of_attention(layer.name, attention)
        candidates += _of_layer(layer)
    found: dict[tuple, Spot] = {}
    listed, values = [], set()
    for candidate in candidates:
        value, axes = candidate.value, candidate.axes
        first = found.get((value, axes))
        spot = Spot(_point(candidate, first, flow.stacked), value, axes)
        default = value not in values and _is_default(spot.point, value, origin)
        if default:
            values.add(value)
        spot = spot._replace(point=spot.point._replace(is_default=default))
        found.setdefault((value, axes), spot)
        listed.append(spot)
    return listed + [*_nameless(flow.steps, used)]


def _of_attention(name: str, attention: _origins.Attention) -> Iterator[_Candidate]:
    scores, pattern, mix = attention
    yield _Candidate(f"{name}:scores", scores.outputs[0], None, scores)
    yield _Candidate(f"{name}:pattern", pattern, None, mix)


def _of_layer(layer: Layer) -> Iterator[_Candidate]:
    name, step = layer.name, layer.step
    if layer.read is not None:
        yield _Candidate(f"{name}:in", layer.read, layer.read_axes, step)
    else:
        yield _Candidate(f"{name}:out", layer.made, layer.made_axes, step)
    pre, axes = _linear(layer.made, layer.made_axes)
    yield _Candidate(f"{name}:pre", pre, axes, step)
    post, axes, note = _last(pre, axes)
    yield _Candidate(f"{name}:post", post, axes, step, note)
    if (total := _regions.total(post, axes)) is not None:
        yield _Candidate(f"{name}:sum", *total, step)


def _last(pre: FlatValue, axes: Axes) -> tuple[FlatValue, Axes, str]:
    """The last value, as large, that follows another; its axes, and a note."""
    post, note = pre, ""
    for value, axes_here in _regions.followers(pre, axes):
        step = value.made
        if step is None or step.only_moves or value.size != pre.size:
            continue
        if not _regions.can_be_named(value, pre):
            continue
        if axes_here is not None:
            post, axes, note = value, axes_here, ""
        elif not note:
            note = f"its units can't be followed to {step.place}"
    return post, axes, note


def _linear(value: FlatValue, axes: Axes) -> tuple[FlatValue, Axes]:
    """The end of the sums and products with parameters and constants that follow.

    Each is read once, so that what they make together is one affine function, as the
    layers of `relevance` are.
    """
    last = value, axes
    while len(value.readers) == 1 and not value.is_result:
        (step,) = value.readers
        out = step.outputs[0]
        alone = [v for v in step.inputs if v.kind == "data"] == [value]
        linear = step.kind in _LINEAR and not (
            step.kind == "div" and step.inputs[0] is not value
        )
        axes = followed(step, value, axes)
        whole = len(step.outputs) == 1 and out.size == value.size
        around = (out.loops, out.rules) == (value.loops, value.rules)
        if not (alone and whole and around) or axes is None:
            break
        if not (linear or step.only_moves):
            break
        value = out
        if linear:
            last = value, axes
    return last


def _point(candidate: _Candidate, first: Spot | None, stacked) -> Point:
    name, value, axes, step, note = candidate
    shape, units = value.shape, 0
    if axes is not None:
        units = math.prod(shape[axis] for axis in axes)
        shape = (*(n for axis, n in enumerate(shape) if axis not in axes), units)
    loops = tuple(f.length if f.key in stacked else 1 for f in value.loops)
    if value.rules:
        note = f"naming it undoes the {value.rules[0].kind!r} around it"
    return Point(
        name,
        shape,
        units,
        value.dtype,
        loops,
        first.point.name if first else "",
        is_output=_regions.only_results(value),
        is_default=False,
        place=(value.made or step).place,
        reason=_closed(value),
        note=note,
    )


def _closed(value: FlatValue) -> str:
    """Why a value can't be named."""
    for frame in value.loops:
        if frame.kind in ("while", "cond"):
            return (
                f"inside a {frame.kind!r}, where there may be none of it, or any number"
            )
        if frame.kind != "scan":
            return f"inside a {frame.kind!r}, which is never opened"
    return ""


def _is_default(point: Point, value: FlatValue, origin: _origins.Origins) -> bool:
    """What layers make, and what they read of products of activations."""
    if point.is_output or point.reason or value.rules or not point.units:
        return False
    kind = point.name.rpartition(":")[2]
    return kind == "post" or kind == "in" and bool(_origins.products(value, origin))


def _nameless(steps, used) -> Iterator[Spot]:
    """Products of two activations that no kernel reads by a pattern."""
    for step in steps:
        data = [v for v in step.inputs if v.kind == "data"]
        if step.is_product and len(data) == 2 and step not in used:
            out = step.outputs[0]
            reason = _closed(out) or "a product of two activations, made by no kernel"
            candidate = _Candidate("", out, None, step)
            yield Spot(_point(candidate, None, ())._replace(reason=reason), out, None)
