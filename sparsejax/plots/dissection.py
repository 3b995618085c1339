"""Figures of dissected networks: detectors and concepts against what is left."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.plots._style import colors, integers, say_if_empty, shares_left, styled


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


@styled
def units(rows: Mapping[str, ArrayLike], *, title: str) -> Figure:
    """Images in which units are active, dark where they are not, a row for each unit.

    Args:
        rows: images, shape (images, height, width, 3), by what a unit stands for.
        title: the finding.
    """
    stacks = [np.asarray(images) for images in rows.values()]
    most = max(len(stack) for stack in stacks)
    columns = 2
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(12, 1.05 * lines + 0.6))
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    figure.subplots_adjust(
        0.16, 0.01, 0.99, 1 - 0.6 / figure.get_figheight(), 0.34, 0.08
    )
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, (name, stack) in zip(grid.T.ravel(), zip(rows, stacks), strict=False):
        seen = np.concatenate(
            [np.clip(stack, 0, 1), np.ones((*stack.shape[:3], 1))], -1
        )
        edge = np.pad(seen, ((0, most - len(stack)), (1, 1), (1, 1), (0, 0)))
        axes.imshow(np.concatenate(list(edge), 1))  # through the edges, the page
        where = {"transform": axes.transAxes, "ha": "right", "va": "center", "size": 10}
        axes.text(-0.02, 0.5, name, **where)
    return figure
