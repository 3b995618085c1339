"""A graph read back from the JSON that `Graph.to_json` writes, and checked.

The format is described in `_export.json`.
"""

import json
import math
from typing import Any

import numpy as np

from sparsejax.flowgraph._export.json import FORMAT, VERSION
from sparsejax.flowgraph._graph import Graph
from sparsejax.flowgraph._ops import OPS
from sparsejax.flowgraph._structure import LEVELS, PLAIN, arity


def from_json(text: str) -> Graph:
    """Read a graph that `Graph.to_json` wrote.

    Raises:
        ValueError: if it is not such a graph, with what is wrong and where.
    """
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise ValueError(f"this is not JSON: {error}") from None
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise ValueError(f'this is not a flow graph: its "format" is not {FORMAT!r}')
    if whole.get("version") != VERSION:
        raise ValueError(
            f"this flow graph has version {whole.get('version')!r}, this library "
            f"reads version {VERSION}; use the library that wrote it"
        )
    try:
        return _graph(whole)
    except (KeyError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(
            f"this flow graph is damaged: {type(error).__name__}: {error}"
        ) from None


def _graph(whole: dict[str, Any]) -> Graph:
    kind = np.float32 if whole["dtype"] == "float32" else np.float64

    def numbers(values):
        return np.asarray(values, kind).astype(np.float64)

    def integers(values):
        return np.asarray(values, np.int64).reshape(-1)

    nodes, shape = whole["nodes"], tuple(map(int, whole["shape"]))
    size = math.prod(shape)
    fields = {
        "starts": np.concatenate([[0], np.cumsum(integers(nodes["degree"]))]),
        "args": integers(nodes["args"]),
        "coefs": numbers(nodes["coefs"]).reshape(-1),
        "consts": numbers(nodes["consts"]).reshape(-1),
        "keys": tuple(map(str, nodes["keys"])),
        "ops": tuple(str(whole["ops"][i]) for i in integers(nodes["op"])),
        "outputs": integers(whole["outputs"]),
        "output_names": tuple(map(str, whole["output_names"])),
        "input_names": tuple(map(str, whole["input_names"])),
    }
    n, edges = len(fields["ops"]), int(fields["starts"][-1])
    expected = {"starts": n + 1, "args": edges, "coefs": edges, "consts": n, "keys": n}
    expected |= {"output_names": len(fields["outputs"]), "input_names": size}
    for name, count in expected.items():
        if len(fields[name]) != count:
            raise ValueError(
                f"this flow graph is damaged: {len(fields[name])} {name}, expected "
                f"{count}"
            )
    graph = Graph(
        **fields,
        inputs=integers(whole["inputs"]),
        shape=shape,
        low=_limits(whole["low"], size, kind, -np.inf),
        high=_limits(whole["high"], size, kind, np.inf),
        image=None if whole["image"] is None else tuple(map(int, whole["image"])),
        functions={str(k): _graph(v) for k, v in whole["functions"].items()},
        level=str(whole["level"]),
    )
    _check(graph)
    return graph


def _limits(values, size: int, kind, absent: float) -> np.ndarray:
    given = values if isinstance(values, list) else [values]
    array = np.asarray([absent if v is None else v for v in given], kind)
    return np.broadcast_to(array, size).astype(np.float64)


def _check(graph: Graph) -> None:
    """Everything that the other modules rely on."""
    n, used, degree = len(graph), len(graph.inputs), np.diff(graph.starts)
    owner = np.repeat(np.arange(n), np.maximum(degree, 0))

    def outside(array, size):
        return bool(((array < 0) | (array >= size)).any())

    first = all((op == "input") == (i < used) for i, op in enumerate(graph.ops))
    problems = {
        "its level is unknown": graph.level not in LEVELS,
        "its inputs are not the first nodes": not first,
        "an input lies outside the shape": outside(graph.inputs, len(graph.low)),
        "there is no output": not len(graph.outputs),
        "an output is no node": outside(graph.outputs, n),
        "a node reads one that does not come before it": outside(graph.args, owner),
    }
    for problem, found in problems.items():
        if found:
            raise ValueError(f"this flow graph is damaged: {problem}")
    for i, op in enumerate(graph.ops):
        if op not in OPS and op not in PLAIN and op not in graph.functions:
            raise ValueError(f"node {i} has the unknown operation {op!r}")
        expected = 0 if op in ("input", "const") else arity(graph, op)
        any_number = op == "affine" or (op in OPS and expected == 0)
        any_number |= graph.level == "neuron" and expected == 1
        if degree[i] != expected and (not any_number or degree[i] < 1):
            raise ValueError(
                f"this flow graph is damaged: node {i} ({op}) has {degree[i]} "
                f"operands, expected {expected or 'some'}"
            )
