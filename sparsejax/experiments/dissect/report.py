"""The table and page of a run that dissected a lottery run, and its finding."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsejax import data, pages
from sparsejax.experiments import lottery
from sparsejax.experiments._study import report
from sparsejax.experiments._study.records import group, mean
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.dissect import figures

Records = Sequence[Mapping[str, Any]]
_KEPT = 0.01  # of accuracy, that may be lost


def finding(records: Records) -> str:
    """What the numbers of detectors say on the source's three hypotheses.

    A, no change, where some seeds have more and some less; B, more, and C, fewer, where
    all of them do; none is named for less than two seeds.
    """
    first = figures.of_arm(records, "rewind")
    accuracy = _means(first, "test_accuracy")
    density = {r["level"]: r["density"] for r in first}
    last = max(at for at in accuracy if accuracy[at] >= accuracy[0] - _KEPT)

    def told(kind):
        count = {(r["seed"], r["level"]): r[kind] for r in first}
        change = [count[seed, last] - count[seed, 0]
                  for seed, level in count if level == last]  # fmt: skip
        which = "B" if min(change) > 0 else "C" if max(change) < 0 else "A"
        speaks = f" (hypothesis {which})" if len(change) > 1 else ""
        mean = _means(first, kind)
        return f"{mean[last]:.1f} after {mean[0]:.1f}{speaks}"

    return (
        f"Pruned to {density[last]:.1%} of their weights, where accuracy still is "
        f"within a point, networks have {told('units')} detectors, and "
        f"{told('units_normalized')} by scores that know the concepts' sizes"
    )


def write(study: Study, shown: Mapping[str, Any], labels: data.Labels) -> None:
    """Write `fig_*.svg`, `table.md` and `index.html`.

    Args:
        study: the run.
        shown: the dense network's best units, from `Dissector.exemplars`.
        labels: concepts and their categories.
    """
    drawn = report.figures(study, figures.drawn(study, shown, labels))
    header, *rows = table(study.records)
    numbers = report.table(study, header, rows)
    report.page(
        study,
        "Dissecting pruned networks",
        pages.section("How good, how many", drawn["accuracy"], drawn["units"]),
        pages.section("What kinds", drawn["categories"]),
        pages.section("The same units?", drawn["consistency"]),
        pages.section("What units stand for", drawn["exemplars"]),
        pages.section("All numbers", numbers),
        lead=finding(study.records),
        footer="Frankle, Bau, Dissecting Pruned Neural Networks, arXiv:1907.00262. Bau "
        "et al., Network Dissection, arXiv:1704.05796.",
    )


def table(records: Records) -> list[list[str]]:
    """A row of means over seeds for each arm and level."""
    keys = {
        "units": "detectors", "rotated": "rotated", "units_normalized": "normalised",
        "rotated_normalized": "normalised, rotated", "concepts": "concepts",
        "still_detector": "still", "still_detector_by_chance": "by chance",
        "same_label": "same", "same_label_by_chance": "by chance",
    }  # fmt: skip
    rows = [["networks", "weights left", "accuracy", *keys.values()]]
    for arm in dict.fromkeys(r["arm"] for r in records):
        some = figures.of_arm(records, arm)
        for level in dict.fromkeys(r["level"] for r in some):
            here = [r for r in some if r["level"] == level]

            def share(key, here=here):
                return _percent([r[key] for r in here])

            cells = [
                share(key) if key.startswith(("still_detector", "same_label"))
                else _number([r[key] for r in here])
                for key in keys
            ]  # fmt: skip
            density = f"{100 * here[0]['density']:.3g}%"
            rows.append(
                [
                    lottery.LABELS.get(arm) or arm,
                    density,
                    share("test_accuracy"),
                    *cells,
                ]
            )
    return rows


def _means(records: Records, key: str) -> dict[int, float]:
    return {level: mean(rows, key) for level, rows in group(records, "level").items()}


def _percent(values) -> str:
    known = [v for v in values if v is not None and np.isfinite(v)]
    return f"{100 * np.mean(known):.1f}%" if known else "-"


def _number(values) -> str:
    known = [v for v in values if v is not None]
    return f"{np.mean(known):.1f}" if known else "-"
