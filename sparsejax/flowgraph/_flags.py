"""What in a graph does nothing, or less than it seems: and how sure that is.

Three proofs, strongest first: "structural", from the graph alone; "bounds", by
intervals for every input of the domain; "observed", on the inputs given and perhaps not
on others. Units without inputs or readers are not in the graph in the first place
(`trace` folds them); `prune.idle` counts those in the network.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike

from sparsejax import pages, trees
from sparsejax.flowgraph import _evaluate
from sparsejax.flowgraph._bounds import CHUNK, bounds
from sparsejax.flowgraph._structure import PLAIN, Structure

PROOFS = ("structural", "bounds", "observed")


class Flag(NamedTuple):
    """One finding.

    Attributes:
        kind: "constant output", "never wins" (an output that is never the largest),
            "ignored input", "dead unit" (always 0), "constant unit", "duplicate unit"
            (equal to another) or "stable unit" (a relu that is always active).
        key: of the node; of an output or an input, its name.
        proof: "structural", "bounds" or "observed".
        detail: the numbers, for people.
    """

    kind: str
    key: str
    proof: str
    detail: str


class Flags(list[Flag]):
    """Findings about a graph; a notebook shows them as a table."""

    @pages.display
    def _repr_html_(self) -> str:
        groups: dict[tuple[str, str], list[str]] = {}
        for flag in self:
            groups.setdefault((flag.kind, flag.proof), []).append(flag.key)
        rows = [
            (kind, proof, len(keys), trees.listed(keys).replace("'", ""))
            for (kind, proof), keys in groups.items()
        ]
        title = pages.counted(len(self), "finding")
        header = ("what", "proof", "number", "which")
        return pages.output(pages.listing(rows, header, title=title))


def flags(graph: Structure, x: ArrayLike | Any = None) -> list[Flag]:
    """See `Graph.flags`."""
    found = bounds(graph)
    rounds = [_structural(graph, found.low), _proved(graph, found.low, found.high)]
    if x is not None:
        rounds.append(_observed(graph, x))
    kept: dict[tuple[str, str], Flag] = {}
    for proof, flagged in zip(PROOFS, rounds, strict=False):
        for kind, key, detail in flagged:
            kept.setdefault((kind, key), Flag(kind, key, proof, detail))
    return Flags(kept.values())


def _structural(graph: Structure, values) -> Iterator[tuple[str, str, str]]:
    varies = np.array([op == "input" for op in graph.ops])
    for i in range(len(graph)):
        varies[i] |= bool(varies[graph.operands(i)[0]].any())
    yield from _constants(graph, ~varies, values)
    read = set(graph.inputs.tolist())
    for i, name in enumerate(graph.input_names):
        if i not in read:
            yield "ignored input", name, "nothing reads it"
    first: dict[tuple, int] = {}
    for i in _units(graph):
        args, coefs = (part.tolist() for part in graph.operands(i))
        same = (graph.ops[i], tuple(args), tuple(coefs), graph.consts[i])
        if first.setdefault(same, i) != i:
            yield "duplicate unit", graph.keys[i], f"equals {graph.keys[first[same]]}"


def _proved(graph: Structure, low, high) -> Iterator[tuple[str, str, str]]:
    fixed = low == high
    yield from _constants(graph, fixed, low)
    yield from _without_influence(graph, fixed)
    for i in _units(graph):
        if graph.ops[i] == "relu" and not fixed[i]:
            args, coefs = graph.operands(i)
            ends = np.where(coefs > 0, low[args], high[args])
            with np.errstate(invalid="ignore"):  # infinity minus infinity
                least = (coefs * ends).sum() + graph.consts[i]
            if least >= 0:
                detail = f"its sum is at least {least:.4g}"
                yield "stable unit", graph.keys[i], detail
    if len(graph.outputs) > 1:
        best = graph.outputs[np.argmax(low[graph.outputs])]
        top = graph.output_names[int(np.argmax(low[graph.outputs]))]
        for node, name in zip(graph.outputs, graph.output_names, strict=True):
            if high[node] < low[best]:
                detail = f"at most {high[node]:.4g}; {top} is at least {low[best]:.4g}"
                yield "never wins", name, detail


def _observed(graph: Structure, x) -> Iterator[tuple[str, str, str]]:
    found = bounds(graph, "observed", x=x)
    x = np.asarray(x)
    fixed = found.low == found.high
    on = f"on {len(x)} inputs"
    for kind, key, detail in _constants(graph, fixed, found.low):
        yield kind, key, f"{detail} {on}"
    starts = range(0, len(x), CHUNK)
    chunks = [np.asarray(_evaluate.nodes(graph, x[s : s + CHUNK])) for s in starts]
    values = np.concatenate(chunks)
    units = [i for i in _units(graph) if not fixed[i]]
    for i in units:
        args, coefs = graph.operands(i)
        if graph.ops[i] == "relu":
            least = (values[:, args] @ coefs).min() + graph.consts[i]
            if least >= 0:
                detail = f"its sum is at least {least:.4g} {on}"
                yield "stable unit", graph.keys[i], detail
    first: dict[bytes, int] = {}
    for i in units:
        if first.setdefault(values[:, i].tobytes(), i) != i:
            same = graph.keys[first[values[:, i].tobytes()]]
            yield "duplicate unit", graph.keys[i], f"equals {same} {on}"
    if len(graph.outputs) > 1:
        winners = set(values[:, graph.outputs].argmax(axis=1).tolist())
        for k, name in enumerate(graph.output_names):
            if k not in winners:
                yield "never wins", name, f"never the largest {on}"


def _units(graph: Structure) -> list[int]:
    """Nodes of an operation, outputs apart."""
    outputs = set(graph.outputs.tolist())
    return [i for i, op in enumerate(graph.ops) if op not in PLAIN and i not in outputs]


def _constants(graph: Structure, fixed, values) -> Iterator[tuple[str, str, str]]:
    for node, name in zip(graph.outputs.tolist(), graph.output_names, strict=True):
        if fixed[node]:
            yield "constant output", name, f"always {values[node]:.4g}"
    for i in _units(graph):
        if fixed[i]:
            kind = "constant unit" if values[i] else "dead unit"
            yield kind, graph.keys[i], f"always {values[i]:.4g}"


def _without_influence(graph: Structure, fixed) -> Iterator[tuple[str, str, str]]:
    """Inputs that are constant, or read only on the way to constants."""
    reaches = np.zeros(len(graph), bool)
    reaches[graph.outputs] = True
    for i in range(len(graph) - 1, -1, -1):
        reaches[i] &= not fixed[i]
        if reaches[i]:
            reaches[graph.operands(i)[0]] = True
    for node, i in enumerate(graph.inputs.tolist()):
        if not reaches[node]:
            detail = "constant" if fixed[node] else "read by constant nodes alone"
            yield "ignored input", graph.input_names[i], detail
