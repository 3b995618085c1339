"""The last tickets of a lottery run as flow graphs, counted: a row for every seed."""

from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import flowgraph
from sparsejax.experiments import lottery


def measure(
    folder: Path | None, data_dir: str | Path | None = None
) -> list[dict[str, Any]]:
    """Vertices and edges as published, the largest output, and constant outputs.

    Args:
        folder: the lottery run's.
        data_dir: folder of its data.
    """
    assert folder is not None
    return [_row(folder, seed, data_dir) for seed in lottery.read(folder).seeds]


def _row(folder: Path, seed: int, data_dir: str | Path | None) -> dict[str, Any]:
    subject = lottery.subject(folder, seed=seed, data_dir=data_dir)
    graph = flowgraph.trace(
        subject.bound(), np.zeros(subject.shape, np.float32), domain=subject.domain
    )
    vertices, edges = graph.count("published")
    each = [graph.subgraph(i).count("published")[0] for i in range(len(graph.outputs))]
    largest = int(np.argmax(each))
    constant = {
        flag.key: flag.proof for flag in graph.flags()
        if flag.kind == "constant output"
    }  # fmt: skip
    return {
        "seed": seed,
        "vertices": vertices,
        "edges": edges,
        "largest": each[largest],
        "largest_output": graph.output_names[largest],
        "constant": constant,
        "inputs": len(graph.inputs),
    }
