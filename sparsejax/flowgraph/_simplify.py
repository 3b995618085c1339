"""A smaller graph of the same function on its domain, by what intervals prove.

What can only be one number becomes it; an operand that never wins a max, and a branch
that is never taken, go. Relus that are always active are linear: merging them with the
dot products around them can make the graph smaller or, where many read what reads many,
larger; hence the policies. Outside the domain the function may differ.
"""

import math
from collections.abc import Sequence

import numpy as np

from sparsejax import trees
from sparsejax.flowgraph import _bounds, _structure
from sparsejax.flowgraph._structure import AnyStructure

SIMPLIFY_POLICIES = ("off", "passthrough", "merge-if-smaller", "merge-all")
_UNORDERED = {"affine", "max", "min", "mul", "eq", "ne", "and", "or", "xor"}


def simplify(graph: AnyStructure, stable: str = "off") -> AnyStructure:
    """See `Graph.simplify`."""
    if stable not in SIMPLIFY_POLICIES:
        known = trees.listed(SIMPLIFY_POLICIES)
        raise ValueError(f"unknown policy {stable!r}; there are {known}")
    if graph.level != "dot":
        raise ValueError(
            f'simplify needs a graph at level "dot", this is at {graph.level!r}; '
            "simplify first, then take .at(level)"
        )
    before = None
    while before is None or _structure.nodes(graph) != _structure.nodes(before):
        before = graph
        graph = _folded(graph, passthrough=stable != "off")
        if stable.startswith("merge"):
            graph = _merged(graph, always=stable == "merge-all")
    return graph


def _folded(graph: AnyStructure, passthrough: bool) -> AnyStructure:
    """Constants, dominated operands, known branches and equal nodes; once through."""
    found = _bounds.bounds(graph)
    ranges = list(zip(found.low.tolist(), found.high.tolist(), strict=True))
    outputs = set(graph.outputs.tolist())
    nodes: list[tuple] = []
    shared: dict[tuple, int] = {}  # what a node computes -> the first that does
    new: list[int] = []  # node of the old graph -> node that has its value
    for i, (op, args, coefs, const, key) in enumerate(_structure.nodes(graph)):
        ends = [ranges[a] for a in args]
        if op != "input" and _is_point(ranges[i]):
            op, args, coefs, const = "const", [], [], ranges[i][0]
        op, args, coefs = _reduced(op, args, coefs, const, ends, passthrough)
        if op == "affine":
            args, coefs, const = _collected(args, coefs, const, ranges, new)
            op = "affine" if args else "const"
        elif op in ("max", "min"):
            args = list(dict.fromkeys(new[a] for a in args))
            op, coefs = (op if len(args) > 1 else "alias"), [1.0] * len(args)
        else:
            args = [new[a] for a in args]
        if op == "alias" and i not in outputs:
            new.append(args[0])
            continue
        if op == "alias":  # an output keeps a box of its own
            op, coefs, const = "affine", [1.0], 0.0
        terms = list(zip(args, coefs, strict=True))
        what = (op, tuple(sorted(terms) if op in _UNORDERED else terms), const)
        first = None if op == "input" else shared.setdefault(what, len(nodes))
        if first not in (None, len(nodes)):
            if i not in outputs:
                new.append(first)
                continue
            if len(args) > 1:
                op, args, coefs, const = "affine", [first], [1.0], 0.0
        new.append(len(nodes))
        nodes.append((op, args, coefs, const, key))
    at = np.array([new[node] for node in graph.outputs.tolist()])
    return _structure.build(nodes, graph, outputs=at).live()


def _is_point(ends: Sequence[float]) -> bool:
    return ends[0] == ends[1] and math.isfinite(ends[0])


def _reduced(op, args, coefs, const, ends, passthrough: bool) -> tuple:
    """An operation given the ranges of its operands; "alias": it is its one operand."""
    if op in ("max", "min"):
        sign = 1 if op == "max" else -1
        tops = [max(sign * low, sign * high) for low, high in ends]
        floors = [min(sign * low, sign * high) for low, high in ends]
        best = floors.index(max(floors))
        kept = [k for k in range(len(args)) if k == best or tops[k] > floors[best]]
        return op, [args[k] for k in kept], [1.0] * len(kept)
    if op == "select" and (ends[0][0] > 0 or ends[0][1] <= 0):
        return "alias", [args[2 if ends[0][0] > 0 else 1]], [1.0]
    if op == "mul":
        for k in (0, 1):
            if _is_point(ends[k]):
                return "affine", [args[1 - k]], [ends[k][0]]
    if op == "relu" and passthrough:
        low = const + sum(
            c * (end[0] if c > 0 else end[1])
            for c, end in zip(coefs, ends, strict=True)
        )
        if low >= 0:
            return "affine", args, coefs
    return op, args, coefs


def _collected(args, coefs, const, ranges, new):
    """A sum with constants added up and every node read once."""
    terms: dict[int, float] = {}
    for a, c in zip(args, coefs, strict=True):
        if _is_point(ranges[a]):
            const += c * ranges[a][0]
        else:
            terms[new[a]] = terms.get(new[a], 0.0) + c
    terms = {a: c for a, c in terms.items() if c}
    return list(terms), list(terms.values()), const


def _merged(graph: AnyStructure, always: bool) -> AnyStructure:
    """Dot products put in place of the edges from them to other dot products."""
    nodes, outputs = _structure.nodes(graph), set(graph.outputs.tolist())
    sums = {
        i: (dict(zip(args, coefs, strict=True)), const)
        for i, (op, args, coefs, const, _) in enumerate(nodes)
        if op == "affine"
    }
    readers = [set(found) for found in graph.readers]
    for i in sorted(sums):
        linear = readers[i] & sums.keys()
        stays = i in outputs or linear != readers[i]
        new = {r: _substituted(sums[r], i, sums[i]) for r in linear}
        extra = sum(len(new[r][0]) - len(sums[r][0]) for r in linear)
        if not always and extra > (0 if stays else len(sums[i][0])):
            continue
        for r in linear:
            for a in sums[r][0]:
                readers[a].discard(r)
            for a in new[r][0]:
                readers[a].add(r)
        sums |= new
        if not stays:
            for a in sums[i][0]:
                readers[a].discard(i)
    same = list(range(len(nodes)))  # what a node's readers can read instead
    merged = []
    for i, (op, args, coefs, const, key) in enumerate(nodes):
        if i in sums:
            terms, const = sums[i]
            args, coefs = list(terms), list(terms.values())
            if coefs == [1.0] and not const:
                same[i] = same[args[0]]
        merged.append((op, [same[a] for a in args], coefs, const, key))
    return _structure.build(merged, graph).live()


def _substituted(reader, node: int, of) -> tuple[dict[int, float], float]:
    """A sum with another sum in place of one of its terms."""
    terms, const = dict(reader[0]), reader[1]
    factor = terms.pop(node)
    for a, c in of[0].items():
        terms[a] = terms.get(a, 0.0) + factor * c
    return {a: c for a, c in terms.items() if c}, const + factor * of[1]
