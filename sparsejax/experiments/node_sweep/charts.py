"""Drawings of sweeps over node masks: networks of few units, units one by one."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.plots import Curve, densities
from sparsejax.plots.style import (
    COLORS,
    colors,
    in_legend,
    integers,
    percent,
    plain_log,
    styled,
)

_MOST = 40  # bars of a layer, and points of a line that are marked


@styled
def densities_and_points(
    at: ArrayLike,
    curves: Sequence[Curve],
    points: Mapping[str, float],
    *,
    title: str,
    xlabel: str,
    line: tuple[float, str] | None = None,
) -> Figure:
    """`densities`, with a dashed line for each distribution that is a single value.

    Args:
        at: see `densities`.
        curves: see `densities`.
        points: `{label: place}` of the others; labels of one place share a line.
        title: see `densities`.
        xlabel: see `densities`.
        line: see `densities`.
    """
    figure = densities(at, curves, title=title, xlabel=xlabel, line=line)
    axes, (low, *_, high) = figure.axes[0], np.asarray(at)
    if not curves:
        axes.set_yticks([])
    places: dict[int, list[str]] = {}
    for label, place in points.items():
        places.setdefault(round(50 * (place - low) / (high - low)), []).append(label)
    for labels in places.values():
        place = points[labels[0]]
        axes.axvline(place, color="#222222", lw=1.4, ls="--")
        side = "left" if place < (low + high) / 2 else "right"
        axes.annotate(
            textwrap.fill(f"{', '.join(labels)}: one value", 36),
            (place, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(3 if side == "left" else -3, 0),
            textcoords="offset points",
            rotation=90,
            ha=side,
            va="top",
            size=11,
            bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1},
        )
    return figure


@styled
def kept_units(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    random: tuple[ArrayLike, ArrayLike, ArrayLike],
    title: str,
    whole: tuple[float, float],
    xlabel: str = "units kept",
) -> Figure:
    """Loss (on a log axis) and accuracy against the number of units kept.

    Args:
        series: `{label: (losses, accuracies)}` of 0, ..., n units, each (n + 1,); the
            first is drawn strongest.
        random: sizes (k,) and losses and accuracies (3, k) of random masks: 5%, 50%
            and 95% quantiles. Nothing is drawn between sizes that are no neighbours.
        title: the finding.
        whole: loss and accuracy of the whole network.
        xlabel: what the sizes count.
    """
    figure = Figure(figsize=(10.4, 4.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    panels = figure.subplots(1, 2)
    sizes = np.asarray(random[0], int)
    for i, axes in enumerate(panels):
        # NaN at sizes that were not measured breaks lines and bands
        band = np.full((3, sizes.max(initial=0) + 1), np.nan)
        band[:, sizes] = np.asarray(random[1 + i])
        low, middle, high = band
        at = np.arange(len(middle))
        axes.vlines(sizes, low[sizes], high[sizes], color="#dddddd", lw=4)
        axes.fill_between(at, low, high, color="#dddddd", lw=0,
                          label="random units, 5% to 95%")  # fmt: skip
        axes.plot(at, middle, color="#888888", lw=1.6, marker="o", ms=3.5,
                  label="random units, median")  # fmt: skip
        axes.axhline(whole[i], color="#555555", lw=1, ls="--", label="whole network")
        named = zip(series.items(), colors(len(series)), strict=True)
        for (label, values), color in named:
            values = np.asarray(values[i])
            width = 2.8 if label == next(iter(series)) else 1.7
            marker = "." if len(values) <= _MOST else None
            axes.plot(np.arange(len(values)), values, color=color, lw=width,
                      marker=marker, label=in_legend(label))  # fmt: skip
        integers(axes.xaxis)
        axes.set_xlabel(xlabel)
    panels[0].set_yscale("log")
    plain_log(panels[0].yaxis)
    panels[0].set_ylabel("loss (nats)")
    percent(panels[1].yaxis)
    panels[1].set_ylabel("accuracy")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


@styled
def unit_scores(
    layers: Mapping[str, tuple[Sequence[str], ArrayLike, ArrayLike | None]],
    *,
    title: str,
    xlabel: str,
) -> Figure:
    """A bar for every unit, layer by layer, the highest first, with 95% intervals.

    Scores above zero are blue, those below orange.

    Args:
        layers: `{layer: (units, values, errors)}`: names (n,), scores (n,) and standard
            errors (n,), or None where there are none. Of many units the 40 with the
            highest scores are drawn.
        title: the finding.
        xlabel: the score and its unit.
    """
    rows = max(min(len(units), _MOST) for units, _, _ in layers.values())
    size = (max(3.6 * len(layers), 6.0), 0.19 * rows + 1.6)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    panels = figure.subplots(1, len(layers), squeeze=False, sharex=True)[0]
    named = zip(panels, layers.items(), strict=True)
    for axes, (layer, (units, values, errors)) in named:
        values = np.asarray(values)
        order = np.argsort(-values, kind="stable")[:_MOST]
        bars = None if errors is None else 1.96 * np.asarray(errors)[order]
        axes.barh(
            np.arange(len(order)),
            values[order],
            xerr=bars,
            color=np.where(values[order] < 0, COLORS[1], COLORS[0]),
            height=0.72,
            error_kw={"lw": 1, "ecolor": "#333333"},
        )
        axes.axvline(0, color="#555555", lw=0.8)
        axes.set_yticks(np.arange(len(order)), [units[i] for i in order], size=8)
        axes.set_ylim(rows - 0.4, -0.6)
        left = len(values) - len(order)
        more = f" (and {left} lower)" if left else ""
        axes.set_title(f"{layer}{more}", size=12, weight="normal")
        axes.grid(False, axis="y")
    panels[0].set_ylabel("unit")
    figure.supxlabel(xlabel, size=12)
    return figure
