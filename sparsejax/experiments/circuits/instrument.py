"""The part of the page in which circuits are taken apart: losses by look-up.

All 2^n losses of a part are in the page, where there are few nodes, so that whatever is
switched off, its loss, and those of its supersets, are there at once.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsejax import trees
from sparsejax.experiments._study import report
from sparsejax.experiments.circuits import losses
from sparsejax.experiments.circuits import records as records_
from sparsejax.experiments.circuits.cases import Case
from sparsejax.experiments.circuits.config import ABLATIONS, LABELS, Config
from sparsejax.experiments.circuits.figures import UNITS
from sparsejax.experiments.circuits.records import Record

_MOST = 400_000  # bytes of all tables
_WEIGHTS = 500_000  # bytes of all networks
_SEQUENCES = 8
_SETS = 60
_SCRIPTS = ("table.js", "network.js", "circuits.js", "machine.js")


def data(
    config: Config,
    cases: Mapping[int, Case],
    records: Sequence[Record],
    arrays: Mapping[Any, Mapping[str, np.ndarray]],
) -> dict[str, Any]:
    """What the page's script reads.

    Args:
        config: of the run.
        cases: networks by seed.
        records: of the run.
        arrays: of every part, by (seed, ablation).
    """
    parts, left = [], _MOST
    for record in records_.of(records, "circuit"):
        seed, ablation = record["seed"], record["ablation"]
        mine = arrays[seed, ablation]
        table = mine.get("table")
        shipped = table is not None and table.nbytes <= left
        left -= table.nbytes if table is not None and shipped else 0
        parts.append(
            _part(cases[seed], record, mine)
            | {
                "seed": seed,
                "name": f"seed {seed}, {ABLATIONS[ablation]}",
                "table": _bytes(table) if table is not None and shipped else None,
                "finders": _finders(records, seed, ablation),
            }
        )
    unit = parts[0].pop("unit") if parts else ""
    places = [*arrays]
    return {"parts": parts, "unit": unit, "network": _network(cases, places)}


def script() -> str:
    """The script of this part of the page."""
    return "\n".join(report.resource(__name__, name) for name in _SCRIPTS)


def style() -> str:
    """Its style."""
    return report.resource(__name__, "circuits.css")


def _network(
    cases: Mapping[int, Case], places: Sequence[tuple[int, str]]
) -> dict[str, Any] | None:
    """Transformers with their weights, to be run in the page; None for other networks.

    Args:
        cases: networks by seed.
        places: seed and ablation of every part.
    """
    first = next(iter(cases.values()))
    if first.architecture is None:
        return None
    weights, left = {}, _WEIGHTS
    for seed, case in cases.items():
        arrays = trees.to_arrays(case.params)
        left -= sum(array.nbytes for array in arrays.values())
        if left >= 0:
            weights[seed] = {name: _bytes(array) for name, array in arrays.items()}
    if not weights:
        return None
    ablations = []
    for seed, ablation in places:
        values, case = None, cases[seed]
        if ablation in ("mean", "position_mean") and seed in weights:
            means = losses.values(case, ablation, case.examples, case.params)
            values = [_bytes(np.asarray(means[name])) for name in case.nodes]
        ablations.append({"kind": ablation, "values": values})
    last = first.architecture["layers"] - 1
    return first.architecture | {
        "x": first.examples.x[:_SEQUENCES],
        "corrupted": first.examples.corrupted[:_SEQUENCES],
        "weights": weights,
        "ablations": ablations,
        "starts": [0] * last + [first.architecture["first"]],
    }


def _part(case: Case, record: Record, mine: Mapping[str, np.ndarray]) -> dict:
    keep = mine["best/keep"]
    names = [*case.own]
    return {
        "unit": UNITS.get(record["metric"], record["metric"]),
        "labels": case.labels,
        "groups": [[name, int(case.own[name].size)] for name in names],
        "target": record["target"],
        "size": record["size"],
        "exact": record["exact"],
        "best": [np.flatnonzero(row) for row in keep],
        "losses": mine["best/losses"].astype(np.float32),
        "sizes": mine["sizes"],
        "worst": mine["worst"].astype(np.float32),
        "supersets": mine["supersets"].astype(np.float32),
        "random": mine["random"].astype(np.float32),
        "controls": {
            key.removeprefix("controls/"): losses.astype(np.float32)
            for key, losses in mine.items()
            if key.startswith("controls/")
        },
        "near": record["alternatives"]["sets"][:_SETS],
        "slack": record["alternatives"]["slack"],
        "minimal": record.get("minimal", [])[:_SETS],
        "minimalCount": record.get("minimal_count"),
        "necessary": record.get("necessary"),
        "gates": record.get("gates", [])[:_SETS],
        "faithful": record["faithful"],
        "reasons": list(record["reasons"]),
    }


def _finders(records: Sequence[Record], seed: int, ablation: str) -> list[dict]:
    """Finders with what the page says of them."""
    mine = records_.of(records, "finder", seed=seed, ablation=ablation)
    found = {record["finder"]: record for record in mine}
    return [
        {
            "name": LABELS[name],
            "size": found[name]["size"],
            "gap": found[name].get("gap"),
            "mean": found[name].get("mean_gap"),
            "evaluations": found[name]["evaluations"],
        }
        for name in LABELS
        if name in found
    ]


def _bytes(array: np.ndarray) -> str:
    return b64encode(array.astype("<f4").tobytes()).decode("ascii")
