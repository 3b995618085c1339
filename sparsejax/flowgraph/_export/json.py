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

from sparsejax.flowgraph._structure import Structure

FORMAT, VERSION = "sparsejax.flowgraph", 1


def to_json(graph: Structure) -> str:
    """The graph as JSON text; `from_json` gives it back, exactly."""
    whole = {"format": FORMAT, "version": VERSION, **to_dict(graph)}
    return json.dumps(whole, separators=(",", ":"), allow_nan=False)


def to_dict(graph: Structure) -> dict[str, Any]:
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


def _numbers(array: np.ndarray, single: bool) -> list[int | float | None]:
    if single:  # the decimals that tell a float32 from its neighbours
        array = array.astype(np.float32).astype(str).astype(np.float64)

    def short(v):
        return int(v) if v.is_integer() and abs(v) < 1e15 else v

    return [short(v) if math.isfinite(v) else None for v in array.tolist()]
