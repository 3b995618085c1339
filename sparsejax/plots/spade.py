"""Figures of pruning for a sample: gains over the dense network, and maps."""

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.plots.style import COLORS, one_panel, styled


@styled
def gains(spread: Mapping[str, tuple[float, float, float]], *, title: str) -> Figure:
    """Mean gains and their intervals, one line for each way of pruning.

    Args:
        spread: mean, low and high by name, as shares.
        title: the finding.
    """
    figure, axes = one_panel(title, (8.6, 0.5 * len(spread) + 1.6))
    for i, (mean, low, high) in enumerate(spread.values()):
        color = COLORS[0] if mean > 0 else COLORS[1]
        axes.plot([100 * low, 100 * high], [i, i], color=color, lw=2)
        axes.plot(100 * mean, i, "o", color=color, ms=9)
    axes.axvline(0, color="#555555", lw=0.8)
    axes.set_yticks(range(len(spread)), list(spread))
    axes.set_ylim(len(spread) - 0.5, -0.5)
    axes.set_xlabel("gain in localisation AUC, points")
    axes.grid(False, axis="y")
    return figure


@styled
def maps(images: ArrayLike, columns: Mapping[str, ArrayLike], *, title: str) -> Figure:
    """Images and non-negative maps of them, a column for each network.

    Args:
        images: shape (rows, height, width, 3).
        columns: maps, shape (rows, height, width), by what is written over them.
        title: the finding.
    """
    images, wide = np.asarray(images), len(columns) + 1
    figure = Figure(figsize=(1.75 * wide, 1.75 * len(images) + 1), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    grid = figure.subplots(len(images), wide, squeeze=False)
    for i, panels in enumerate(grid):
        panels[0].imshow(images[i])
        for axes, values in zip(panels[1:], columns.values(), strict=True):
            axes.imshow(np.asarray(values)[i], cmap="Greys", vmin=0)
        for axes in panels:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
    for axes, name in zip(grid[0], ("image", *columns), strict=True):
        axes.set_title(textwrap.fill(name, 17), size=11, weight="normal")
    return figure
