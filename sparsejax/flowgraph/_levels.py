"""One function with finer or coarser nodes: scalar, dot, neuron."""

import numpy as np

from sparsejax import trees
from sparsejax.flowgraph import _structure
from sparsejax.flowgraph._structure import LEVELS, AnyStructure, arity


def at(graph: AnyStructure, level: str) -> AnyStructure:
    """See `Graph.at`."""
    if level not in LEVELS:
        raise ValueError(f"unknown level {level!r}; there are {trees.listed(LEVELS)}")
    if graph.level == level:
        return graph
    if graph.level != "dot":
        raise ValueError(
            f"this graph is at level {graph.level!r}; take {level!r} from the graph "
            'that `trace` returned, which is at level "dot"'
        )
    return _scalar(graph) if level == "scalar" else _neuron(graph)


def _scalar(graph: AnyStructure) -> AnyStructure:
    """A box for every product, sum, bias and output."""
    nodes: list[tuple] = []
    new: list[int] = []  # node of the old graph -> node that has its value

    def add(op, args=(), coefs=(), const=0.0, key="") -> int:
        nodes.append((op, list(args), list(coefs), const, key))
        return len(nodes) - 1

    for op, args, coefs, const, key in _structure.nodes(graph):
        if op != "affine":
            new.append(add(op, [new[a] for a in args], coefs, const, key))
            continue
        terms = [
            new[a]
            if c == 1
            else add("affine", [new[a]], [c], 0.0, f"{key}*{graph.keys[a]}")
            for a, c in zip(args, coefs, strict=True)
        ]
        value = terms[0]
        if len(terms) > 1:
            value = add("affine", terms, [1.0] * len(terms), 0.0, key)
        if const:
            last = key if len(terms) == 1 else f"{key}+bias"
            value = add("affine", [value], [1.0], const, last)
        new.append(value)
    outputs = [
        add("output", [new[node]], [1.0], 0.0, name)
        for name, node in zip(graph.output_names, graph.outputs, strict=True)
    ]
    keys = _structure.unique([node[-1] for node in nodes])
    nodes = [(*node[:-1], key) for node, key in zip(nodes, keys, strict=True)]
    return _structure.build(nodes, graph, outputs=np.array(outputs), level="scalar")


def _neuron(graph: AnyStructure) -> AnyStructure:
    """A dot product that one nonlinearity alone reads becomes a part of it."""
    nodes = _structure.nodes(graph)
    visible = set(graph.outputs.tolist())
    merged: dict[int, int] = {}  # affine node -> its only reader
    for i, op in enumerate(graph.ops):
        readers = graph.readers[i]
        if op != "affine" or i in visible or len(readers) != 1:
            continue
        reader = readers[0]
        if graph.ops[reader] == "affine" or arity(graph, graph.ops[reader]) != 1:
            continue
        merged[i] = reader
    for affine, reader in merged.items():
        op, *_, key = nodes[reader]
        _, args, coefs, const, _ = nodes[affine]
        nodes[reader] = (op, args, coefs, const, key)
    keep = [i for i in range(len(nodes)) if i not in merged]
    new = {old: i for i, old in enumerate(keep)}
    kept = [
        (op, [new[a] for a in args], coefs, const, key)
        for op, args, coefs, const, key in (nodes[i] for i in keep)
    ]
    outputs = np.array([new[node] for node in graph.outputs.tolist()])
    return _structure.build(kept, graph, outputs=outputs, level="neuron")
