"""A graph read back from the JSON that `Graph.to_json` writes, and checked.

The format is described in `_export.json`.
"""

import math
from typing import Any

import numpy as np

from sparsejax import _untrusted
from sparsejax._words import listed
from sparsejax.flowgraph._export.json import FORMAT, VERSION
from sparsejax.flowgraph._graph import Graph
from sparsejax.flowgraph._ops import OPS
from sparsejax.flowgraph._structure import LEVELS, PLAIN, arity


def from_json(text: str) -> Graph:
    """Read a graph that `Graph.to_json` wrote.

    Raises:
        ValueError: if it is not such a graph, with what is wrong and where.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsejax.flowgraph import trace
        >>> graph = trace(lambda x: x @ jnp.array([2.0, -1.0, 0.0]), jnp.zeros(3))
        >>> from_json(graph.to_json())
        Graph(3 vertices, 2 edges, 2 of 3 inputs, 1 outputs, level='dot')
    """
    try:
        whole = _untrusted.json_value(text)
    except ValueError as error:
        raise ValueError(f"this is not JSON: {error}") from None
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise ValueError(f'this is not a flow graph: its "format" is not {FORMAT!r}')
    if whole.get("version") != VERSION:
        raise ValueError(
            f"this flow graph has version {whole.get('version')!r:.40}, this library "
            f"reads version {VERSION}; use the library that wrote it"
        )
    try:
        return _graph(whole)
    except Exception as error:  # whatever values of other types can cause
        text = str(error) if type(error) is ValueError else repr(error)
        if not text.startswith(("this flow graph", "node ")):
            text = f"this flow graph is damaged: {text}"
        raise ValueError(_untrusted.one_line(text)) from None


def _graph(whole: dict[str, Any]) -> Graph:
    kind = np.float32 if whole["dtype"] == "float32" else np.float64

    def numbers(values):
        _check_types(values, int, float)
        with np.errstate(over="ignore"):
            array = np.asarray(values, kind).astype(np.float64)
        if not np.isfinite(array).all():
            raise ValueError("a number that is not finite")
        return array

    def integers(values):
        _check_types(values, int)
        return np.asarray(values, np.int64)

    def texts(values):
        _check_types(values, str)
        return tuple(values)

    nodes, shape = whole["nodes"], tuple(integers(whole["shape"]).tolist())
    degree, size = integers(nodes["degree"]), math.prod(shape)
    ops, used = texts(whole["ops"]), integers(nodes["op"])
    if min([*shape, *degree, *used], default=0) < 0:
        raise ValueError("a number below 0 that cannot be")
    if degree.max(initial=0) > (edges := len(nodes["args"])):
        raise ValueError(f"{edges} args, expected {degree.max()} for one node")
    fields = {
        "starts": np.concatenate([[0], np.cumsum(degree)]),
        "args": integers(nodes["args"]),
        "coefs": numbers(nodes["coefs"]),
        "consts": numbers(nodes["consts"]),
        "keys": texts(nodes["keys"]),
        "ops": tuple(ops[i] for i in used),
        "outputs": integers(whole["outputs"]),
        "output_names": texts(whole["output_names"]),
        "input_names": texts(whole["input_names"]),
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
        image=_image(whole["image"], shape),
        functions={name: _graph(body) for name, body in whole["functions"].items()},
        level=str(whole["level"]),
    )
    _check(graph)
    return graph


def _check_types(values: Any, *kinds: type) -> None:
    """That numbers are numbers: NumPy would take text and truth for them."""
    if not isinstance(values, list) or not set(map(type, values)) <= set(kinds):
        there = listed(sorted({type(value).__name__ for value in values}))
        raise TypeError(f"expected a list of {kinds[-1].__name__}, got {there}")


def _image(values: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    if values is None:
        return None
    _check_types(values, int)
    if min(values, default=0) < 1 or math.prod(values) != math.prod(shape):
        raise ValueError(f"an image of {values} of inputs of {shape}")
    return tuple(values)


def _limits(values, size: int, kind, absent: float) -> np.ndarray:
    several = values if isinstance(values, list) else [values]
    _check_types(several, type(None), int, float)
    array = np.asarray([absent if v is None else v for v in several], kind)
    return np.broadcast_to(array, size).astype(np.float64)


def _check(graph: Graph) -> None:
    """Everything that the other modules rely on."""
    n, used, degree = len(graph), len(graph.inputs), np.diff(graph.starts)
    owner = np.repeat(np.arange(n), np.maximum(degree, 0))

    def outside(array, size):
        return bool(((array < 0) | (array >= size)).any())

    first = all((op == "input") == (i < used) for i, op in enumerate(graph.ops))
    problems = {
        "its limits are none": not (graph.low <= graph.high).all(),
        "its level is unknown": graph.level not in LEVELS,
        "its inputs are not the first nodes": not first,
        "an input lies outside the shape": outside(graph.inputs, len(graph.low)),
        "there is no output": not len(graph.outputs),
        "an output is not a node": outside(graph.outputs, n),
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
