"""A graph in which some inputs are numbers: smaller, for many choices of them.

One pass folds what is known and shares what has become equal, so that two networks that
differ in a few masks are one network up to there. `_simplify` does more, and slower.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from sparsejax.flowgraph import _evaluate, _structure
from sparsejax.flowgraph._structure import PLAIN, AnyStructure

_SYMMETRIC = {"mul", "max", "min", "eq", "ne", "and", "or", "xor"}


def fixed(
    graph: AnyStructure,
    low: Float[np.ndarray, " inputs"],
    high: Float[np.ndarray, " inputs"],
) -> AnyStructure:
    """The graph on a box: inputs whose ends are equal become numbers.

    Args:
        graph: at level "dot".
        low, high: the box, one of every element of the flattened input.
    """
    writer = _Writer(graph)
    for op, args, coefs, const, key in _structure.nodes(graph):
        if op == "input":
            at = int(graph.inputs[len(writer.place)])
            number = float(low[at]) if low[at] == high[at] else None
            writer.input(key, number)
        elif op in PLAIN:
            writer.sum(args, coefs, const, key)
        else:
            writer.operation(op, args, coefs, const, key)
    outputs = np.array([writer.node(end) for end in graph.outputs.tolist()])
    small = _structure.build(writer.rows, graph, outputs=outputs, low=low, high=high)
    return dataclasses.replace(small, inputs=graph.inputs).live()


class _Writer:
    """The new nodes; `place` says of every old one what it is: a number, or

    a sum of new nodes: (nodes, coefficients, constant); one node is ((i,), (1,), 0).
    """

    def __init__(self, graph: _structure.Structure):
        self.graph = graph
        self.rows: list[tuple] = []
        self.place: list[float | int] = []  # numbers, or nodes as integers
        self.scaled: dict[int, tuple[int, float]] = {}  # node: node times a number
        self.known: dict[tuple, int] = {}

    def input(self, key: str, number: float | None) -> None:
        self.rows.append(("input", [], [], 0.0, key))
        self.place.append(len(self.rows) - 1 if number is None else number)

    def sum(self, args, coefs, const: float, key: str) -> None:
        total, terms = self.collected(args, coefs, const)
        self.place.append(self.written(total, terms, key))

    def collected(self, args, coefs, const: float) -> tuple[float, list]:
        """A sum's constant, and its terms in the order of the nodes."""
        terms: dict[int, float] = {}
        for a, c in zip(args, coefs, strict=True):
            value = self.place[a]
            if isinstance(value, float):
                const += c * value
                continue
            node, factor = self.scaled.get(value, (value, 1.0))
            terms[node] = terms.get(node, 0.0) + c * factor
        return const, sorted((a, c) for a, c in terms.items() if c)

    def written(self, const: float, terms: list, key: str) -> float | int:
        """A sum as a number, a node there is, or a new one."""
        if not terms:
            return float(const)
        if len(terms) == 1 and terms[0][1] == 1 and not const:
            return terms[0][0]
        args, coefs = [a for a, _ in terms], [c for _, c in terms]
        node = self.add("affine", args, coefs, const, key)
        if len(terms) == 1 and not const:
            self.scaled[node] = terms[0]
        return node

    def operation(self, op: str, args, coefs, const: float, key: str) -> None:
        if _structure.arity(self.graph, op) == 1:
            total, terms = self.collected(args, coefs, const)
            if not terms:
                self.place.append(self.value(op, [total]))
                return
            inner = self.written(total, terms, f"{key}.in")
            self.place.append(self.add(op, [inner], [1.0], 0.0, key))
            return
        operands = [self.place[a] for a in args]
        if all(isinstance(value, float) for value in operands):
            self.place.append(self.value(op, operands))
            return
        if op == "select" and isinstance(operands[0], float):
            self.place.append(operands[2 if operands[0] > 0 else 1])
            return
        if op == "mul":
            for number, other in (operands, operands[::-1]):
                if isinstance(number, float):
                    at = args[0] if other is operands[0] else args[1]
                    self.sum([at], [number], 0.0, key)
                    return
        nodes = [self.node_of(value) for value in operands]
        if op in ("max", "min"):
            nodes = list(dict.fromkeys(nodes))
            if len(nodes) == 1:
                self.place.append(nodes[0])
                return
        self.place.append(self.add(op, nodes, [1.0] * len(nodes), 0.0, key))

    def value(self, op: str, numbers: list) -> float:
        with np.errstate(all="ignore"):
            fn = _evaluate.numpy_function(self.graph, op)
            return float(fn(*(np.array([number]) for number in numbers))[0])

    def node(self, old: int) -> int:
        """The new node of an old one, numbers as constants."""
        return self.node_of(self.place[old])

    def node_of(self, value: float | int) -> int:
        if isinstance(value, float):
            return self.add("const", [], [], value, "constant")
        return value

    def add(self, op: str, args: list, coefs: list, const: float, key: str) -> int:
        """A node that computes this, new or not."""
        order = sorted(args) if op in _SYMMETRIC else args
        what = (op, tuple(order), tuple(coefs), const + 0.0)
        node = self.known.setdefault(what, len(self.rows))
        if node == len(self.rows):
            self.rows.append((op, args, coefs, const, key))
        return node
