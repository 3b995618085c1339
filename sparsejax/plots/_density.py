"""Charts against the fraction of weights left."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.plots.style import (
    COLORS,
    colors,
    in_legend,
    integers,
    one_panel,
    percent,
    say_if_empty,
    shares_left,
    styled,
)


@styled
def against_density(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    title: str,
    ylabel: str,
    published: tuple[float, float, str] | None = None,
    logit: bool = False,
) -> Figure:
    """A percentage against the fraction of weights left, denser networks on the left.

    Args:
        series: `{label: (density, values)}` with shapes `(levels,)` and
            `(levels, seeds)`; the first is drawn strongest.
        title: the finding.
        ylabel: the measure and its unit.
        published: `(density, value, label)` of a published result.
        logit: spread the ends of the vertical axis, as suits accuracies; beyond 0.1%
            and 99.9% they are drawn there.

    Example:
        >>> density = np.array([1.0, 0.5])
        >>> accuracy = np.array([[97.0, 98.0], [96.0, 98.0]])  # of two seeds
        >>> figure = against_density(
        ...     {"rewound": (density, accuracy)}, title="Half is enough", ylabel="%"
        ... )
        >>> figure.axes[0].get_ylabel()
        '%'
    """
    figure, axes = one_panel(title)
    for i, (label, (density, values)) in enumerate(series.items()):
        density, values = np.asarray(density), np.asarray(values)
        values = values.clip(0.001, 0.999) if logit else values
        color, width = COLORS[i % len(COLORS)], 2.6 if i == 0 else 1.8
        axes.plot(density, values, color=color, lw=0.6, alpha=0.35)
        mean = values.mean(axis=1)
        axes.plot(
            density,
            mean,
            color=color,
            lw=width,
            marker="o",
            ms=4,
            label=in_legend(label),
        )
    if published is not None:
        density, value, label = published
        axes.axhline(value, color="#555555", lw=1, ls="--")
        axes.plot(
            [density], [value], "D", color="#555555", ms=6, label=in_legend(label)
        )
    densities = [density for density, _ in series.values()]
    shares_left(axes, densities + ([] if published is None else [published[0]]))
    if logit:
        axes.set_yscale("logit")
        axes.minorticks_off()
    percent(axes.yaxis, logit=logit)
    say_if_empty(axes, *(values for _, values in series.values()))
    axes.set_xlabel("weights left (of those that may be pruned)")
    axes.set_ylabel(ylabel)
    axes.legend()
    return figure


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

    Example:
        >>> density, dead = np.array([1.0, 0.5]), np.array([[0.0, 0.0], [3.0, 4.0]])
        >>> figure = counts_against_density(
        ...     {"dead units": {"rewound": (density, dead)}}, title="Units die"
        ... )
        >>> len(figure.axes)
        1
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
                density, values.mean(1), dash, lw=2.2, marker="o", ms=4,
                label=in_legend(name), **style,
            )  # fmt: skip
        if levels and what in levels:
            value, label = levels[what]
            axes.axhline(value, color="#555555", lw=1.2, ls=":", label=in_legend(label))
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
