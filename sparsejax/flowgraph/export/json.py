"""A graph as JSON: everything, whatever a page or a figure shows of it.

    {"format": "sparsejax.flowgraph", "version": 1, "level": "dot",
     "shape": [784], "image": [28, 28] or null, "dtype": "float32" or "float64",
     "input_names": [...], "low": [...], "high": [...],
     "inputs": [...], "outputs": [...], "output_names": [...],
     "ops": ["input", "affine", ...],             every operation that occurs
     "nodes": {"op": [...], "degree": [...], "args": [...], "coefs": [...],
               "consts": [...], "keys": [...]},
     "functions": {"gelu": {a graph of the same form, without format and version}}}

`nodes.op` indexes `ops`; node i has `degree[i]` operands, whose numbers and
coefficients follow one another in `args` and `coefs`. `low` and `high` are one number
where all are equal, null where there is no limit. With dtype "float32" the numbers are
float32 in their shortest decimal form. What the fields mean, `Graph` says.
"""

import json
import math
from typing import Any

import numpy as np

from sparsejax.flowgraph.graph import LEVELS, PLAIN, Graph, arity
from sparsejax.flowgraph.ops import OPS

FORMAT, VERSION = "sparsejax.flowgraph", 1


def to_json(graph: Graph) -> str:
    """The graph as JSON text; `from_json` gives it back, exactly."""
    whole = {"format": FORMAT, "version": VERSION, **to_dict(graph)}
    return json.dumps(whole, separators=(",", ":"), allow_nan=False)


def to_dict(graph: Graph) -> dict[str, Any]:
    """The graph as what JSON can hold."""
    numbers = np.concatenate([graph.coefs, graph.consts, graph.low, graph.high])
    if not np.isfinite(numbers[: len(graph.coefs) + len(graph.consts)]).all():
        raise ValueError("the graph has weights that are not finite: JSON has no such")
    with np.errstate(over="ignore"):
        single = bool((numbers.astype(np.float32) == numbers).all())

    def plain(array):
        return _numbers(array, single)

    def span(a):
        return plain(a[:1])[0] if (a == a[0]).all() else plain(a)

    ops = list(dict.fromkeys(graph.ops))
    index = {op: i for i, op in enumerate(ops)}
    return {
        "level": graph.level,
        "shape": list(graph.shape),
        "image": None if graph.image is None else list(graph.image),
        "dtype": "float32" if single else "float64",
        "input_names": list(graph.input_names),
        "low": span(graph.low),
        "high": span(graph.high),
        "inputs": graph.inputs.tolist(),
        "outputs": graph.outputs.tolist(),
        "output_names": list(graph.output_names),
        "ops": ops,
        "nodes": {
            "op": [index[op] for op in graph.ops],
            "degree": np.diff(graph.starts).tolist(),
            "args": graph.args.tolist(),
            "coefs": plain(graph.coefs),
            "consts": plain(graph.consts),
            "keys": list(graph.keys),
        },
        "functions": {name: to_dict(body) for name, body in graph.functions.items()},
    }


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


def _numbers(array: np.ndarray, single: bool) -> list[int | float | None]:
    if single:  # the decimals that tell a float32 from its neighbours
        array = array.astype(np.float32).astype(str).astype(np.float64)

    def short(v):
        return int(v) if v.is_integer() and abs(v) < 1e15 else v

    return [short(v) if math.isfinite(v) else None for v in array.tolist()]


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
