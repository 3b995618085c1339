"""Drawings of circuits: losses by size among supersets and controls, and gaps."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.plots.style import COLORS, in_legend, integers, styled

_FLOOR = 1e-4  # gaps below are drawn there
_GRAYS = ("#777777", "#999999", "#bbbbbb")
_DASHES = ("--", ":", "-.")


class Curves(NamedTuple):
    """Losses of one network under one ablation, by the number of nodes.

    Attributes:
        title: in a few words.
        best: of the best sets, shape (n + 1,).
        sizes: at which the next three are known, shape (k,).
        worst: the worst superset of each best set.
        supersets: mean over its supersets.
        random: mean of random sets.
        controls: best sets of controls, by name, shape (n + 1,) each.
        target: loss that a circuit may have.
        size: of the smallest set that meets it.
    """

    title: str
    best: ArrayLike
    sizes: ArrayLike
    worst: ArrayLike
    supersets: ArrayLike
    random: ArrayLike
    controls: Mapping[str, ArrayLike]
    target: float
    size: int


@styled
def by_size(curves: Sequence[Curves], *, title: str, ylabel: str) -> Figure:
    """Loss against circuit size, a panel for each, three in a row.

    Args:
        curves: what to draw.
        title: the finding.
        ylabel: the loss and its unit.
    """
    wide = min(3, len(curves))
    tall = -(-len(curves) // wide)
    figure = Figure(figsize=(max(4.2 * wide, 6.4), 3.1 * tall + 1.3),
                    layout="constrained")  # fmt: skip
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    panels = figure.subplots(tall, wide, squeeze=False, sharey=True).ravel()
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    for axes, one in zip(panels, curves):
        best, sizes = np.asarray(one.best), np.asarray(one.sizes)
        color = COLORS[0]
        axes.fill_between(
            sizes,
            best[sizes],
            np.asarray(one.worst),
            color=color,
            alpha=0.18,
            lw=0,
            label="up to its worst superset",
        )
        named = zip(one.controls.items(), _GRAYS, _DASHES)
        for (name, losses), gray, dash in named:
            label = in_legend(f"{name}, its own best sets")
            axes.plot(np.asarray(losses), color=gray, ls=dash, lw=1.6, label=label)
        axes.plot(sizes, np.asarray(one.random), color="#555555", lw=1.2, marker=".",
                  label="random sets of this size")  # fmt: skip
        axes.plot(sizes, np.asarray(one.supersets), color=COLORS[1], lw=1.8,
                  label="with others, each by chance 1/2")  # fmt: skip
        axes.plot(np.arange(len(best)), best, color=color, lw=2.6, label="best set")
        axes.axhline(one.target, color="#333333", lw=0.8, ls="--", label="target")
        axes.plot(one.size, best[one.size], "o", color=color, ms=8, label="its size")
        axes.set_title(one.title, size=11.5, weight="normal")
        integers(axes.xaxis)
    for axes in panels[: len(curves)]:
        axes.set_xlabel("nodes kept")
    for row in range(tall):
        panels[row * wide].set_ylabel(ylabel)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=11)
    return figure


@styled
def gaps(
    rows: Mapping[str, Mapping[str, ArrayLike]], *, title: str, xlabel: str
) -> Figure:
    """How far finders are from the best sets: a row for each, a dot for each seed.

    Args:
        rows: `{finder: {ablation: gaps of the seeds}}`, those from 0 to 0.0001 drawn at
            the left edge.
        title: the finding.
        xlabel: the gap and its unit.
    """
    figure = Figure(figsize=(8.6, 0.42 * len(rows) + 2.0), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    axes: Any = figure.subplots()
    names = [*dict.fromkeys(name for row in rows.values() for name in row)]
    for k, name in enumerate(names):
        shift = 0.22 * (k - (len(names) - 1) / 2)
        for i, row in enumerate(rows.values()):
            values = np.maximum(np.atleast_1d(np.asarray(row.get(name, []))), _FLOOR)
            axes.plot(values, np.full(len(values), i + shift), "os^Dv"[k % 5], ms=6,
                      color=COLORS[k % len(COLORS)], alpha=0.85,
                      label=in_legend(name) if not i else None)  # fmt: skip
    axes.set_yticks(range(len(rows)), [*rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xscale("log")
    top = max((float(np.max(v, initial=0)) for row in rows.values()
               for v in row.values()), default=0.0)  # fmt: skip
    axes.set_xlim(_FLOOR * 0.8, max(1.5 * top, 0.01))
    ticks = [t for t in (1e-4, 1e-3, 1e-2, 0.1, 1, 10) if t <= max(1.5 * top, 0.01)]
    axes.set_xticks(ticks, ["≤ 0.0001", *(f"{t:g}" for t in ticks[1:])])
    axes.minorticks_off()
    axes.set_xlabel(xlabel)
    figure.legend(loc="outside lower center", ncols=3, title="in place of the others")
    return figure
