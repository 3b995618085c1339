"""The figures and the page of a sweep of node masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import pages, plots, removal, runs
from sparsejax.experiments import node_sweep_measure
from sparsejax.experiments.node_sweep_config import switched
from sparsejax.experiments.node_sweep_measure import (
    POINT,
    Kept,
    Sample,
    Score,
    Subject,
)
from sparsejax.pages import counted

_ROWS = 200  # units in the table
_MANY = 4  # distributions that one sentence can name
_ALIKE = 1e-5  # deviation of logs below which losses are one number
_UNITS = {
    "Shapley value": "Shapley value: what the unit takes off the loss (nats)",
    "leave one out": "loss added by removing the unit (nats)",
}


def write(
    folder: Path,
    title: str,
    subject: Subject,
    samples: Sequence[Sample],
    records: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Score],
    kept: Mapping[str, Kept],
) -> None:
    """Write `fig_*.svg` and `index.html`.

    Args:
        folder: the run's.
        title: of the network.
        subject: the network as a function of its units.
        samples: the distributions.
        records: the lines of `metrics.jsonl`, one for each.
        scores: of units, the one to trust first.
        kept: the networks of the best units.
    """
    figures = {
        "loss": (
            _losses(subject, samples, records),
            "Density of the log of the loss (dotted: normal distributions of the same "
            "mean and deviation). Grey: the whole network. Dashed: where all masks of "
            "a distribution have one loss.",
        ),
        "kept": (
            _kept(subject, samples, kept),
            "The best k units by each score, against random ones where 5 masks or more "
            f"have that many.{_drawn(samples, kept)[1]}",
        ),
        "units": (_units(scores, subject.names), _units_caption(scores)),
    }
    drawn = {}
    for name, (figure, caption) in figures.items():
        path = folder / f"fig_{name}.svg"
        plots.save(figure, path)
        drawn[name] = pages.figure_svg(path.read_bytes(), caption, caption)
    whole = records[0]["full"]
    html = pages.page(
        f"Node masks: {title}",
        pages.facts(_facts(subject, records, kept)),
        pages.section(
            "What removing units does",
            drawn["loss"],
            pages.table(*_distributions(records), caption=_CAPTION),
        ),
        pages.section(
            "Which units to keep",
            drawn["kept"],
            pages.table(*_orders(kept, whole), caption=_ENOUGH),
            note="A score ranks units by what each does alone or on average. What k "
            "units do together is another question: compare with greedy elimination, "
            "which asks it again after every removal.",
        ),
        pages.section(
            "How much each unit matters",
            drawn["units"],
            pages.table(*_table(scores, subject.names), caption=_SCORES),
        ),
        lead=finding(records),
        footer=f"Made by sparsejax. All losses and accuracies, those of the best units "
        f"too, are over the same {counted(subject.examples, 'test input')}. Other "
        f"files of the "
        "run hold every mask with its loss, accuracy and gradient.",
        style="td:first-child { white-space: nowrap }",
    )
    runs.write_text(folder / "index.html", html)


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


def _losses(subject, samples, records):
    """Densities of the log of the loss; a line where it is always the same."""
    fits = [(r["log_loss"]["mean"], r["log_loss"]["sd"]) for r in records]
    points = {s.label: m for s, (m, sd) in zip(samples, fits) if sd < _ALIKE}
    spread = [(s, fit) for s, fit in zip(samples, fits) if s.label not in points]
    logs = [np.log(node_sweep_measure.positive(s.losses)) for s, _ in spread]
    widths = [_width(sd, s) for s, (_, sd) in spread]
    whole = float(np.log(max(subject.every[0], 1e-30)))
    marks = [whole, *points.values()]
    low, high = min(marks) - 0.1, max(marks) + 0.1
    for log, width, (_, (mean, sd)) in zip(logs, widths, spread, strict=True):
        low = min(low, max(mean - 4 * sd, log.min() - 3 * width))
        high = max(high, min(mean + 4 * sd, log.max() + 3 * width))
    at = np.linspace(low, high, 600)
    curves = []
    for (sample, fit), log, width in zip(spread, logs, widths, strict=True):
        density = removal.kde(log, width, at, sample.weights)
        curves.append(plots.Curve(sample.label, density, None, fit))
    return plots.densities_and_points(
        at,
        curves,
        points,
        title=_losses_finding(subject, records),
        xlabel="log of the loss",
        line=(whole, "whole network"),
    )


def _width(sd: float, sample: Sample) -> float:
    """Silverman's width; for exact distributions that of 100,000 masks."""
    count = len(sample.losses) if sample.weights is None else 100_000
    return max(0.9 * sd * count**-0.2, 1e-3)


def _losses_finding(subject, records) -> str:
    most, least = (pick(records, key=lambda r: r["kept"]) for pick in (max, min))

    def text(r):
        return f"{r['loss']['quantiles']['0.5']:.3g} at {r['distribution']}"

    parts = text(most) if most is least else f"{text(most)}, {text(least)}"
    return f"Median loss {parts};\nwhole network {subject.every[0]:.3g}"


def _drawn(samples, kept: Mapping[str, Kept]) -> tuple[dict[str, Kept], str]:
    """Of the many mean effects the one with the fewest units removed; says so."""
    rising = sorted(samples, key=lambda sample: sample.value)
    names = [node_sweep_measure.effect_name(sample) for sample in rising]
    effects = [name for name in names if name in kept]
    drawn = {name: k for name, k in kept.items() if name not in effects[:-1]}
    if len(effects) < 2:
        return drawn, ""
    return drawn, (
        f" Of {len(effects)} mean effects the one with most units kept is drawn; the "
        "table has all."
    )


def _kept(subject, samples, kept: Mapping[str, Kept]):
    n = len(subject.names)
    sizes, quantiles = node_sweep_measure.by_size(samples, n)
    others = f" (of {n}; {subject.total - n} always on)" if n < subject.total else ""
    return plots.kept_units(
        {
            name: (k.losses, k.accuracies)
            for name, k in _drawn(samples, kept)[0].items()
        },
        random=(sizes, quantiles["losses"], quantiles["accuracies"]),
        title=_kept_finding(subject, kept),
        whole=subject.every,
        xlabel=f"units kept{others}",
    )


def _enough(kept: Kept, accuracy: float) -> int:
    """The smallest number of units within a point of the whole network."""
    return int(np.argmax(kept.accuracies >= accuracy - POINT))


def _kept_finding(subject, kept: Mapping[str, Kept]) -> str:
    if "best of all" in kept:
        half = max(len(subject.names) // 2, 1)
        loss = {name: f"{k.losses[half]:.3g}" for name, k in kept.items()}
        return (
            f"Loss with {half} unit{'s'[: half - 1]}: {loss['best of all']} the best, "
            f"{loss['Shapley value']} the first by Shapley value"
        )
    parts = [
        f"{_enough(k, subject.every[1])} by {_BY.get(name, name)}"
        for name, k in list(kept.items())[:2]
    ]
    return f"Units enough for at most a point less accuracy: {', '.join(parts)}"


_BY = {"best of all": "the best subset", "activation spread": "spread",
       "leave one out": "leaving one out"}  # fmt: skip


def _units(scores: Mapping[str, Score], names: Sequence[str]):
    name, score = next(iter(scores.items()))
    layers: dict[str, list[int]] = {}
    for i, unit in enumerate(names):
        layers.setdefault(unit.rsplit("/", 1)[0], []).append(i)

    def pick(array, rows):
        return None if array is None else array[rows]

    return plots.unit_scores(
        {
            layer: (
                [names[i].rsplit("/", 1)[1] for i in rows],
                score.values[rows],
                pick(score.errors, rows),
            )
            for layer, rows in layers.items()
        },
        title=_units_finding(score, names),
        xlabel=_UNITS.get(name, name),
    )


def _units_finding(score: Score, names: Sequence[str]) -> str:
    order = np.argsort(-score.values)
    rising = np.cumsum(np.maximum(score.values[order], 0))
    if rising[-1] <= 0:
        return "No unit takes anything off the loss"
    if len(names) == 1:
        return f"{names[0]} is the only unit switched"
    half = int(np.argmax(rising >= rising[-1] / 2)) + 1
    make = "makes" if half == 1 else "make"
    return (
        f"{names[order[0]]} matters most;\n"
        f"{half} of {len(names)} units {make} half of the positive total"
    )


def _units_caption(scores) -> str:
    name, score = next(iter(scores.items()))
    bars = "" if score.errors is None else " Lines: 95% intervals."
    return (
        f"{name} of every unit, by layer. Blue: takes off the loss; orange: adds to "
        f"it.{bars}"
    )


def _facts(subject: Subject, records, kept):
    n = len(subject.names)
    best = min(kept, key=lambda k: _enough(kept[k], subject.every[1]))
    near = max(records, key=lambda r: r["within_a_point"])
    return [
        ("whole network", f"{subject.every[1]:.2%}", f"loss {subject.every[0]:.4g}"),
        (
            "units switched",
            n if n == subject.total else f"{n} of {subject.total}",
            f"{subject.none[1]:.1%} right with all of these off",
        ),
        (
            "enough units",
            _enough(kept[best], subject.every[1]),
            f"for at most a point less, by {_BY.get(best, best)}",
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
            _enough(k, full["accuracy"]),
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
