"""Drawings of networks after each order: accuracies, kernels, moves and shares."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import ArrayLike

from sparsejax.plots.style import (
    COLORS,
    colors,
    in_legend,
    percent,
    plain_log,
    styled,
)

_GROUPS = (COLORS[5], COLORS[0], COLORS[1])
_REST = "moved otherwise"


class Pair(NamedTuple):
    """A kernel after two trainings.

    Attributes:
        label: how the two differ.
        first: entries after one training, shape (entries,).
        second: after the other.
        groups: `{name: (entries,)}`, which entries to point out.
        zoom: half the width of the window of the second panel.
    """

    label: str
    first: ArrayLike
    second: ArrayLike
    groups: Mapping[str, ArrayLike]
    zoom: float


class Share(NamedTuple):
    """A part of all entries or units, for each of some networks.

    Attributes:
        label: what of what.
        values: `{series: (networks,)}`.
    """

    label: str
    values: Mapping[str, ArrayLike]


@styled
def kernel_pairs(
    pairs: Sequence[Pair],
    *,
    names: tuple[str, str],
    title: str,
    offset: tuple[float, str] | None = None,
) -> Figure:
    """One kernel against another, entry by entry, and a window around the origin.

    The first panel may leave out the outermost of a thousand.

    Args:
        pairs: a row of two panels each.
        names: of the two kernels.
        title: the finding.
        offset: a published distance, and its label: dashed lines at both signs of it.
    """
    figure = Figure(figsize=(9.6, 4.6 * len(pairs) + 0.7), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    grid = figure.subplots(len(pairs), 2, squeeze=False)
    handles: Any = {}
    for panels, pair in zip(grid, pairs, strict=True):
        first, second = np.asarray(pair.first), np.asarray(pair.second)
        # A few weights lie far out; without them the rest can be seen.
        top = 1.4 * float(np.quantile(np.abs([first, second]), 0.999))
        for axes, limit in zip(panels, (top, pair.zoom), strict=True):
            axes.plot([-top, top], [-top, top], color="#bbbbbb", lw=0.8, zorder=0)
            rest = np.ones(len(first), bool)
            for which in pair.groups.values():
                rest &= ~np.asarray(which)
            layers = {_REST: rest, **pair.groups}
            for (name, which), color in zip(
                layers.items(), ("#999999", *_GROUPS), strict=False
            ):
                which = np.asarray(which)
                handles[name] = axes.scatter(
                    first[which], second[which], s=7, color=color, lw=0,
                    alpha=0.5 if name == _REST else 0.8, rasterized=True,
                )  # fmt: skip
            axes.set_xlim(-limit, limit)
            axes.set_ylim(-limit, limit)
            axes.set_aspect("equal")
            axes.xaxis.set_major_locator(MaxNLocator(6, symmetric=True))
            axes.yaxis.set_major_locator(MaxNLocator(6, symmetric=True))
            axes.set_xlabel(f"weight, {names[0]}")
        if offset is not None:
            lines = [panels[1].axvline(s * offset[0], color="#555555", lw=1, ls="--")
                     for s in (-1, 1)]  # fmt: skip
            handles[offset[1]] = lines[0]
        panels[0].set_ylabel(f"weight, {names[1]}")
        panels[0].set_title(pair.label, size=11, weight="normal")
        panels[1].set_title("the same, zoomed in", size=11, weight="normal")
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=5, markerscale=2,
        fontsize=11, columnspacing=1.2, handletextpad=0.3,
    )  # fmt: skip
    return figure


@styled
def moves(
    panels: Sequence[tuple[str, Mapping[str, ArrayLike]]],
    *,
    mark: tuple[float, str],
    title: str,
) -> Figure:
    """How far weights moved in training, as histograms over equal factors.

    Args:
        panels: label and, by training, distances in learning rates, shape (entries,).
        mark: a distance, and its label.
        title: the finding.
    """
    figure, grid = _grid(len(panels), 2, (5.2, 3.8), title)
    for axes, (label, series) in zip(grid, panels, strict=True):
        top = max(np.max(np.asarray(values)) for values in series.values())
        edges = np.geomspace(0.1, max(top, 10.0), 80)
        for (name, values), color in zip(series.items(), COLORS, strict=False):
            values = np.maximum(np.asarray(values), 0.1)
            counts = np.histogram(values, edges)[0] / len(values)
            axes.stairs(counts, edges, color=color, fill=True, alpha=0.15)
            axes.stairs(counts, edges, color=color, lw=1.6, label=in_legend(name))
        axes.axvline(mark[0], color="#555555", lw=1, ls="--", label=mark[1])
        axes.set_xscale("log")
        axes.set_xlim(edges[0], edges[-1])
        plain_log(axes.xaxis)
        axes.xaxis.set_major_locator(LogLocator(10))
        axes.xaxis.set_major_formatter(lambda x, _: f"{'≤' if x < 0.11 else ''}{x:g}")
        percent(axes.yaxis)
        axes.set_title(label, size=11, weight="normal")
        axes.set_xlabel("|change| / learning rate")
    grid[0].set_ylabel("part of the weights, by bin")
    figure.legend(
        *grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
    )
    return figure


@styled
def accuracies(
    panels: Sequence[tuple[str, ArrayLike]], orders: Sequence[str], *, title: str
) -> Figure:
    """Test accuracy after each order: networks thin, their mean thick.

    Args:
        panels: label and values, shape (orders, networks).
        orders: their names.
        title: the finding.
    """
    figure, grid = _grid(len(panels), 4, (3.3, 3.8), title)
    places = np.arange(len(orders))
    for axes, (label, values) in zip(grid, panels, strict=True):
        values = np.asarray(values)
        axes.plot(places, values, color=COLORS[0], lw=0.6, alpha=0.4)
        mean = values.mean(axis=1)
        axes.plot(places, mean, color=COLORS[0], lw=2.4, marker="o", ms=6)
        for place, value in zip(places, mean, strict=True):
            side = 8 if value > 0.85 else -17
            number = axes.annotate(
                f"{100 * value:.1f}", (place, value), (0, side), size=10,
                textcoords="offset points", ha="center",
            )  # fmt: skip
            number.set_path_effects([withStroke(linewidth=3, foreground="white")])
        axes.set_xticks(places, list(orders), size=10)
        axes.set_xlim(-0.4, len(orders) - 0.6)
        percent(axes.yaxis)
        axes.set_title(label, size=11, weight="normal")
        axes.grid(False, axis="x")
    grid[0].set_ylim(top=1.07)
    grid[0].set_ylabel("test accuracy")
    return figure


@styled
def shares(rows: Sequence[Share], *, title: str, xlabel: str) -> Figure:
    """Shares of networks as dots, their mean as a bar; a color for every series.

    Args:
        rows: what to draw, from the top.
        title: the finding.
        xlabel: what is shown.
    """
    names = list(rows[0].values)
    high = (0.2 * len(names) + 0.16) * len(rows) + 1.6
    figure = Figure(figsize=(9.2, high), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    axes = figure.subplots()
    step = 0.8 / len(names)
    for i, row in enumerate(rows):
        for j, (name, color) in enumerate(zip(names, colors(len(names)), strict=True)):
            values, place = np.asarray(row.values[name]), i + (j + 0.5) * step - 0.4
            label = in_legend(name) if i == 0 else None
            axes.plot(values, np.full(len(values), place), ".", color=color, ms=5,
                      alpha=0.45, mew=0)  # fmt: skip
            axes.plot(values.mean(), place, "|", color=color, ms=11, mew=3, label=label)
            axes.annotate(f"{100 * values.mean():.1f}%", (values.max(), place), (8, 0),
                          textcoords="offset points", va="center", size=9)  # fmt: skip
    axes.set_yticks(range(len(rows)), [row.label for row in rows], size=11)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.09)
    axes.set_xlim(left=min(axes.get_xlim()[0], -0.01))
    percent(axes.xaxis)
    axes.grid(False, axis="y")
    axes.set_xlabel(xlabel)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def correlations(
    panels: Sequence[tuple[str, ArrayLike, tuple[float, float, float]]],
    *,
    title: str,
    ylabel: str,
) -> Figure:
    """Correlations of networks with their intervals; the mean and its own as a band.

    Args:
        panels: label; correlation and ends of its interval, shape (networks, 3); the
            same of the mean.
        title: the finding.
        ylabel: what is correlated.
    """
    figure, grid = _grid(len(panels), 4, (3.3, 3.6), title)
    for axes, (label, values, mean) in zip(grid, panels, strict=True):
        values = np.asarray(values)
        values = values[np.argsort(values[:, 0])]
        at = np.arange(1, len(values) + 1)
        axes.axhspan(mean[1], mean[2], color=COLORS[1], alpha=0.2, lw=0)
        axes.axhline(mean[0], color=COLORS[1], lw=2)
        axes.axhline(0, color="#555555", lw=0.8)
        ends = np.abs(values[:, 1:] - values[:, :1]).T
        axes.errorbar(at, values[:, 0], ends, fmt="o", ms=4, color=COLORS[0], lw=1.2)
        axes.set_title(label, size=11, weight="normal")
        axes.set_xticks([])
        axes.grid(False, axis="x")
        axes.set_xlabel("networks, sorted")
    grid[0].set_ylabel(ylabel)
    return figure


def _grid(
    count: int, columns: int, size: tuple[float, float], title: str
) -> tuple[Figure, list[Any]]:
    """A figure of so many panels with one scale, and its axes, row by row."""
    rows, columns = -(-count // columns), min(count, columns)
    high = rows * size[1] + 0.4
    figure = Figure(figsize=(columns * size[0] + 0.4, high), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for axes in grid[count:]:
        axes.remove()
    return figure, list(grid[:count])
