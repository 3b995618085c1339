"""How far every array is from the baseline's: carried forward, not subtracted.

Two values of size 1 that are 1e-3 apart leave four digits of a float32 when they are
subtracted, and a normalisation after that makes the rounding large. So a linear step
acts on differences as it does on values, a product of two on each with the other
halfway, and a function of each element multiplies by the slope that relevance takes
back. What goes in then comes out, up to the rounding of the differences themselves.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from sparsejax.interpret import primitives as families
from sparsejax.relevance import _elementwise as elementwise
from sparsejax.relevance import _maximum as maximum
from sparsejax.relevance import _products as products
from sparsejax.relevance import _structure as structure
from sparsejax.relevance._nodes import Entry, Node, baseline, change, value


def start(inputs: Sequence, baselines: Sequence, params: Sequence) -> None:
    """Those of a function's inputs; parameters are the same for both."""
    for node, there in zip(inputs, baselines, strict=True):
        if node is not None:
            node.baseline, node.change = there, node.value - there
    for node in filter(None, params):
        node.baseline, node.change = node.value, jnp.zeros_like(node.value)


def carry(nodes: Sequence) -> None:
    """Find baselines and differences of arrays, and of all that they are made of."""
    for entry in _made_of(nodes):
        out = entry.outputs[0]
        if out.origin == "data" and entry.source is not None:
            out.baseline, entry.slope = elementwise.against(entry)
            out.change = entry.slope * entry.source.change
            continue
        others = entry.step.run(*map(baseline, entry.inputs))
        changes = _changes(entry, others)
        for node, *pair in zip(entry.outputs, others, changes, strict=True):
            node.baseline, node.change = pair


def through_weights(step, operands: list) -> tuple:
    """A layer's result for the baseline, and how far that of the input is from it.

    The latter's result is their sum: there is no need of a third product.
    """
    carry(operands)
    changed = [
        x.change if isinstance(x, Node) and x.origin == "data" else value(x)
        for x in operands
    ]
    return step.run(*map(baseline, operands))[0], step.run(*changed)[0]


def _made_of(nodes: Sequence) -> list[Entry]:
    """The steps to arrays from what is known, in order; of a function only the last."""
    found, left = set(), list(nodes)
    while left:
        node = left.pop()
        entry = node.entry if isinstance(node, Node) and node.baseline is None else None
        if entry is not None and entry not in found:
            found.add(entry)
            left += [entry.source] if entry.source else entry.inputs
    return sorted(found, key=lambda entry: entry.number)


def _changes(entry: Entry, others: list) -> list:
    """The differences of a step's results; `others` are those of the baseline."""
    name = entry.step.name
    tracked = [entry.inputs[i] for i in entry.of("data", "stopped")]
    if entry.outputs[0].origin == "data" and all(
        structure.is_real(x.value) for x in tracked
    ):
        if name in families.LINEAR | families.ADDITIONS:
            return entry.step.run(*map(change, entry.inputs))
        if name in products.KNOWN:
            return [products.difference(entry)]
        if name in maximum.KNOWN:
            return [maximum.difference(entry)]
    pairs = zip(entry.outputs, others, strict=True)
    return [a.value - b if structure.is_real(a.value) else None for a, b in pairs]
