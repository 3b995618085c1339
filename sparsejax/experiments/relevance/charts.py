"""Drawings of explanations: maps in a grid, biases, curves, randomized networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.plots.style import (
    COLORS,
    SIGNS,
    in_legend,
    percent,
    styled,
)

_DASHES = ("-", "--", ":")  # with the colours, enough to tell 18 lines apart


@styled
def relevance_grid(
    images: ArrayLike,
    rows: Sequence[str],
    columns: Mapping[str, ArrayLike],
    *,
    title: str,
    signs: str = "blue-orange",
) -> Figure:
    """Images and their maps, a column for each method.

    Every map has a scale of its own, from its largest absolute value.

    Args:
        images: shape (rows, height, width).
        rows: what each is, in few letters.
        columns: maps, as images, by what is written over them.
        title: the finding.
        signs: colours of + and -, see `style.SIGNS`.
    """
    wide = len(columns) + 1
    size = float(np.clip(wide, 11, 14.5))  # wide figures are shown smaller
    figure = Figure(figsize=(0.98 * wide + 1, 0.98 * len(rows) + 2.2),
                    layout="constrained")  # fmt: skip
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=size + 2)
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    grid = figure.subplots(len(rows), wide, squeeze=False)
    picture: Any = None
    for i, panels in enumerate(grid):
        panels[0].imshow(np.asarray(images)[i], cmap="gray", vmin=0, vmax=1)
        panels[0].set_ylabel(rows[i], size=size, rotation=0, ha="right", va="center")
        for axes, maps in zip(panels[1:], columns.values(), strict=True):
            values = np.asarray(maps)[i]
            top = np.abs(values).max() or 1.0
            picture = axes.imshow(values / top, cmap=SIGNS[signs], vmin=-1, vmax=1)
        for axes in panels:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            for side in axes.spines.values():
                side.set(visible=True, color="#bbbbbb", lw=0.6)
    for axes, name in zip(grid[0], ("image", *columns), strict=True):
        axes.set_title(name, size=size, weight="normal", loc="left", rotation=35)
    bar = figure.colorbar(
        picture, ax=grid, orientation="horizontal", shrink=0.3, aspect=40, pad=0.02,
        ticks=[-1, 0, 1],
    )  # fmt: skip
    bar.ax.set_xticklabels(["against", "0", "for the output"], size=size)
    return figure


@styled
def bias_parts(
    rows: Sequence[str],
    parts: Mapping[str, ArrayLike],
    output: ArrayLike,
    singles: Mapping[str, ArrayLike],
    *,
    title: str,
) -> Figure:
    """What an output is made of, and the single biases that make up most of it.

    Args:
        rows: samples.
        parts: what the input and each layer's biases give to it, shape (rows,), by
            name; the input first.
        output: their sums, shape (rows,).
        singles: relevance of single biases by name, largest first: many images each.
        title: the finding.
    """
    tall = 0.3 * max(len(rows), len(singles)) + 1.9
    figure = Figure(figsize=(11.4, tall), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    ends = np.zeros((2, len(rows)))  # of what is negative, of what is positive
    at, palette = np.arange(len(rows)), ("#9aa0a8", *COLORS)
    for i, (name, values) in enumerate(parts.items()):
        values = np.asarray(values, float)
        start = np.where(values < 0, ends[0], ends[1])
        left.barh(
            at,
            values,
            0.7,
            start,
            color=palette[i % len(palette)],
            label=in_legend(name),
        )
        ends += np.stack([np.minimum(values, 0), np.maximum(values, 0)])
    left.plot(np.asarray(output), at, "|", color="black", ms=14, mew=2.2,
              label="their sum: the output")  # fmt: skip
    left.set_yticks(at, rows)
    left.set_ylim(len(rows) - 0.4, -0.6)
    left.set_xlabel("relevance")
    left.set_title("Input and biases of each layer", size=12, weight="normal")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left",
                  ncols=len(parts) + 1, fontsize=11)  # fmt: skip
    for i, values in enumerate(singles.values()):
        values = np.asarray(values, float)
        low, high = np.quantile(values, [0.05, 0.95])
        mean = values.mean()
        right.barh(i, mean, 0.7, color=COLORS[0] if mean > 0 else COLORS[1])
        right.plot([low, high], [i, i], color="#333333", lw=1.2)
    right.set_yticks(range(len(singles)), list(singles))
    right.set_ylim(len(singles) - 0.4, -0.6)
    right.set_xlabel("mean relevance; lines 5% to 95% of images")
    right.set_title("The largest single biases", size=12, weight="normal")
    for axes in (left, right):
        axes.axvline(0, color="#555555", lw=0.8)
        axes.grid(False, axis="y")
    return figure


@styled
def removal_curves(
    fraction: ArrayLike,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    control: tuple[ArrayLike, ArrayLike],
    *,
    title: str,
) -> Figure:
    """The output while the most relevant inputs go (left) or come (right).

    Args:
        fraction: of the inputs, shape (points,).
        curves: deletion and insertion by method, shape (points,) each.
        control: the same of places in random order.
        title: the finding.
    """
    below = 0.12 * (len(curves) + 1) + 0.9  # inches of the legends
    figure = Figure(figsize=(11.4, 3.9 + below), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    fraction, panels = np.asarray(fraction), figure.subplots(1, 2, sharey=True)
    words = ("deleted, the most relevant first", "shown, the most relevant first")
    for j, (axes, word) in enumerate(zip(panels, words, strict=True)):

        def area(pair, j=j):
            return np.trapezoid(np.asarray(pair[j]), fraction)

        style = {name: (COLORS[i % len(COLORS)], _DASHES[i // len(COLORS) % 3])
                 for i, name in enumerate(curves)}  # fmt: skip
        for name in sorted(curves, key=lambda n: area(curves[n]), reverse=bool(j)):
            color, dash = style[name]
            axes.plot(fraction, np.asarray(curves[name][j]), color=color, ls=dash,
                      lw=1.8, label=f"{area(curves[name]):.3f}  {name}")  # fmt: skip
        axes.plot(fraction, np.asarray(control[j]), color="#888888", lw=3.5, alpha=0.6,
                  label=f"{area(control):.3f}  random order", zorder=1)  # fmt: skip
        axes.set_xlabel(f"share of inputs {word}")
        percent(axes.xaxis)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), fontsize=11, ncols=2,
                    title=f"area, {'large' if j else 'small'} is good",
                    alignment="left", columnspacing=1.2)  # fmt: skip
    panels[0].set_ylabel("mean probability of the target")
    return figure


@styled
def randomized_layers(
    layers: Sequence[str], series: Mapping[str, ArrayLike], *, title: str
) -> Figure:
    """How like its map of the trained network a method's map stays.

    Args:
        layers: in the order in which they are randomized, each with those before.
        series: rank correlations by method, shape (layers,).
        title: the finding.
    """
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    axes, at = figure.subplots(), np.arange(len(layers) + 1)

    def last(name):
        return np.nan_to_num(np.asarray(series[name], float))[-1]

    style = {name: (COLORS[i % len(COLORS)], _DASHES[i // len(COLORS) % 3])
             for i, name in enumerate(series)}  # fmt: skip
    for name in sorted(series, key=last, reverse=True):
        color, dash = style[name]
        values = np.concatenate([[1.0], np.asarray(series[name], float)])
        axes.plot(at, values, color=color, ls=dash, lw=1.8, marker="o", ms=4,
                  label=f"{values[-1]:.2f}  {name}")  # fmt: skip
    axes.axhline(0, color="#555555", lw=0.8)
    words = [layers[0], *(f"and {layer}" for layer in layers[1:])]
    axes.set_xticks(at, ["as trained", *words])
    axes.set_xlabel("layers that are shuffled")
    axes.set_ylabel("rank correlation of |map| with itself")
    axes.set_ylim(min(-0.1, axes.get_ylim()[0]), 1.05)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=11,
                title="all shuffled", alignment="left")  # fmt: skip
    return figure
