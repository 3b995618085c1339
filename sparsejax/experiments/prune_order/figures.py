"""The figures of a run on the order of training and pruning.

Each comes with its caption, and has the finding for its title.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sparsejax.experiments._study.records import column
from sparsejax.experiments.prune_order import charts, measure, surfaces
from sparsejax.experiments.prune_order.config import LABELS, ORDERS, SHORT, Config
from sparsejax.experiments.prune_order.measure import (
    Arrays,
    Groups,
    Records,
    at_rate,
    grouped,
    mean,
    rates,
)
from sparsejax.experiments.prune_order.train import Task

_PUBLISHED = 0.59  # Hobson: "points moved about ±0.59 by the training process"

Drawn = tuple[Any, str]


def figures(
    config: Config, task: Task, records: Records, arrays: Arrays
) -> dict[str, Drawn]:
    """All of them, `{name: (figure, caption)}`.

    Args:
        config: choices of the run.
        task: data and model.
        records: the lines of `metrics.jsonl`.
        arrays: those of every stage, by rate and selection (None: whole networks).
    """
    groups = grouped(records)
    drawn = {"accuracy": _accuracy(groups)}
    for rate in rates(groups):
        if config.dataset == "spiral":
            drawn[f"surfaces_{rate}"] = surfaces.figure(
                config, task, at_rate(groups, rate), arrays, rate
            )
        drawn[f"kernels_{rate}"] = _kernels(config, groups, arrays, rate)
    drawn["moves"] = _moves(groups, arrays)
    drawn["shares"] = _shares(config, groups)
    drawn["units"] = _units(groups)
    for name in ("correlation", "correlation_of_updates"):
        if all(record[name] for record in records):
            drawn[name] = _correlations(groups, name)
    return drawn


def _accuracy(groups) -> Drawn:
    panels = [
        (
            f"rate {rate}, {SHORT[selection]}",
            [column(group, "test_accuracy", order) for order in ORDERS],
        )
        for (rate, selection), group in groups.items()
    ]
    labels = ["trained", "train,\nprune", "prune,\ntrain", "train,\nprune,\ntune"]

    def span(order):
        return _span([mean(g, "test_accuracy", order) for g in groups.values()])

    figure = charts.accuracies(
        panels,
        labels,
        title=f"Pruned, then trained: {span('prune_train')}; trained, then pruned: "
        f"{span('train_prune')}",
    )
    return figure, (
        "Test accuracy, %. Thin: networks, which share their initial weights, data and "
        "removed parts over the four places; thick: their mean."
    )


def _kernels(config: Config, groups: Groups, arrays: Arrays, rate: float) -> Drawn:
    """One order's weights against the other's, at one learning rate."""
    pairs, whole = [], arrays[rate, None]
    dashes: list[float] = []
    selections = list(at_rate(groups, rate))
    for selection, group in at_rate(groups, rate).items():
        start, first, second = _entries(whole, arrays[rate, selection])
        coasts = [_coasts(to - start, rate) for to in (first, second)]
        shown = {
            "coasted in one": coasts[0] ^ coasts[1],
            "coasted in both": coasts[0] & coasts[1],
            "never updated": (first == start) & (second == start),
        }
        dashes += [shown["coasted in both"].mean(), shown["never updated"].mean()]
        label = f"{SHORT[selection]}: {_mean_of([r['correlation'] for r in group])}"
        zoom = float(np.abs(start).max() + 7 * rate)
        pairs.append(charts.Pair(label, first, second, shown, zoom))
    spiral = config.dataset == "spiral" and config.remove == "nodes"
    source = spiral and rate == 0.1
    figure = charts.kernel_pairs(
        pairs,
        names=(LABELS["train_prune"], LABELS["prune_train"]),
        title=f"Learning rate {rate}, {SHORT[selections[0]]}: {dashes[1]:.1%} never "
        f"updated in both orders, {dashes[0]:.1%} coast in both",
        offset=(_PUBLISHED, "source: ±0.59") if source else None,
    )
    low, high = measure.COASTING
    return figure, (
        f"The kept entries of {measure.KERNEL}/kernel, {_all(config.seeds)}. "
        "Never updated: equal to the initial weight to the bit, in both. Coasted: "
        f"moved by {low:g} to {high:g} learning rates, as after a single gradient. "
        "Left: without the outermost thousandth, where it lies far out."
    )


def _moves(groups: Groups, arrays: Arrays) -> Drawn:
    """How far weights moved in training."""
    panels = []
    selection = next(iter(groups))[1]
    for rate in rates(groups):
        whole, found = arrays[rate, None], arrays[rate, selection]
        start, first, second = _entries(whole, found)

        def far(to, start=start, rate=rate):
            return np.abs(np.float64(to) - start) / rate

        series = {LABELS["trained"]: far(first), LABELS["prune_train"]: far(second)}
        panels.append((f"learning rate {rate}", series))

    def share(rate):
        return mean(groups[rate, selection], "coasting", "prune_train")

    parts = [f"{share(rate):.0%} at {rate}" for rate in rates(groups)]
    coast, (low, high) = measure.coast(), measure.COASTING
    figure = charts.moves(
        panels,
        mark=(coast, f"Adam after one gradient: {coast:.4f}"),
        title=f"Weights that coast, pruned, then trained: {', '.join(parts)}",
    )
    return figure, (
        f"The kept entries of {measure.KERNEL}/kernel ({SHORT[selection]}), "
        f"{_all(groups[rates(groups)[0], selection])}. Coasting: moved by "
        f"{low:g} to {high:g} learning rates. A weight whose unit dies after the first "
        "step keeps moving on Adam's momentum, "
        f"{coast:.4f} learning rates in all."
    )


def _shares(config: Config, groups: Groups) -> Drawn:
    """Weights that were never updated, and that coasted."""
    paths = {
        "never updated, trained": ("never_updated", "trained"),
        "never updated, prune, train": ("never_updated", "prune_train"),
        "never updated, both": ("never_updated", "both"),
        "coasting, trained": ("coasting", "trained"),
        "coasting, prune, train": ("coasting", "prune_train"),
    }

    def label(stage):
        return f"learning rate {stage[0]:g}, {SHORT[stage[1]]}"

    rows = [
        charts.Share(
            name, {label(k): column(group, *path) for k, group in groups.items()}
        )
        for name, path in paths.items()
    ]
    (rate, selection), group = next(iter(groups.items()))
    figure = charts.shares(
        rows,
        title=f"Trained at {rate}, {SHORT[selection]}: "
        f"{mean(group, 'never_updated', 'trained'):.1%} of the kept weights are never "
        f"updated, {mean(group, 'coasting', 'trained'):.1%} coast",
        xlabel=f"share of the kept weights of {measure.KERNEL}",
    )
    text = "Dots: networks; bars and numbers: means."
    if config.remove == "weights":
        text += (
            " A unit without weights on one side has no gradient: weights that lead to "
            "it, or from it, are never updated."
        )
    return figure, text


def _units(groups: Groups) -> Drawn:
    """Hidden units that died in training."""
    selection = next(iter(groups))[1]
    layers = groups[next(iter(groups))][0]["constant_units"]

    def share(rate, name):
        return column(groups[rate, selection], "constant_units", name)

    rows = [
        charts.Share(
            f"hidden layer {i + 1}",
            {f"learning rate {rate}": share(rate, name) for rate in rates(groups)},
        )
        for i, name in enumerate(layers)
    ]
    parts = [
        f"{share(rate, next(iter(layers))).mean():.0%} at {rate}"
        for rate in rates(groups)
    ]
    figure = charts.shares(
        rows,
        title=f"Dead units of the first layer: {', '.join(parts)}",
        xlabel="share of the layer's units that never vary",
    )
    return figure, (
        "Units of the whole network, trained, that are the same for every training "
        "point. Dots: networks; bars and numbers: means."
    )


def _correlations(groups: Groups, name: str) -> Drawn:
    """A record's `correlation` or `correlation_of_updates`, with intervals."""
    panels, means = [], []
    for (rate, selection), group in groups.items():
        found = np.array([record[name] for record in group])
        average = measure.estimate(found[:, 0])
        means.append(average)
        label = f"rate {rate}, {SHORT[selection]}\n{_interval(average)}"
        panels.append((label, found, average))
    what = "updates" if name.endswith("updates") else "weights"
    note = {
        "weights": "Both start from the same weights, which alone makes them alike.",
        "updates": "Updates: weights less the initial ones.",
    }[what]
    figure = charts.correlations(
        panels,
        title=f"Correlation of the {what} of both orders: "
        f"{_span([average.mean for average in means], '+.2f')}",
        ylabel=f"correlation of {what}",
    )
    return figure, (
        f"Pearson's correlation of the kept {what} of {measure.KERNEL}/kernel between "
        f"{LABELS['train_prune']!r} and {LABELS['prune_train']!r}. Bars: 95% by "
        "Fisher's z, entries taken as independent; line and band: mean over networks "
        f"with its 95% interval (Student's t). {note}"
    )


def _span(means, form=".1%") -> str:
    low, high = (f"{value:{form}}" for value in (min(means), max(means)))
    return low if low == high else f"{low} to {high}"


def _entries(whole, found) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Initial weights, and after either order, of the kept entries."""
    path = f"{measure.KERNEL}/kernel"
    kept = found[f"kept_weights/{path}"] != 0
    return (
        whole[f"init/{path}"][kept],
        whole[f"trained/{path}"][kept],
        found[f"prune_train/{path}"][kept],
    )


def _coasts(change, rate) -> np.ndarray:
    low, high = measure.COASTING
    far = np.abs(change) / rate
    return (low <= far) & (far <= high)


def _mean_of(found: Iterable[Sequence[float] | None]) -> str:
    there = [interval[0] for interval in found if interval]
    return f"correlation {np.mean(there):.2f}" if there else "no correlation"


def _interval(found) -> str:
    if found.low == found.high:  # of a single network
        return f"{found.mean:+.2f}"
    return f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def _all(networks: Sequence) -> str:
    return f"all {len(networks)} networks" if len(networks) > 1 else "one network"
