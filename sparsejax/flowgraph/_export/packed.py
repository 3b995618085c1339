"""What a page embeds: a graph and all that is known about it, in few bytes."""

import math
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsejax.flowgraph import _bounds, _evaluate
from sparsejax.flowgraph._export import json
from sparsejax.flowgraph._flags import flags
from sparsejax.flowgraph._structure import Structure

BINS = 16  # of a histogram
LISTED = 60  # flags of one kind by name; of the others their number


def pack(graph: Structure, inputs, observed, exact, name) -> dict[str, Any]:
    """A graph and all that is known about it."""
    expected = (
        np.asarray(_evaluate.outputs(graph, inputs), np.float32)
        if len(inputs)
        else np.zeros(0)
    )
    known = expected.astype(str).astype(float).astype(object)  # shortest decimals
    known[~np.isfinite(expected)] = None  # JSON has no such numbers
    return {
        "name": name,
        "graph": _short(json.to_dict(graph)),
        "ranges": {
            "interval": _ends(_bounds.bounds(graph), len(graph.inputs)),
            "exact": None if exact is None else _exact(exact),
            "observed": None if observed is None else _observed(graph, observed),
        },
        "flags": _flags(graph, observed),
        "expected": known.tolist(),
    }


def _short(whole: dict[str, Any]) -> dict[str, Any]:
    """Without what repeats: names that count, and keys that are names of inputs."""
    names, inputs, nodes = whole["input_names"], whole["inputs"], whole["nodes"]
    keys, kind = nodes["keys"], whole["dtype"]
    if inputs and keys[: len(inputs)] == [names[i] for i in inputs]:
        keys = keys[len(inputs) :]
    shapes = [whole["shape"], whole["image"] or [], (whole["image"] or [])[:2]]
    patterns = (_pattern(names, shape) for shape in shapes)
    return {
        **whole,
        "input_names": next(filter(None, patterns), names),
        "nodes": {
            "op": _binary(nodes["op"]),
            "degree": _binary(nodes["degree"]),
            "args": _binary(nodes["args"]),
            "coefs": _binary(nodes["coefs"], kind),
            "consts": _binary(nodes["consts"], kind),
            "keys": keys,
        },
        "functions": {key: _short(body) for key, body in whole["functions"].items()},
    }


def _binary(values: Any, kind: str | None = None) -> dict[str, str]:
    """Numbers as bytes in base64: half as long as their decimals."""
    if kind is None:
        kind = np.min_scalar_type(max(values, default=0)).name
    array = np.asarray(values, np.dtype(kind).newbyteorder("<"))
    return {kind: b64encode(array.tobytes()).decode("ascii")}


def _pattern(names: list[str], shape: Sequence[int]) -> dict[str, Any] | None:
    """{"pattern": [before, shape, after]} where names count through a shape."""
    first = ",".join("0" for _ in shape)
    if len(names) < 2 or len(names) != np.prod(shape) or first not in names[0]:
        return None
    before, _, after = names[0].partition(first)
    for name, at in zip(names, np.ndindex(*shape), strict=True):
        if name != f"{before}{','.join(map(str, at))}{after}":
            return None
    return {"pattern": [before, list(shape), after]}


def samples(inputs: np.ndarray) -> list[Any]:
    """Base64 where all numbers are k / 255: the same in 1/8 of the length."""
    flat = inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))
    bytes_ = np.clip(np.round(flat * 255), 0, 255).astype(np.uint8)
    if (bytes_.astype(np.float32) / np.float32(255) == flat).all():
        return [b64encode(row.tobytes()).decode("ascii") for row in bytes_]
    return list(flat)


def _ends(bounds: Any, first: int = 0) -> dict[str, Any]:
    """Ends as float32, rounded outward, so that they stay bounds.

    Those before `first` are left out: of inputs, the page has the domain.
    """
    return {
        "low": _binary(_outward(bounds.low[first:], -np.inf), "float32"),
        "high": _binary(_outward(bounds.high[first:], np.inf), "float32"),
    }


def _outward(ends: np.ndarray, side: float) -> np.ndarray:
    with np.errstate(over="ignore"):
        near = ends.astype(np.float32)
    short = near < ends if side > 0 else near > ends
    return np.where(short, np.nextafter(near, np.float32(side)), near)


def _exact(bounds: Any) -> dict[str, Any]:
    none = np.zeros((len(bounds.nodes), 2))
    gap = none if bounds.gap is None else np.asarray(bounds.gap)
    return {
        "nodes": np.asarray(bounds.nodes).tolist(),
        "gap": gap.max(axis=1).astype(np.float32),
        **_ends(bounds),
    }


def _observed(graph: Structure, data: np.ndarray) -> dict[str, Any]:
    """Least and most of every node, and a histogram between of those that compute.

    A bar is one digit, 0-9a-z.
    """
    values = np.asarray(_evaluate.nodes(graph, data))
    low, high = values.min(axis=0), values.max(axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        place = (values - low) / np.where(high > low, high - low, 1) * BINS
    # What is not finite goes to the ends.
    bins = np.clip(np.nan_to_num(place), 0, BINS - 1).astype(int)
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    bars = []
    for column in bins.T[len(graph.inputs) :]:
        counts = np.bincount(column, minlength=BINS)
        # Rounded up: a bin that holds something is seen.
        heights = np.ceil(counts / counts.max() * (len(digits) - 1)).astype(int)
        bars.append("".join(digits[h] for h in heights))
    return {
        "count": len(data),
        "low": _binary(low, "float32"),
        "high": _binary(high, "float32"),
        "bars": "".join(bars),
    }


def _flags(graph: Structure, observed: np.ndarray | None) -> list[dict[str, Any]]:
    """Flags of a kind and a proof together."""
    groups: dict[tuple[str, str], list] = {}
    for flag in flags(graph, observed):
        groups.setdefault((flag.kind, flag.proof), []).append([flag.key, flag.detail])
    entries = []
    for (kind, proof), items in groups.items():
        details = {detail for _, detail in items}
        # The page marks constant outputs: it has to know all of them.
        shown = items if kind == "constant output" else items[:LISTED]
        entries.append(
            {
                "kind": kind,
                "proof": proof,
                "count": len(items),
                "keys": [key for key, _ in shown],
                # What is the same for all is said once.
                "details": list(details)
                if len(details) == 1
                else [detail for _, detail in shown],
                "total": len(graph.low) if kind == "ignored input" else None,
            }
        )
    return entries
