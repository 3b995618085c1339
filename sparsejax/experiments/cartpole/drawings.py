"""Drawings of agents that balance a pole: arrays in, a figure out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from sparsejax.plots.style import (
    COLORS,
    ON_PICTURES,
    SIGNS,
    in_legend,
    integers,
    one_panel,
    plain_log,
    styled,
)


class Walk(NamedTuple):
    """How one agent was pruned.

    Attributes:
        method: in words; the same for all agents of one colour.
        weights: left at every step.
        returns: mean return at every step.
        accepted: whether the step was kept.
    """

    method: str
    weights: ArrayLike
    returns: ArrayLike
    accepted: ArrayLike


@styled
def returns_by_weights(walks: Sequence[Walk], target: float, *, title: str) -> Figure:
    """Mean return against weights: kept steps filled and joined, others hollow."""
    figure, axes = one_panel(title, (7.4, 4.4))
    methods = list(dict.fromkeys(walk.method for walk in walks))
    for walk in walks:
        color = COLORS[methods.index(walk.method) % len(COLORS)]
        weights, returns = np.asarray(walk.weights), np.asarray(walk.returns)
        kept = np.asarray(walk.accepted, bool)
        axes.plot(weights[kept], returns[kept], "-o", color=color, lw=0.8, ms=3,
                  alpha=0.7, rasterized=True)  # fmt: skip
        axes.plot(weights[~kept], returns[~kept], "o", color=color, mfc="none", ms=3,
                  mew=0.5, alpha=0.25, rasterized=True)  # fmt: skip
    for i, method in enumerate(methods):
        axes.plot(
            [], [], "-o", color=COLORS[i % len(COLORS)], ms=4, label=in_legend(method)
        )
    axes.plot([], [], "o", color="#666666", mfc="none", ms=4, label="undone")
    axes.axhline(target, color="#666666", ls="--", lw=1)
    axes.set_xscale("log")
    plain_log(axes.xaxis)
    axes.set_ylim(0, 1.06 * target)
    axes.set(xlabel="weights left", ylabel="mean return")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def learning(
    steps: ArrayLike, returns: Float[np.ndarray, "seeds evaluations"], target: float,
    *, title: str,
) -> Figure:  # fmt: skip
    """Greedy return during training: seeds thin, their median thick."""
    figure, axes = one_panel(title)
    at = np.asarray(steps)
    _lines(axes, at, returns)
    axes.axhline(target, color="#666666", ls="--", lw=1)
    axes.set_ylim(0, 1.06 * target)
    axes.set_xlim(0, 1.05 * at.max())
    axes.set(xlabel="steps in the environment", ylabel="mean return, greedy")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return figure


@styled
def inputs_kept(
    names: Sequence[str], returns: Float[np.ndarray, "agents subsets"],
    agents: Sequence[str], *, title: str,
) -> Figure:  # fmt: skip
    """Mean return for every subset of the inputs, a row for each agent.

    Args:
        names: of the inputs.
        returns: entry m of an agent: bit i of m set means that input i is kept.
        agents: names of the rows.
        title: what was found.
    """
    count = len(names)
    order = sorted(range(2**count), key=lambda m: (m.bit_count(), m))
    height = 1.6 + 0.26 * len(agents) + 0.22 * count
    figure = Figure(figsize=(8.2, height), layout="constrained")
    top, below = figure.subplots(
        2, 1, sharex=True, height_ratios=[max(len(agents), 2), count]
    )
    picture = top.imshow(returns[:, order], aspect="auto", cmap="viridis", vmin=0)
    top.set_yticks(range(len(agents)), agents, fontsize=9)
    top.set_title(title)
    top.grid(False)
    kept = np.array([[m >> i & 1 for m in order] for i in range(count)])
    below.imshow(kept, aspect="auto", cmap="Greys", vmin=0, vmax=1.3)
    below.set_yticks(range(count), names, fontsize=9)
    below.set_xticks([])
    below.set_xlabel("inputs kept (dark); the others are held at 0")
    below.grid(False)
    figure.colorbar(picture, ax=[top, below], label="mean return", shrink=0.9)
    return figure


@styled
def units_kept(
    returns: Float[np.ndarray, "agents sizes"], target: float, *, title: str
) -> Figure:
    """Mean return against hidden units left, 0 to all, without training."""
    figure, axes = one_panel(title)
    sizes = np.arange(returns.shape[1])
    _lines(axes, sizes, returns)
    axes.axhline(target, color="#666666", ls="--", lw=1)
    axes.set_ylim(0, 1.06 * target)
    integers(axes.xaxis)
    axes.set(xlabel="hidden units left", ylabel="mean return")
    return figure


@styled
def decisions(
    margins: Sequence[Float[np.ndarray, "rows columns"]],
    planes: Sequence[tuple[str, str, tuple[float, float, float, float]]],
    visited: Sequence[tuple[ArrayLike, ArrayLike]],
    actions: Sequence[str],
    *,
    title: str,
) -> Figure:
    """What an agent does in planes through the middle of its inputs.

    Args:
        margins: value of the second action less that of the first, rows from the
            lowest y on.
        planes: label of x, label of y, (left, right, bottom, top).
        visited: states of an episode, in each plane.
        actions: names of the two.
        title: what was found.
    """
    figure = Figure(figsize=(4.6 * len(planes), 4.2), layout="constrained")
    grid = figure.subplots(1, len(planes), squeeze=False)[0]
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    for axes, margin, (xlabel, ylabel, extent), (x, y) in zip(
        grid, margins, planes, visited, strict=True
    ):
        axes.imshow(np.sign(margin), origin="lower", extent=extent, aspect="auto",
                    cmap=SIGNS["blue-orange"], vmin=-2, vmax=2)  # fmt: skip
        axes.plot(x, y, ".", color=ON_PICTURES["dark"], ms=1.5)
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=extent[:2], ylim=extent[2:])
        axes.grid(False)
    handles = [
        Rectangle((0, 0), 1, 1, color=SIGNS["blue-orange"](0.5 + side / 4))
        for side in (-1, 1)
    ]
    handles.append(grid[0].plot([], [], ".", color="black")[0])
    figure.legend(handles, [*actions, "one episode"], loc="outside lower center",
                  ncols=3)  # fmt: skip
    return figure


def _lines(axes, at, returns) -> None:
    """Agents thin and their median thick; one alone is that."""
    if len(returns) > 1:
        axes.plot(at, np.transpose(returns), color=COLORS[0], lw=0.5, alpha=0.4)
    axes.plot(at, np.median(returns, axis=0), color=COLORS[0], lw=2, label="median")
    if len(returns) > 1:
        axes.legend(loc="lower right")
