"""Figures of all subsets of a few nodes: sizes, degrees, pairs."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.plots.style import (
    COLORS,
    SIGNS,
    colors,
    in_legend,
    integers,
    one_panel,
    percent,
    plain_log,
    styled,
)


@styled
def by_size(
    series: Mapping[str, ArrayLike],
    *,
    title: str,
    ylabel: str,
    band: tuple[str, ArrayLike, ArrayLike] | None = None,
) -> Figure:
    """A value against the number of nodes kept, on a log axis.

    Args:
        series: `{label: (n + 1, networks)}`: networks thin, their mean thick.
        title: the finding.
        ylabel: the measure and its unit.
        band: label and ends of a band, each of shape (n + 1,).
    """
    figure, axes = one_panel(title, size=(6.8, 5.2))
    if band is not None:
        label, low, high = band
        sizes = np.arange(len(np.asarray(low)))
        axes.fill_between(sizes, np.asarray(low), np.asarray(high), color="#dddddd",
                          lw=0, label=label)  # fmt: skip
    named = zip(series.items(), colors(len(series)), strict=True)
    for (label, values), color in named:
        values = np.asarray(values)
        sizes = np.arange(len(values))
        if values.shape[1] > 1:
            axes.plot(sizes, values, color=color, lw=0.5, alpha=0.35)
        mean = values.mean(axis=1)
        axes.plot(
            sizes, mean, color=color, lw=2.2, marker="o", ms=4, label=in_legend(label)
        )
    axes.set_yscale("log")
    plain_log(axes.yaxis)
    integers(axes.xaxis)
    axes.margins(x=0.02)
    axes.set_xlabel("nodes kept")
    axes.set_ylabel(ylabel)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def by_degree(power: ArrayLike, *, title: str, measure: str) -> Figure:
    """Which part of the variance over all subsets has how many nodes interact.

    Args:
        power: parts of the variance at degrees 1, 2, ..., shape (degrees, networks).
        title: the finding.
        measure: what varies.
    """
    power = np.asarray(power)
    figure, axes = one_panel(title)
    degrees = np.arange(1, len(power) + 1)
    axes.bar(degrees, power.mean(axis=1), color=COLORS[0], width=0.65, alpha=0.8)
    for values in power.T:
        axes.plot(degrees, values, "_", color="#333333", ms=14, mew=0.9)
    axes.grid(False, axis="x")
    percent(axes.yaxis)
    integers(axes.xaxis)
    axes.set_xlim(0, len(power) + 1)
    axes.set_xlabel("nodes that interact")
    axes.set_ylabel(f"part of the variance of {measure}")
    return figure


@styled
def pairs(matrix: ArrayLike, single: ArrayLike, *, title: str, measure: str) -> Figure:
    """What pairs of nodes do together, beside what each does; blue where positive.

    Args:
        matrix: Shapley interactions, symmetric, shape (n, n).
        single: Shapley values, shape (n,).
        title: the finding.
        measure: what both are parts of.
    """
    matrix, single = np.asarray(matrix), np.asarray(single)
    figure = Figure(figsize=(8.6, 5.4), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.6), sharey=True)
    nodes = np.arange(len(single))
    left.barh(nodes, single, color=np.where(single < 0, "#d55e00", "#0072b2"))
    left.axvline(0, color="#999999", lw=0.8)
    left.set_yticks(nodes, map(str, nodes), size=9)
    left.invert_yaxis()
    left.set_ylabel("node")
    left.set_xlabel(f"Shapley value:\n{measure}")
    scale = float(np.abs(matrix).max()) or 1.0
    cmap = SIGNS["blue-orange"]
    picture = right.imshow(matrix, cmap=cmap, vmin=-scale, vmax=scale, aspect="auto")
    right.set_xticks(nodes, map(str, nodes), size=9)
    right.grid(False)
    right.set_xlabel("node")
    figure.colorbar(picture, ax=right, label=f"interaction: {measure}")
    return figure
