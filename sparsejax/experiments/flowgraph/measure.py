"""One network as a graph: traced, and what is told of each of its outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsejax import flowgraph
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.flowgraph.config import Config
from sparsejax.flowgraph import Bounds, Flag, Graph

_HIDDEN = 300  # nodes whose exact ranges are found too, a second each at most


def traced(subject: Subject, simplify: str = "no") -> Graph:
    """The graph of a network."""
    image = subject.image
    if image is not None and image[-1] == 1:
        image = image[:2]
    example = np.zeros(subject.shape, np.float32)
    graph = flowgraph.trace(
        subject.bound(), example, domain=subject.domain, image=image
    )
    return graph if simplify == "no" else graph.simplify(simplify)


def examples(subject: Subject, count: int) -> np.ndarray:
    """Positions of test inputs: the first of each label in turn."""
    order = np.argsort(subject.y, kind="stable")
    labels = subject.y[order]
    turn = np.arange(len(order)) - np.searchsorted(labels, labels)
    return order[np.lexsort((labels, turn))][:count]


class Known:
    """What all outputs share: interval bounds, values on the test set, proofs."""

    def __init__(self, graph: Graph, subject: Subject, flags: Sequence[Flag]):
        self.graph = graph
        self.interval = graph.bounds("interval")
        self.values = np.asarray(graph(subject.x))
        self.proofs = {f.key: f.proof for f in flags if f.kind == "constant output"}


def output(config: Config, known: Known, i: int) -> list[dict[str, Any]]:
    """The record of one output."""
    graph, values = known.graph, known.values[:, i]
    part, node = graph.subgraph(i), int(graph.outputs[i])
    vertices, edges = part.count("published")
    name = graph.output_names[i]
    low, high = known.interval.low[node], known.interval.high[node]
    record = {
        "output": name,
        "vertices": vertices,
        "edges": edges,
        "nodes": len(part),
        "inputs": len(part.inputs),
        "constant": known.proofs.get(name),
        "interval": [float(low), float(high)],
        "observed": [float(values.min()), float(values.max())],
    }
    if config.exact:
        bounds = graph.bounds("exact", nodes=[node], time_limit=config.time_limit)
        assert bounds.gap is not None
        assert bounds.witness_low is not None and bounds.witness_high is not None
        record["exact"] = [float(bounds.low[0]), float(bounds.high[0])]
        record["gap"] = bounds.gap[0].tolist()
        record["witness"] = [bounds.witness_low[0].tolist(),
                             bounds.witness_high[0].tolist()]  # fmt: skip
    return [record]


def exact(
    config: Config, graph: Graph, records: Sequence[dict[str, Any]]
) -> Bounds | None:
    """The exact ranges of the outputs and, where they are few, of what is hidden."""
    if not config.exact:
        return None
    ends = np.array([record["exact"] for record in records], np.float64)
    gaps = np.array([record["gap"] for record in records], np.float64)
    outputs = Bounds(graph.outputs, ends[:, 0], ends[:, 1], gaps)
    seen = {*graph.outputs.tolist(), *range(len(graph.inputs))}
    hidden = [i for i in range(len(graph)) if i not in seen]
    if not 0 < len(hidden) <= _HIDDEN:
        return outputs
    bounds = graph.bounds("exact", nodes=hidden, time_limit=min(config.time_limit, 1.0))

    def join(name):
        return np.concatenate([getattr(outputs, name), getattr(bounds, name)])

    return Bounds(join("nodes"), join("low"), join("high"), join("gap"))
