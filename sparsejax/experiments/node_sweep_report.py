"""The figures and the page of a sweep of node masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import pages, plots, removal, runs
from sparsejax.experiments import node_sweep_measure
from sparsejax.experiments.node_sweep_measure import (
    POINT,
    Kept,
    Sample,
    Score,
    Subject,
)

_ROWS = 200  # units in the table
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
            "mean and deviation). Grey: the whole network.",
        ),
        "kept": (
            _kept(subject, samples, kept),
            "The best k units by each score, against random ones.",
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
        f"too, are over the same {subject.examples:,} test inputs. Other files of the "
        "run hold every mask with its loss, accuracy and gradient.",
        style="td:first-child { white-space: nowrap }",
    )
    runs.write_text(folder / "index.html", html)


def finding(records: Sequence[Mapping[str, Any]]) -> str:
    """One sentence: how much can go."""
    share = lambda r: f"{r['kept'] / r['units']:.0%}"
    parts = [
        f"{r['accuracy']['mean']:.1%} with {share(r)} of them"
        for r in sorted(records, key=lambda r: -r["kept"])
    ]
    first = records[0]
    return (
        f"{first['full']['accuracy']:.1%} right with all {first['units']} units; on "
        f"average {', '.join(parts)}"
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
    logs = [np.log(node_sweep_measure.positive(s.losses)) for s in samples]
    widths = [_width(r["log_loss"]["sd"], s) for r, s in zip(records, samples)]
    fits = [(r["log_loss"]["mean"], r["log_loss"]["sd"]) for r in records]
    whole = float(np.log(max(subject.every[0], 1e-30)))
    ends = [m + side * 4 * sd for m, sd in fits for side in (-1, 1)]
    low = max(min(*ends, whole), min(map(np.min, logs)) - 3 * max(widths))
    high = min(max(*ends, whole), max(map(np.max, logs)) + 3 * max(widths))
    at = np.linspace(min(low, whole - 0.1), max(high, whole + 0.1), 600)
    curves = []
    for sample, log, width, fit in zip(samples, logs, widths, fits, strict=True):
        density = removal.density(log, width, at, sample.weights)
        curves.append(plots.Curve(sample.label, density, None, fit if fit[1] else None))
    return plots.densities(
        at,
        curves,
        title=_losses_finding(subject, samples, records),
        xlabel="log of the loss (nats)",
        line=(whole, "whole network"),
    )


def _width(sd: float, sample: Sample) -> float:
    """Silverman's width; for exact distributions that of 100,000 masks."""
    count = len(sample.losses) if sample.weights is None else 100_000
    return max(0.9 * sd * count**-0.2, 1e-3)


def _losses_finding(subject, samples, records) -> str:
    most, least = (pick(records, key=lambda r: r["kept"]) for pick in (max, min))
    times = lambda r: r["loss"]["quantiles"]["0.5"] / max(subject.every[0], 1e-30)
    share = lambda r: f"{r['kept'] / r['units']:.0%}"
    text = f"Loss {times(most):.3g} x as high with {share(most)} of the units"
    return (
        text if most is least else f"{text}, {times(least):.3g} x with {share(least)}"
    )


def _kept(subject, samples, kept: Mapping[str, Kept]):
    n = len(subject.names)
    sizes, quantiles = node_sweep_measure.by_size(samples, n)
    # of the many mean effects the one with the fewest units removed
    effects = [name for name in kept if name.startswith("mean effect")]
    drawn = [name for name in kept if name not in effects] + effects[-1:]
    return plots.kept_units(
        {name: (kept[name].losses, kept[name].accuracies) for name in drawn[:6]},
        random=(sizes, quantiles["losses"], quantiles["accuracies"]),
        title=_kept_finding(subject, kept),
        whole=subject.every,
    )


def _enough(kept: Kept, accuracy: float) -> int:
    """The smallest number of units within a point of the whole network."""
    return int(np.argmax(kept.accuracies >= accuracy - POINT))


def _kept_finding(subject, kept: Mapping[str, Kept]) -> str:
    if "best of all" in kept:
        half = max(len(subject.names) // 2, 1)
        loss = {name: f"{k.losses[half]:.3g}" for name, k in kept.items()}
        return (
            f"Loss with {half} units: {loss['best of all']} the best, "
            f"{loss['Shapley value']} the first by Shapley value"
        )
    parts = [
        f"{_enough(k, subject.every[1])} by {_BY.get(name, name)}"
        for name, k in list(kept.items())[:2]
    ]
    return f"Units for at most a point less: {', '.join(parts)}"


_BY = {"best of all": "the best subset", "activation spread": "spread",
       "leave one out": "leaving one out"}  # fmt: skip


def _units(scores: Mapping[str, Score], names: Sequence[str]):
    name, score = next(iter(scores.items()))
    layers: dict[str, list[int]] = {}
    for i, unit in enumerate(names):
        layers.setdefault(unit.rsplit("/", 1)[0], []).append(i)
    pick = lambda array, rows: None if array is None else array[rows]
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
    half = int(np.argmax(rising >= rising[-1] / 2)) + 1
    return (
        f"{names[order[0]]} matters most; {half} of {len(names)} units make half of it"
    )


def _units_caption(scores) -> str:
    name, score = next(iter(scores.items()))
    bars = "" if score.errors is None else " Lines: 95% intervals."
    return f"{name} of every unit, by layer.{bars}"


def _facts(subject: Subject, records, kept):
    n = len(subject.names)
    best = min(kept, key=lambda k: _enough(kept[k], subject.every[1]))
    near = max(records, key=lambda r: r["within_a_point"])
    return [
        ("whole network", f"{subject.every[1]:.2%}", f"loss {subject.every[0]:.4g}"),
        ("units", n, f"{subject.none[1]:.1%} right without any"),
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
    header = ["distribution", "kept", "loss", "sd", "median", "accuracy", "sd",
              "within a point"]  # fmt: skip
    gradients = "gradient" in records[0]
    header += ["gradient, on", "off"] if gradients else []
    rows = []
    for r in records:
        loss, accuracy = r["loss"], r["accuracy"]
        half = lambda m: (m["interval"][1] - m["interval"][0]) / 2
        error = lambda text: "" if r["exact"] else f" ± {text}"  # noqa: B023
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
    return text if score.errors is None else f"{text} ± {score.errors[i]:.4f}"


def _signed(value) -> str | None:
    return (
        None
        if value is None
        else f"{round(float(value), 4) + 0.0:.4f}".replace("-", "−")
    )
