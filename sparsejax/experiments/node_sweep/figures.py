"""The figures of a sweep of node masks, each with its caption."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsejax import plots, removal
from sparsejax.experiments.node_sweep import charts, measure
from sparsejax.experiments.node_sweep import scores as scores_
from sparsejax.experiments.node_sweep.measure import POINT, Sample
from sparsejax.experiments.node_sweep.scores import Score
from sparsejax.experiments.node_sweep.units import Kept, Units

# What orders of units are called in a sentence.
BY = {"best of all": "the best subset", "activation spread": "spread",
      "leave one out": "leaving one out"}  # fmt: skip
_ALIKE = 1e-5  # deviation of logs below which losses are one number
_UNITS = {
    "Shapley value": "Shapley value: what the unit takes off the loss (nats)",
    "leave one out": "loss added by removing the unit (nats)",
}
Drawn = tuple[Any, str]


def figures(
    units: Units,
    samples: Sequence[Sample],
    records: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Score],
    kept: Mapping[str, Kept],
) -> dict[str, Drawn]:
    """All of them, `{name: (figure, caption)}`.

    Args:
        units: the network as a function of its units.
        samples: the distributions.
        records: the lines of `metrics.jsonl`, one for each.
        scores: of units, the one to trust first.
        kept: the networks of the best units.
    """
    return {
        "loss": (
            _losses(units, samples, records),
            "Density of the log of the loss (dotted: normal distributions of the same "
            "mean and deviation). Grey: the whole network. Dashed: where all masks of "
            "a distribution have one loss.",
        ),
        "kept": (
            _kept(units, samples, kept),
            "The best k units by each score, against random ones where 5 masks or more "
            f"have that many.{_drawn(samples, kept)[1]}",
        ),
        "units": (_units(scores, units.names), _units_caption(scores)),
    }


def enough(kept: Kept, accuracy: float) -> int:
    """The smallest number of units within a point of the whole network."""
    return int(np.argmax(kept.accuracies >= accuracy - POINT))


def _losses(units, samples, records):
    """Densities of the log of the loss; a line where it is always the same."""
    fits = [(r["log_loss"]["mean"], r["log_loss"]["sd"]) for r in records]
    points = {s.label: m for s, (m, sd) in zip(samples, fits) if sd < _ALIKE}
    spread = [(s, fit) for s, fit in zip(samples, fits) if s.label not in points]
    logs = [np.log(measure.positive(s.losses)) for s, _ in spread]
    widths = [_width(sd, s) for s, (_, sd) in spread]
    whole = float(np.log(max(units.every[0], 1e-30)))
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
    return charts.densities_and_points(
        at,
        curves,
        points,
        title=_losses_finding(units, records),
        xlabel="log of the loss",
        line=(whole, "whole network"),
    )


def _width(sd: float, sample: Sample) -> float:
    """Silverman's width; for exact distributions that of 100,000 masks."""
    count = len(sample.losses) if sample.weights is None else 100_000
    return max(0.9 * sd * count**-0.2, 1e-3)


def _losses_finding(units, records) -> str:
    most, least = (pick(records, key=lambda r: r["kept"]) for pick in (max, min))

    def text(r):
        return f"{r['loss']['quantiles']['0.5']:.3g} at {r['distribution']}"

    parts = text(most) if most is least else f"{text(most)}, {text(least)}"
    return f"Median loss {parts};\nwhole network {units.every[0]:.3g}"


def _drawn(samples, kept: Mapping[str, Kept]) -> tuple[dict[str, Kept], str]:
    """Of the many mean effects the one with the fewest units removed; says so."""
    rising = sorted(samples, key=lambda sample: sample.value)
    names = [scores_.effect_name(sample) for sample in rising]
    effects = [name for name in names if name in kept]
    drawn = {name: k for name, k in kept.items() if name not in effects[:-1]}
    if len(effects) < 2:
        return drawn, ""
    return drawn, (
        f" Of {len(effects)} mean effects the one with most units kept is drawn; the "
        "table has all."
    )


def _kept(units, samples, kept: Mapping[str, Kept]):
    n = len(units.names)
    sizes, quantiles = measure.by_size(samples, n)
    others = f" (of {n}; {units.total - n} always on)" if n < units.total else ""
    return charts.kept_units(
        {
            name: (k.losses, k.accuracies)
            for name, k in _drawn(samples, kept)[0].items()
        },
        random=(sizes, quantiles["losses"], quantiles["accuracies"]),
        title=_kept_finding(units, kept),
        whole=units.every,
        xlabel=f"units kept{others}",
    )


def _kept_finding(units, kept: Mapping[str, Kept]) -> str:
    if "best of all" in kept:
        half = max(len(units.names) // 2, 1)
        loss = {name: f"{k.losses[half]:.3g}" for name, k in kept.items()}
        return (
            f"Loss with {half} unit{'s'[: half - 1]}: {loss['best of all']} the best, "
            f"{loss['Shapley value']} the first by Shapley value"
        )
    parts = [
        f"{enough(k, units.every[1])} by {BY.get(name, name)}"
        for name, k in list(kept.items())[:2]
    ]
    return f"Units enough for at most a point less accuracy: {', '.join(parts)}"


def _units(scores: Mapping[str, Score], names: Sequence[str]):
    name, score = next(iter(scores.items()))
    layers: dict[str, list[int]] = {}
    for i, unit in enumerate(names):
        layers.setdefault(unit.rsplit("/", 1)[0], []).append(i)

    def pick(array, rows):
        return None if array is None else array[rows]

    return charts.unit_scores(
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
