"""Charts of node removal: nodes one by one, paths, maps of a square."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from sparsejax.plots.style import COLORS, ON_PICTURES, SIGNS, integers, styled


@styled
def densities_by_node(
    at: ArrayLike,
    panels: Sequence[tuple[str, ArrayLike, ArrayLike]],
    *,
    labels: tuple[str, str],
    title: str,
    xlabel: str,
) -> Figure:
    """Two densities for every node, each panel with axes of its own.

    Args:
        at: the places of every panel, shape (panels, places).
        panels: name and the two densities, each of shape (places,).
        labels: what the two are.
        title: the finding.
        xlabel: the measure and its unit.
    """
    figure, grid = _grid(len(panels), title, height=1.45)
    for axes, place, (name, first, second) in zip(
        grid, np.asarray(at), panels, strict=False
    ):
        for values, color in ((first, COLORS[0]), (second, COLORS[1])):
            axes.fill_between(place, np.asarray(values), color=color, alpha=0.15, lw=0)
            axes.plot(place, values, color=color, lw=1.4)
        axes.axvline(0, color="#999999", lw=0.8)
        axes.set_xlim(place[0], place[-1])
        axes.set_ylim(bottom=0)
        axes.set_title(name, size=10, weight="normal")
        axes.tick_params(labelsize=8)
        axes.set_yticklabels([])
    figure.supxlabel(xlabel, size=12)
    figure.supylabel("probability density (each by itself)", size=12)
    figure.legend(
        grid[0].lines[:2], labels, loc="outside upper right", ncols=2, fontsize=11
    )
    return figure


@styled
def paths(
    covariance: ArrayLike,
    correlations: ArrayLike,
    sampled: tuple[ArrayLike, ArrayLike],
    *,
    count: int,
    title: str,
    measure: str,
) -> Figure:
    """How alike networks are along paths that flip every node once.

    Args:
        covariance: of one network, shape (n + 1, n + 1).
        correlations: by number of flips, shape (networks, n + 1).
        sampled: those of the same network with the start and with the end of paths,
            each of shape (n + 1,).
        count: number of sampled paths.
        title: the finding.
        measure: what is correlated.
    """
    covariance, correlations = np.asarray(covariance), np.asarray(correlations)
    figure = Figure(figsize=(6.8, 7.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    above, below = figure.subplots(2, 1, height_ratios=(1.4, 1))
    extent = float(np.abs(covariance).max())
    picture = above.imshow(
        covariance,
        cmap=SIGNS["blue-orange"],
        vmin=-extent,
        vmax=extent,
        origin="lower",
    )
    figure.colorbar(picture, ax=above, label=f"covariance of {measure}", shrink=0.9)
    above.grid(False)
    above.set_xlabel("flips from the start")
    above.set_ylabel("flips from the start")
    flips = np.arange(correlations.shape[1])
    below.axhline(0, color="#999999", lw=0.8)
    if len(correlations) > 1:
        below.plot(flips, correlations.T, color="#333333", lw=0.5, alpha=0.35)
    below.plot(flips, correlations.mean(axis=0), color="#333333", lw=2.2, label="exact")
    ends = zip(sampled, ("#17a2a2", COLORS[3]), ("start", "end"), strict=True)
    for values, color, end in ends:
        label = f"with the {end}, {count:,} paths"
        below.plot(flips, values, "o", color=color, ms=4, label=label)
    below.set_xlim(0, flips[-1])
    for axis in (above.xaxis, above.yaxis, below.xaxis):
        integers(axis)
    below.set_xlabel("flips in between")
    below.set_ylabel(f"correlation of {measure}")
    below.legend()
    return figure


@styled
def square_maps(
    maps: ArrayLike,
    labels: Sequence[str],
    *,
    extent: float,
    radius: float | None,
    title: str,
    measure: str,
    signed: bool,
) -> Figure:
    """Maps of the square [-extent, extent]^2 side by side, on one colour scale.

    Args:
        maps: shape (maps, size, size), the first row at the top.
        labels: one for each.
        extent: half a side of the square.
        radius: of a circle drawn at the origin.
        title: the finding.
        measure: what is drawn, and its unit.
        signed: blue below zero and orange above; otherwise from zero up.
    """
    maps = np.asarray(maps)
    many = len(maps) > 1
    if many:
        figure, grid = _grid(len(maps), title, height=1.75)
    else:
        figure = Figure(figsize=(5.6, 4.8), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
        grid = [figure.subplots()]
    scale: Any = {"cmap": "magma", "vmin": 0, "vmax": float(maps.max())}
    if signed:
        # Most of the square is near zero: the outermost 0.5% may saturate.
        top = float(np.quantile(np.abs(maps), 0.995)) or 1.0
        scale = {"cmap": SIGNS["blue-orange"].reversed(), "vmin": -top, "vmax": top}
    sides = (-extent, extent, -extent, extent)
    picture = None
    for axes, values, label in zip(grid, maps, labels, strict=False):
        picture = axes.imshow(values, extent=sides, **scale)
        if radius is not None:
            edge = ON_PICTURES["dark" if signed else "light"]
            axes.add_patch(Circle((0, 0), radius, fill=False, ec=edge, lw=0.8))
        axes.grid(False)
        axes.set_title(label, size=10, weight="normal")
        axes.set_xticks([-extent, 0, extent])
        axes.set_yticks([-extent, 0, extent])
        axes.tick_params(labelsize=8)
    for axes in grid[::5]:
        axes.set_ylabel("x₂")
    figure.supxlabel("x₁", size=12)
    assert picture is not None
    bar = figure.colorbar(picture, ax=grid, label=measure, shrink=0.8, aspect=30)
    bar.ax.tick_params(labelsize=9)
    return figure


@styled
def cube() -> Figure:
    """A path over the cube of three nodes that flips each of them once."""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set_title("A path flips every node once", size=13)
    axes.axis("off")
    directions = np.array([[1.0, 0.0], [0.42, 0.36], [0.0, 1.0]])

    def place(corner):
        return tuple((np.asarray(corner) @ directions).tolist())

    corners = [np.array([i >> k & 1 for k in range(3)]) for i in range(8)]
    for corner in corners:
        for k in np.flatnonzero(corner == 0):
            other = corner + np.eye(3, dtype=int)[k]
            ends = np.array([place(corner), place(other)])
            axes.plot(*ends.T, color="#bbbbbb", lw=1.6, zorder=1)
    path = [(0, 0, 1), (1, 0, 1), (1, 0, 0), (1, 1, 0)]
    for before, after in zip(path, path[1:], strict=False):
        arrow = {"arrowstyle": "-|>", "color": "#c0392b", "lw": 2.4,
                 "shrinkA": 12, "shrinkB": 12}  # fmt: skip
        axes.annotate("", place(after), place(before), arrowprops=arrow)
    for corner in corners:
        box = {"boxstyle": "round,pad=0.25", "fc": "white", "ec": "none"}
        text = " ".join(map(str, corner))
        x, y = place(corner)
        axes.text(x, y, text, ha="center", va="center", size=11, bbox=box)
    axes.set_xlim(-0.2, 1.62)
    axes.set_ylim(-0.15, 1.5)
    return figure


def _grid(panels: int, title: str, height: float) -> tuple[Figure, Any]:
    """A grid of small panels, five in a row; those left over are switched off."""
    rows = -(-panels // 5)
    figure = Figure(figsize=(9.2, height * rows + 0.9), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    grid = figure.subplots(rows, min(panels, 5), squeeze=False).ravel()
    for axes in grid[panels:]:
        axes.axis("off")
    return figure, grid
