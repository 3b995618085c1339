"""Figures of dissected networks: detectors and concepts against what is left."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.plots.style import colors, integers, say_if_empty, shares_left, styled


@styled
def counts_against_density(
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    *,
    title: str,
    levels: Mapping[str, tuple[float, str]] | None = None,
) -> Figure:
    """Numbers against the fraction of weights left, a panel for each kind of number.

    Three panels stand in a row, more in two columns.

    Args:
        panels: `{what is counted: {label: (density, values)}}` with shapes `(levels,)`
            and `(levels, seeds)`. A label has the same colour in all panels; of those
            that end in "(control)", lines are dashed.
        title: the finding.
        levels: `{what is counted: (value, label)}`, a dotted line across a panel.
    """
    columns = len(panels) if len(panels) < 4 else 2
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.2 * columns, 4.2 * rows), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    color = dict(zip(names, colors(len(names)), strict=True))
    for axes, (what, series) in zip(grid, panels.items(), strict=False):
        for name, (density, values) in series.items():
            values = np.asarray(values, float)
            style = {"color": color[name]}
            dash = "--" if name.endswith("(control)") else "-"
            axes.plot(density, values, lw=0.6, alpha=0.35, **style)
            axes.plot(
                density, values.mean(1), dash, lw=2.2, marker="o", ms=4, label=name,
                **style,
            )  # fmt: skip
        if levels and what in levels:
            value, label = levels[what]
            axes.axhline(value, color="#555555", lw=1.2, ls=":", label=label)
        shares_left(axes, [density for density, _ in series.values()])
        axes.set_xlabel("weights left")
        axes.set_ylabel(what)
        axes.set_ylim(0, max(1.05 * axes.get_ylim()[1], 1))
        counts = [np.asarray(values, float) for _, values in series.values()]
        if all((np.nan_to_num(values) % 1 == 0).all() for values in counts):
            integers(axes.yaxis)
        say_if_empty(axes, *(values for _, values in series.values()))
        if series:
            axes.legend(fontsize=9)
    return figure
