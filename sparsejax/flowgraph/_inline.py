"""A graph in fewer kinds of nodes, the same function, for what passes through it."""

import numpy as np

from sparsejax.flowgraph import _structure
from sparsejax.flowgraph._structure import PLAIN, Structure


def inlined(graph: Structure) -> tuple[Structure, np.ndarray]:
    """Functions replaced by their bodies, weighted sums apart; and where nodes went."""
    return _rewritten(graph, _Writer(functions=True, extremes=False))


def with_relus(graph: Structure) -> tuple[Structure, np.ndarray]:
    """max and min as sums with relus, weighted sums apart; and where nodes went."""
    return _rewritten(graph, _Writer(functions=False, extremes=True))


class _Writer:
    """The nodes of the new graph, and what is replaced on the way."""

    def __init__(self, *, functions: bool, extremes: bool):
        self.functions, self.extremes = functions, extremes
        self.nodes: list[tuple] = []

    def add(self, op: str, args, coefs, const: float, key: str) -> int:
        self.nodes.append((op, list(args), list(coefs), const, key))
        return len(self.nodes) - 1

    def put(self, graph: Structure, operands: list[int] | None, prefix="") -> list[int]:
        """Write a graph's nodes, its inputs being `operands`; and where they are."""
        place: list[int] = []
        for op, args, coefs, const, key in _structure.nodes(graph):
            args, key = [place[a] for a in args], prefix + key
            if op == "input" and operands is not None:
                place.append(operands[graph.inputs[len(place)]])
                continue
            one = op not in PLAIN and _structure.arity(graph, op) == 1
            if one and (coefs != [1.0] or const):
                args = [self.add("affine", args, coefs, const, key)]
                coefs, const = [1.0], 0.0
            if self.functions and op in graph.functions:
                body = graph.functions[op]
                place.append(self.put(body, args, f"{key}: ")[body.outputs[0]])
            elif self.extremes and op in ("max", "min"):
                place.append(self.extreme(op, args, key))
            else:
                place.append(self.add(op, args, coefs, const, key))
        return place

    def extreme(self, op: str, args: list[int], key: str) -> int:
        """max(a, b) = b + relu(a - b), min(a, b) = b - relu(b - a), two at a time."""
        sign = 1.0 if op == "max" else -1.0
        best = args[0]
        for b in args[1:]:
            over = self.add("affine", [best, b], [sign, -sign], 0.0, f"{key}: over")
            relu = self.add("relu", [over], [1.0], 0.0, f"{key}: relu")
            best = self.add("affine", [b, relu], [1.0, sign], 0.0, key)
        if len(args) == 1:
            best = self.add("affine", args, [1.0], 0.0, key)
        return best


def _rewritten(graph: Structure, writer: _Writer) -> tuple[Structure, np.ndarray]:
    place = np.array(writer.put(graph, None))
    functions = {} if writer.functions else graph.functions
    outputs = place[graph.outputs]
    flat = _structure.build(
        writer.nodes, graph, outputs=outputs, functions=functions, level="dot"
    )
    return flat, place
