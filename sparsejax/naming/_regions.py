"""What is made of one value alone, and what all of that passes through.

The region of a value v are the values that are made of v, parameters and constants by
steps that neither multiply two activations nor join other data. A value of it that
something else reads is an exit. A value c *follows* v if every way from v to an exit
passes c: c is a post-dominator of v in the region. The last value that follows v is
where a layer hands on what it has made, whatever lies between, read once or often:
gelu, silu, a softmax, a normalization.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sparsejax.interpret import FlatStep, FlatValue, primitives
from sparsejax.naming import _axes
from sparsejax.naming._axes import Axes

# Reads of these end a region, beside products and loops.
_JOINS = frozenset({"concatenate", "dynamic_update_slice", "scatter", "scatter-add"})
_SUMS = primitives.ADDITIONS - {"sub", "neg"}


class _Region(NamedTuple):
    members: list[FlatValue]  # in the order of the program, the value itself first
    next: dict[FlatValue, list[FlatValue]]
    exits: set[FlatValue]
    axes: dict[FlatValue, Axes]


def followers(value: FlatValue, axes: Axes) -> Iterator[tuple[FlatValue, Axes]]:
    """The values that follow one, in order, with their unit axes."""
    yield from _followers(_region(value, axes, _continues))


def total(value: FlatValue, axes: Axes) -> tuple[FlatValue, Axes] | None:
    """The sum with other data that alone reads a value, and what follows it.

    Only functions of each entry: a normalization of the sum is no longer the sum.
    """
    while len(value.readers) == 1 and not value.is_result:
        (step,) = value.readers
        out = step.outputs[0]
        if step.only_moves and out.size == value.size:
            axes, value = _axes.followed(step, value, axes), out
            continue
        data = [v for v in step.inputs if v.kind == "data"]
        if step.kind not in _SUMS or len(data) != 2 or out.shape != value.shape:
            return None
        last = (out, axes)
        for value, axes in _followers(_region(out, axes, _maps_entries)):
            if value.shape == out.shape and can_be_named(value, out):
                last = value, axes
        return last
    return None


def can_be_named(value: FlatValue, after: FlatValue) -> bool:
    """Whether naming a value undoes no custom derivative rule that ends before it."""
    return value.is_real and after.rules[: len(value.rules)] == value.rules


def only_results(value: FlatValue) -> bool:
    """Whether nothing but fn's own result is made of a value."""
    if value.loops:
        return False
    made = {value}
    waiting = {step.number: step for step in value.readers}
    while waiting:
        step = waiting.pop(min(waiting))
        if not _continues(step, value, made):
            return False
        made.update(step.outputs)
        waiting.update((r.number, r) for out in step.outputs for r in out.readers)
    return True


def _continues(step: FlatStep, start: FlatValue, members) -> bool:
    """Whether what a step makes is made of the members alone."""
    others = [v for v in step.inputs if v.kind == "data" and v not in members]
    closed = step.is_product or step.kind in _JOINS or step.kind in primitives.LOOPS
    joins = any(v.is_real for v in others) or step.kind == "gather"
    return not closed and not joins and step.loops == start.loops


def _maps_entries(step: FlatStep, start: FlatValue, members) -> bool:
    return step.is_elementwise and _continues(step, start, members)


def _region(value: FlatValue, axes: Axes, continues: Callable) -> _Region:
    members, leads_to = {value: axes}, {value: []}
    exits = {value} if value.is_result else set()
    minor: set[FlatValue] = set()
    waiting = {step.number: step for step in value.readers}
    while waiting:
        step = waiting.pop(min(waiting))
        ours = [v for v in dict.fromkeys(step.inputs) if v in members]
        if not continues(step, value, members):
            exits.update(ours)
            continue
        for out in step.outputs:
            members[out] = _first_known(step, out, ours, members, value)
            leads_to[out] = []
            for v in ours:
                leads_to[v].append(out)
            if out.is_result:  # smaller ones are statistics, as of a batch
                (exits if out.size >= value.size else minor).add(out)
            waiting.update((reader.number, reader) for reader in out.readers)
    return _Region([*members], leads_to, exits or minor, members)


def _first_known(step, out, operands, axes, value) -> Axes:
    """The unit axes of a result as large as the value, by an operand as large."""
    if step.ends_rule:
        return axes.get(step.inputs[step.outputs.index(out)])
    if len(step.outputs) > 1 or step.outputs[0].size != value.size:
        return None
    full = [v for v in operands if v.size == value.size]
    known = (_axes.followed(step, v, axes[v]) for v in full)
    return next((a for a in known if a is not None), None)


def _followers(region: _Region) -> Iterator[tuple[FlatValue, Axes]]:
    """Walk the chain of immediate post-dominators, as Cooper, Harvey and Kennedy do."""
    order = {value: i for i, value in enumerate(region.members)}
    after: dict[FlatValue, FlatValue | None] = {}  # None: out of the region

    def meet(a, b):
        while a is not b and a is not None and b is not None:
            if order[a] < order[b]:
                a = after[a]
            else:
                b = after[b]
        return a if a is b else None

    for value in reversed(region.members):
        ways = [v for v in region.next[value] if v in after]
        if value in region.exits:
            after[value] = None
        elif ways:
            common, *rest = ways
            for way in rest:
                common = meet(common, way)
            after[value] = common
    value = after.get(region.members[0])
    while value is not None:
        yield value, region.axes[value]
        value = after[value]
