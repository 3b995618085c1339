"""Figures of sweeps over node masks: networks of few units, and units one by one."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike

from sparsejax.plots.style import COLORS, plain_log, styled

_MOST = 40  # bars of a layer


@styled
def kept_units(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    random: tuple[ArrayLike, ArrayLike, ArrayLike],
    title: str,
    whole: tuple[float, float],
) -> Figure:
    """Loss (on a log axis) and accuracy against the number of units kept.

    Args:
        series: `{label: (losses, accuracies)}` of 0, ..., n units, each (n + 1,); the
            first is drawn strongest.
        random: sizes (k,) and losses and accuracies (3, k) of random masks: low,
            middle, high.
        title: the finding.
        whole: loss and accuracy of the whole network.
    """
    figure = Figure(figsize=(10.4, 4.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    panels = figure.subplots(1, 2)
    sizes = np.asarray(random[0])
    for i, axes in enumerate(panels):
        low, middle, high = np.asarray(random[1 + i])
        axes.fill_between(sizes, low, high, color="#dddddd", lw=0)
        axes.plot(sizes, middle, color="#888888", lw=1.6,
                  label="random units, 5% to 95%")  # fmt: skip
        axes.axhline(whole[i], color="#555555", lw=1, ls="--", label="whole network")
        for (label, values), color in zip(series.items(), COLORS, strict=False):
            values = np.asarray(values[i])
            width = 2.8 if label == next(iter(series)) else 1.7
            axes.plot(
                np.arange(len(values)), values, color=color, lw=width, label=label
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("units kept")
    panels[0].set_yscale("log")
    plain_log(panels[0].yaxis)
    panels[0].set_ylabel("loss (nats)")
    panels[1].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}%"))
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
    for axes, color, (layer, (units, values, errors)) in zip(
        panels, COLORS * len(layers), layers.items(), strict=False
    ):
        values = np.asarray(values)
        order = np.argsort(-values, kind="stable")[:_MOST]
        bars = None if errors is None else 1.96 * np.asarray(errors)[order]
        axes.barh(
            np.arange(len(order)),
            values[order],
            xerr=bars,
            color=color,
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
