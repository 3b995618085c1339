"""The figures of a run, from its records and arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsejax.experiments._study.records import group
from sparsejax.experiments.circuits import charts
from sparsejax.experiments.circuits import records as records_
from sparsejax.experiments.circuits.config import ABLATIONS, LABELS
from sparsejax.experiments.circuits.records import Record

Arrays = Mapping[Any, Mapping[str, np.ndarray]]
_PANELS = 9
UNITS = {
    "cross_entropy": "cross entropy (nats)",
    "kl": "KL divergence (nats)",
    "binary": "cross entropy of a label (nats)",
    "squared": "mean squared error",
    "error": "error",
}


def figures(records: Sequence[Record], arrays: Arrays) -> dict[str, tuple[Any, str]]:
    """Figures with their captions by name.

    Args:
        records: of the run.
        arrays: of every part, by (seed, ablation).
    """
    circuits = records_.of(records, "circuit")
    metric = str(circuits[0]["metric"])
    unit = UNITS.get(metric, metric)
    drawn = {"by_size": (_by_size(circuits, arrays, unit), _BY_SIZE)}
    if rows := _gaps(records):
        figure = charts.gaps(
            rows,
            title="How far the sets of finders are from the best",
            xlabel=f"mean gap over all sizes, {unit}",
        )
        drawn["gaps"] = figure, _GAPS
    return drawn


_BY_SIZE = (
    "The loss of the best set of every size; the band reaches to the worst of its "
    "supersets. A circuit is worth something where it is far below random sets, and "
    "stays low with other nodes on. Grey: what cannot have a circuit, by elimination "
    "on its own loss."
)
_GAPS = (
    "A dot for each seed: the mean over all sizes of the loss of a finder's set above "
    "that of the best set of that size. Of masks that are learned, the best run "
    "counts at every size."
)


def _by_size(circuits: Sequence[Record], arrays: Arrays, unit: str) -> Any:
    curves = []
    for record in circuits[:_PANELS]:
        seed, ablation = record["seed"], record["ablation"]
        mine = arrays[seed, ablation]
        curves.append(
            charts.Curves(
                title=f"seed {seed}, {ABLATIONS[ablation]}",
                best=mine["best/losses"],
                sizes=mine["sizes"],
                worst=mine["worst"],
                supersets=mine["supersets"],
                random=mine["random"],
                controls={
                    key.removeprefix("controls/"): losses
                    for key, losses in mine.items()
                    if key.startswith("controls/")
                },
                target=record["target"],
                size=record["size"],
            )
        )
    sizes = sorted({record["size"] for record in circuits})
    span = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
    title = f"{span} of {circuits[0]['nodes']} nodes are enough"
    return charts.by_size(curves, title=title, ylabel=unit)


def _gaps(records: Sequence[Record]) -> dict[str, dict[str, list[float]]]:
    """Mean gaps of all seeds by finder and ablation."""
    rows: dict[str, dict[str, list[float]]] = {}
    some = [r for r in records_.of(records, "finder") if "mean_gap" in r]
    by_finder = group([r for r in some if r["finder"] != "exact"], "finder")
    for name in [name for name in LABELS if name in by_finder]:
        rows[LABELS[name]] = {
            ABLATIONS[ablation]: [max(r["mean_gap"], 0.0) for r in mine]
            for ablation, mine in group(by_finder[name], "ablation").items()
        }
    return rows
