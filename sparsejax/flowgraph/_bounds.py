"""How low and how high every node of a graph can get.

Four answers, three of them from cheap to certain. Intervals (`_ranges`) go once through
the graph and hold for every input of the domain, but may be too wide. Linear bounds
(`_relaxation`) follow every node back to the inputs, by lines: narrower, and never
wider. Exact ranges (`_exact`) solve two mixed-integer programs a node, and give the
inputs that reach the ends: for networks of relu, max and their like. Observed ranges
are those of a batch, and promise nothing else.

Numbers are float64: what JAX computes in float32 may leave its range by rounding.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from sparsejax import checks, pages, trees
from sparsejax.flowgraph import _evaluate, _exact, _ranges
from sparsejax.flowgraph._relaxation import Relaxation
from sparsejax.flowgraph._structure import Structure

METHODS = ("interval", "linear", "exact", "observed")
CHUNK = 1024  # inputs observed at a time


class Bounds(NamedTuple):
    """Ranges of some nodes.

    Attributes:
        nodes: their ids, shape (k,).
        low, high: no value in the domain is outside; shape (k,).
        gap: of exact bounds, shape (k, 2): how far the witness's value is from the
            bound, for low and for high; 0 where the bound is proved to be reached.
        witness_low, witness_high: of exact bounds, shape (k, *shape): inputs at which
            the node is `low + gap` and `high - gap`.
    """

    nodes: Int[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    gap: Float[np.ndarray, "k 2"] | None = None
    witness_low: Float[np.ndarray, "k *shape"] | None = None
    witness_high: Float[np.ndarray, "k *shape"] | None = None

    @pages.display
    def _repr_html_(self) -> str:
        gap = [None] * len(self.nodes) if self.gap is None else self.gap.max(axis=1)
        columns = self.nodes.tolist(), self.low, self.high, gap
        header = ("node", "low", "high", "gap")
        title = f"Ranges of {pages.counted(len(self.nodes), 'node')}"
        rows = zip(*columns, strict=True)
        return pages.output(pages.listing(rows, header, title=title))


def bounds(
    graph: Structure,
    method: str = "interval",
    *,
    x: ArrayLike | Any = None,
    nodes: Any = None,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    time_limit: float = 10.0,
    steps: int = 0,
) -> Bounds:
    """See `Graph.bounds`."""
    if method not in METHODS:
        raise ValueError(
            f"unknown method {method!r}; there are {trees.listed(METHODS)}"
        )
    if nodes is None and method in ("linear", "exact"):
        nodes = "outputs"
    ids = _chosen(graph, nodes)
    if method == "observed":
        least, most = _observed(graph, x)
        return Bounds(ids, least[ids], most[ids])
    box = _box(graph, low, high)
    steps = checks.integer(steps, "steps", 0)
    if method == "linear":
        return Bounds(ids, *Relaxation(graph, *box).bounds(ids, steps))
    if method == "exact":
        return Bounds(ids, *_exact.solve(graph, ids, *box, time_limit))
    least, most = _ranges.ranges(graph, box[0][:, None], box[1][:, None])
    return Bounds(ids, least[ids, 0], most[ids, 0])


def _observed(graph: Structure, x) -> tuple[np.ndarray, np.ndarray]:
    if x is None:
        raise ValueError(
            'observed bounds need inputs: bounds(graph, "observed", x=inputs)'
        )
    checks.array(x, before="")
    x = np.asarray(x)
    if x.shape[1:] != graph.shape or not x.ndim or not len(x):
        raise ValueError(
            f"expected x of shape (batch, {', '.join(map(str, graph.shape))}) with "
            f"at least one input, got {x.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError("x has values that are NaN or infinite")
    size = min(CHUNK, len(x))
    # the last chunk overlaps the one before: all have one shape, compiled once
    starts = [min(start, len(x) - size) for start in range(0, len(x), size)]
    parts = [
        np.asarray(_evaluate.nodes(graph, x[s : s + size]), np.float64) for s in starts
    ]
    least = np.min([part.min(axis=0) for part in parts], axis=0)
    return least, np.max([part.max(axis=0) for part in parts], axis=0)


def _box(graph: Structure, low, high) -> tuple[np.ndarray, np.ndarray]:
    """The flat domain, or what replaces it."""
    flat = []
    for name, given, own in (("low", low, graph.low), ("high", high, graph.high)):
        end = np.asarray(own if given is None else given, np.float64)
        if end.shape not in ((), graph.shape, graph.low.shape):
            raise ValueError(
                f"{name} must be a scalar or of the input's shape {graph.shape}, got "
                f"{end.shape}"
            )
        flat.append(np.broadcast_to(end.reshape(-1), graph.low.shape))
    wrong = np.flatnonzero(~(flat[0] <= flat[1]))
    if len(wrong):
        names = trees.listed(graph.input_names[i] for i in wrong)
        first = f"{flat[0][wrong[0]]} and {flat[1][wrong[0]]}"
        raise ValueError(f"low is above high at {names}: {first} at the first of them")
    return flat[0], flat[1]


def _chosen(graph: Structure, nodes) -> np.ndarray:
    """Ids of the nodes asked for."""
    if nodes is None:
        return np.arange(len(graph))
    places = {key: i for i, key in enumerate(graph.keys)}
    if isinstance(nodes, str) and nodes == "outputs":
        return graph.outputs.astype(np.int64)
    ids = []
    for node in checks.several(nodes):
        if isinstance(node, str) and node not in places:
            raise ValueError(f"no node {node!r}; there are {trees.listed(graph.keys)}")
        i = places[node] if isinstance(node, str) else int(node)
        if not 0 <= i < len(graph):
            raise ValueError(f"no node {i}: the graph has {len(graph)}, counted from 0")
        ids.append(i)
    return np.array(ids, np.int64)
