"""Run a program on smaller arrays: the shapes that it wrote down follow.

Derivative rules of elementwise functions (`jax.nn.relu`) and `remat` stay; other custom
derivatives give way to the derivative of what is inside.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import interpret
from sparsejax import masks as masks_
from sparsejax.interpret import primitives
from sparsejax.prune._compact import _loops as loops
from sparsejax.prune._compact import _moves as moves
from sparsejax.prune._compact._coupling import Record
from sparsejax.prune._compact._slices import Solution

Axes = tuple[np.ndarray | None, ...]


class Plan(NamedTuple):
    """What of the operands and results of one step stays.

    Attributes:
        name: of the primitive.
        operands: for every axis of each which positions stay; None for all.
        results: the same.
        inner: plans of what is called.
    """

    name: str
    operands: list[Axes]
    results: list[Axes]
    inner: list["Plan"]


def plans(records: Sequence[Record], solution: Solution) -> list[Plan]:
    """What stays of every step."""
    return [
        Plan(
            record.name,
            [axes_kept(ids, solution) for ids in record.operands],
            [axes_kept(ids, solution) for ids in record.results],
            plans(record.inner, solution),
        )
        for record in records
    ]


def axes_kept(ids: Sequence[np.ndarray], solution: Solution) -> Axes:
    """Which positions of every axis stay; None for all."""
    stays = [solution(own) for own in ids]
    return tuple(None if axis.all() else axis for axis in stays)


def take(array: Any, kept: Axes) -> Any:
    """An array at the positions that stay."""
    for axis, stays in enumerate(kept):
        if stays is not None:
            if stays.size != np.shape(array)[axis]:
                raise OtherShapes
            library = jnp if isinstance(array, jax.Array) else np
            array = library.take(array, np.flatnonzero(stays), axis=axis)
    return array


class OtherShapes(Exception):
    """The program for these inputs is another one."""


class _Small(NamedTuple):
    array: Any


class Smaller:
    """The rule for `interpret.walk` that runs a program on smaller arrays."""

    def __init__(self, steps: Sequence[Plan], nodes: Mapping[str, np.ndarray]):
        self.steps, self.nodes = iter(steps), nodes

    def run(self, program: interpret.Program, inputs: Sequence) -> list:
        """The flat results for smaller parameters and the same data."""
        outs = interpret.walk(program, [_Small(x) for x in inputs], self.rule)
        return [out.array if isinstance(out, _Small) else out for out in outs]

    def rule(self, step: interpret.Step, arguments: list) -> list:
        plan = next(self.steps, None)
        if plan is None or plan.name != step.name:
            raise OtherShapes
        if step.enter:
            return self._call(step, arguments, plan)
        arrays = [
            _small(a, own) for a, own in zip(arguments, plan.operands, strict=True)
        ]
        size = shape(step.shape, plan.results[0]) if plan.results else ()
        if len(plan.results) == 1 and 0 in size:
            return [_Small(jnp.zeros(size, step.dtype))]
        if step.name == "name":
            arrays = [self._masked(step.params["name"], arrays[0], plan.results[0])]
        if step.name == "scan":
            return [_Small(out) for out in self._loop(step, arrays, plan)]
        rule = _RULES.get(step.name)
        outs = step.run(*arrays) if rule is None else rule(step, arrays, plan, size)
        return [_Small(out) for out in outs]

    def _masked(self, name: str, array, kept: Axes):
        """An activation times what of its mask is not one, where it stays."""
        if name not in self.nodes:
            return array
        mask = self.nodes[name]
        own = kept[len(kept) - mask.ndim :] if mask.ndim else ()
        sides = [axis if n != 1 else None for axis, n in zip(own, mask.shape)]
        mask = take(mask, tuple(sides))
        if (np.asarray(mask) == 1).all():
            return array
        return masks_.scale(array, jnp.asarray(mask).astype(array.dtype))

    def _loop(self, step, arrays: list, plan: Plan) -> list:
        def inside(program, arrays):
            return Smaller(plan.inner, self.nodes).run(program, arrays)

        return loops.run(step, arrays, [len(axes) for axes in plan.results], inside)

    def _call(self, step, arguments: list, plan: Plan) -> list:
        inner = Smaller(plan.inner, self.nodes)
        if step.name not in _WRAPPED:
            return step.enter(arguments, inner.rule)
        arrays = [
            _small(a, own) for a, own in zip(arguments, plan.operands, strict=True)
        ]

        def run(*arrays):
            body = Smaller(plan.inner, self.nodes)
            outs = step.enter([_Small(a) for a in arrays], body.rule)
            return [
                _small(out, own) for out, own in zip(outs, plan.results, strict=True)
            ]

        if step.name == "custom_jvp_call":
            run = _with_derivative(step, run)
        else:
            run = jax.checkpoint(
                run,
                prevent_cse=step.params["prevent_cse"],
                policy=step.params["policy"],
            )
        return [_Small(out) for out in run(*arrays)]


_WRAPPED = primitives.REMATS | {"custom_jvp_call"}


def _small(value, kept: Axes) -> Any:
    """A smaller array; a constant of the program is cut here."""
    return value.array if isinstance(value, _Small) else take(value, kept)


def shape(full: Sequence[int], kept: Axes) -> tuple[int, ...]:
    if len(full) != len(kept):
        raise OtherShapes
    pairs = zip(full, kept, strict=True)
    return tuple(_size(size, stays) for size, stays in pairs)


def _size(size: int, stays: np.ndarray | None) -> int:
    if stays is None:
        return size
    if stays.size != size:
        raise OtherShapes
    return int(stays.sum())


def _with_derivative(step, run):
    """A function with the derivative rule of a call, if that is elementwise."""
    rule = step.params.get("jvp_jaxpr_fun")
    if rule is None or step.params.get("symbolic_zeros"):
        return run

    @jax.custom_jvp
    def call(*arrays):
        return run(*arrays)

    @call.defjvp
    def derivative(primals, tangents):
        try:
            jaxpr, consts, zeros = rule.call_wrapped(*[False] * len(primals))
            closed = SimpleNamespace(jaxpr=jaxpr, consts=consts)
            program = interpret.Program(closed, [], jax.tree.structure(0))
            walk = _elementwise(primals[0].shape)
            outs = interpret.walk(program, [*primals, *tangents], walk)
        except OtherShapes:
            return jax.jvp(run, primals, tangents)
        values, changes = outs[: len(zeros)], iter(outs[len(zeros) :])
        return values, [
            jnp.zeros_like(value) if zero else next(changes)
            for value, zero in zip(values, zeros, strict=True)
        ]

    return call


def _elementwise(shape: tuple[int, ...]):
    """The rule for `interpret.walk` that runs elementwise steps at another shape."""

    def rule(step, arguments: list) -> list:
        if step.enter:
            return step.enter(arguments, rule)
        if step.name == "broadcast_in_dim" and not jnp.shape(arguments[0]):
            return [jnp.broadcast_to(arguments[0], shape)]
        if step.name not in primitives.ELEMENTWISE:
            raise OtherShapes
        return step.run(*arguments)

    return rule


def _resized(step, arrays, plan, shape) -> list:
    return step.run(*arrays, shape=shape)


def _reshaped(step, arrays, plan, shape) -> list:
    return step.run(*arrays, new_sizes=shape)


def _numbered(step, arrays, plan, shape) -> list:
    return [take(step.run()[0], plan.results[0])]


def _convolved(step, arrays, plan, shape) -> list:
    image, kernel = arrays
    if 0 in image.shape or 0 in kernel.shape:
        return [jnp.zeros(shape, step.dtype)]
    numbers = step.params["dimension_numbers"]
    channels = image.shape[numbers.lhs_spec[1]]
    groups = channels // kernel.shape[numbers.rhs_spec[1]]
    return step.run(image, kernel, feature_group_count=groups)


def _positions(kept: np.ndarray | None, part: slice, stays) -> np.ndarray | None:
    """Where in a smaller axis the kept positions of a part of it are."""
    if kept is None:
        return None
    index = np.arange(kept.size)[part]
    index = index if stays is None else index[stays]
    return (np.cumsum(kept) - 1)[index]


def _cut(array, parts: Sequence[slice], kept: Axes, result: Axes):
    """A part of a smaller array."""
    triples = list(zip(kept, parts, result, strict=True))
    places = [_positions(*triple) for triple in triples]
    whole = [part if where is None else slice(None)
             for part, where in zip(parts, places, strict=True)]  # fmt: skip
    array = array[tuple(whole)]
    for axis, where in enumerate(places):
        if where is None:
            continue
        if where.size and np.array_equal(where, where[0] + np.arange(where.size)):
            array = jax.lax.slice_in_dim(
                array, int(where[0]), int(where[-1]) + 1, axis=axis
            )
        else:
            array = jnp.take(array, where, axis=axis)
    return array


def _sliced(step, arrays, plan, shape) -> list:
    parts = moves.sliced(step)
    return [_cut(arrays[0], parts, plan.operands[0], plan.results[0])]


def _split(step, arrays, plan, shape) -> list:
    axis, start, outs = step.params["axis"], 0, []
    for size, result in zip(step.params["sizes"], plan.results, strict=True):
        kept = [None if a != axis else own for a, own in enumerate(plan.operands[0])]
        parts = [slice(None)] * len(kept)
        parts[axis] = slice(start, start + size)
        outs.append(_cut(arrays[0], parts, tuple(kept), result))
        start += size
    return outs


def _padded(step, arrays, plan, shape) -> list:
    config = []
    for (low, high, inner), stays in zip(
        step.params["padding_config"], plan.results[0], strict=True
    ):
        if stays is not None:
            low, high = int(stays[:low].sum()), int(stays[stays.size - high :].sum())
        config.append((low, high, inner))
    return step.run(*arrays, padding_config=tuple(config))


def _gathered(step, arrays, plan, shape) -> list:
    sizes = step.params["slice_sizes"]
    pairs = zip(sizes, plan.operands[0], strict=True)
    sizes = tuple(n if stays is None else int(stays.sum()) for n, stays in pairs)
    return step.run(*arrays, slice_sizes=sizes)


def _dynamically_sliced(step, arrays, plan, shape) -> list:
    return step.run(*arrays, slice_sizes=shape)


_RULES = {
    "broadcast_in_dim": _resized,
    "conv_general_dilated": _convolved,
    "dynamic_slice": _dynamically_sliced,
    "gather": _gathered,
    "iota": _numbered,
    "pad": _padded,
    "reshape": _reshaped,
    "slice": _sliced,
    "split": _split,
}
