"""What every value was last made by: kernels, or products of two activations.

Where what a kernel reads comes from such a product, it is what attention hands on, the
hidden units of a gated MLP, or a map that was scaled by its own pooling.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sparsejax.interpret import FlatStep, FlatValue
from sparsejax.naming._layers import Layer

# Of each value the layers (by name) and products (by step) that it was last made by.
Origins = dict[FlatValue, frozenset]


class Attention(NamedTuple):
    """A product of activations weighted by a function of another such product."""

    scores: FlatStep
    pattern: FlatValue
    mix: FlatStep


def origins(steps: Sequence[FlatStep], layers: Sequence[Layer]) -> Origins:
    """Followed forward from the kernels; a loop's results have none."""
    kernels = {layer.step: frozenset({layer.name}) for layer in layers}
    found: Origins = {}
    for step in steps:
        data = [value for value in step.inputs if value.kind == "data"]
        parts = [found.get(value, frozenset()) for value in data]
        if step in kernels:
            label = kernels[step]
        elif len(data) == 2 and (step.is_product or _gates(step, parts)):
            label = frozenset({step})
        elif step.kind == "scan":
            label = frozenset()
        else:
            label = frozenset().union(*parts)
        found.update(dict.fromkeys(step.outputs, label))
    return found


def products(value: FlatValue, origin: Origins) -> list[FlatStep]:
    """The products of two activations that a value was last made by."""
    return [x for x in origin.get(value, ()) if isinstance(x, FlatStep)]


def attention(layer: Layer, origin: Origins) -> Attention | None:
    """What a kernel reads, if it is a mix of activations by a pattern of its own.

    Found backward from the kernel that reads it: masks made of tokens, and the order of
    the operands, don't matter then.
    """
    if layer.read is None:
        return None
    mixes = list(dict.fromkeys(_mixes(layer.read, origin)))
    if len(mixes) != 1:
        return None
    patterns = [
        Attention(scores, value, mixes[0])
        for value in mixes[0].inputs[:2]
        for scores in products(value, origin)
        if len(origin[value]) == 1
    ]
    return patterns[0] if len(patterns) == 1 else None


def _mixes(value: FlatValue, origin: Origins) -> Iterator[FlatStep]:
    for step in products(value, origin):
        if step.is_product:
            yield step
        else:  # a gate: what was multiplied
            for operand in step.inputs:
                yield from _mixes(operand, origin)


def _gates(step: FlatStep, parts: Sequence[frozenset]) -> bool:
    """Whether a step multiplies two activations that come from different layers."""
    return step.kind == "mul" and all(parts) and not parts[0] & parts[1]
