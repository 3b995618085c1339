"""The page of a sweep of node masks: figures, tables and what was found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsejax import pages
from sparsejax.experiments._study import report
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.node_sweep import figures
from sparsejax.experiments.node_sweep.measure import Sample
from sparsejax.experiments.node_sweep.scores import Score
from sparsejax.experiments.node_sweep.sweeps import switched
from sparsejax.experiments.node_sweep.units import Kept, Units
from sparsejax.pages import counted

_ROWS = 200  # units in the table
_MANY = 4  # distributions that one sentence can name
_CAPTION = (
    "Means with half of their 95% intervals (none where all masks are known), and "
    "deviations over masks. Within a point: the share of masks that lose at most one "
    "point of accuracy. Gradient: of the loss to the mask, mean for units on and off."
)
_ENOUGH = (
    "Enough: the fewest units that lose at most one point of accuracy. Best of all, "
    "where all subsets are known: the lowest loss of every size."
)
_SCORES = (
    "Sorted by the first score. Shapley value: what the unit takes off the loss as "
    "units join in random order. Leave one out: what its removal alone adds to the "
    "loss. Mean effect: what it takes off the mean loss over the masks of a "
    "distribution. ± one standard error."
)


def write(
    study: Study,
    title: str,
    units: Units,
    samples: Sequence[Sample],
    scores: Mapping[str, Score],
    kept: Mapping[str, Kept],
) -> None:
    """Write `fig_*.svg`, `table.md` and `index.html`.

    Args:
        study: the run, with a record for each distribution.
        title: of the network.
        units: the network as a function of its units.
        samples: the distributions.
        scores: of units, the one to trust first.
        kept: the networks of the best units.
    """
    records = study.records
    plates = report.figures(
        study, figures.figures(units, samples, records, scores, kept)
    )
    rows, header = _distributions(records)
    report.page(
        study,
        f"Node masks: {title}",
        pages.facts(_facts(units, records, kept)),
        pages.section(
            "What removing units does",
            plates["loss"],
            report.table(study, header, rows, caption=_CAPTION),
        ),
        pages.section(
            "Which units to keep",
            plates["kept"],
            pages.table(*_orders(kept, records[0]["full"]), caption=_ENOUGH),
            note="A score ranks units by what each does alone or on average. What k "
            "units do together is another question: compare with greedy elimination, "
            "which asks it again after every removal.",
        ),
        pages.section(
            "How much each unit matters",
            plates["units"],
            pages.table(*_table(scores, units.names), caption=_SCORES),
        ),
        lead=finding(records),
        footer=f"Made by sparsejax. All losses and accuracies, those of the best units "
        f"too, are over the same {counted(units.images, 'test input')}. Other "
        f"files of the "
        "run hold every mask with its loss, accuracy and gradient.",
        style="td:first-child { white-space: nowrap }",
    )


def finding(records: Sequence[Mapping[str, Any]]) -> str:
    """One sentence: how much can go; of many distributions the extremes."""
    falling = sorted(records, key=lambda r: -r["kept"])
    shown = falling if len(falling) <= _MANY else [falling[0], falling[-1]]
    parts = ", ".join(
        f"{r['distribution']}: {r['accuracy']['mean']:.1%}" for r in shown
    )
    units, total = records[0]["units"], records[0]["total"]
    every = f"all {total} units" if total > 1 else "the only unit"
    some = f" ({switched(units, total)})" if units < total else ""
    left = len(falling) - len(shown)
    more = f" ({left} more in between)" if left else ""
    return (
        f"{records[0]['full']['accuracy']:.1%} right with {every}{some}; on average "
        f"{parts}{more}"
    )


def _facts(units: Units, records, kept):
    n = len(units.names)
    best = min(kept, key=lambda k: figures.enough(kept[k], units.every[1]))
    near = max(records, key=lambda r: r["within_a_point"])
    return [
        ("whole network", f"{units.every[1]:.2%}", f"loss {units.every[0]:.4g}"),
        (
            "units switched",
            n if n == units.total else f"{n} of {units.total}",
            f"{units.none[1]:.1%} right with all of these off",
        ),
        (
            "enough units",
            figures.enough(kept[best], units.every[1]),
            f"for at most a point less, by {figures.BY.get(best, best)}",
        ),
        (
            "random masks that do",
            f"{near['within_a_point']:.1%}",
            f"{near['distribution']}",
        ),
    ]


def _distributions(records):
    kept = f"kept of {records[0]['units']}"
    header = ["distribution", kept, "loss", "sd", "median", "accuracy", "sd",
              "within a point"]  # fmt: skip
    gradients = "gradient" in records[0]
    header += ["gradient, on", "off"] if gradients else []
    rows = []
    for r in records:
        loss, accuracy = r["loss"], r["accuracy"]

        def half(m):
            return (m["interval"][1] - m["interval"][0]) / 2

        def error(text):
            return "" if r["exact"] else f" ± {text}"  # noqa: B023

        row = [
            r["distribution"],
            f"{r['kept']:.1f}",
            f"{loss['mean']:.3f}{error(f'{half(loss):.3f}')}",
            f"{loss['sd']:.3f}",
            f"{loss['quantiles']['0.5']:.3f}",
            f"{100 * accuracy['mean']:.1f}{error(f'{100 * half(accuracy):.1f}')}%",
            f"{accuracy['sd']:.1%}",
            f"{r['within_a_point']:.1%}",
        ]
        if gradients:
            row += [_signed(r["gradient"][state]["mean"]) for state in ("on", "off")]
        rows.append(row)
    return rows, header


def _orders(kept: Mapping[str, Kept], full: Mapping[str, float]):
    n = len(next(iter(kept.values())).losses) - 1
    shown = sorted({max(n // 4, 1), max(n // 2, 1), n - n // 4})
    header = ["kept by", "enough", f"loss with {shown[len(shown) // 2]}",
              *(f"accuracy with {k}" for k in shown)]  # fmt: skip
    rows = [
        [
            name,
            figures.enough(k, full["accuracy"]),
            f"{k.losses[shown[len(shown) // 2]]:.3f}",
            *(f"{k.accuracies[i]:.1%}" for i in shown),
        ]
        for name, k in kept.items()
    ]
    return rows, header


def _table(scores: Mapping[str, Score], names: Sequence[str]):
    order = np.argsort(-next(iter(scores.values())).values, kind="stable")[:_ROWS]
    rows = [
        [names[i], *(_cell(score, i) for score in scores.values())]
        for i in order.tolist()
    ]
    return rows, ["unit", *scores]


def _cell(score: Score, i: int) -> str | None:
    text = _signed(score.values[i])
    if score.errors is None or np.isnan(score.errors[i]):
        return text
    return f"{text} ± {score.errors[i]:.4f}"


def _signed(value) -> str | None:
    return (
        None
        if value is None
        else f"{round(float(value), 4) + 0.0:.4f}".replace("-", "−")
    )
