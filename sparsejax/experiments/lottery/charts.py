"""Charts of a lottery run: what is left of layers, units and filters."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.plots.style import (
    COLORS,
    SIGNS,
    in_legend,
    integers,
    one_panel,
    plain_log,
    styled,
)


@styled
def weights_per_layer(
    counts: Mapping[str, ArrayLike], sizes: Mapping[str, int], *, title: str
) -> Figure:
    """Weights left in every layer at every level, on a log axis.

    Args:
        counts: `{layer: (levels, seeds)}`.
        sizes: `{layer: number of weights before pruning}`.
        title: the finding.
    """
    figure, axes = one_panel(title)
    for i, (layer, kept) in enumerate(counts.items()):
        kept, color = np.asarray(kept), COLORS[i % len(COLORS)]
        levels = np.arange(len(kept))
        mean = kept.mean(axis=1)
        axes.plot(levels, kept, color=color, lw=0.6, alpha=0.35)
        label = f"{layer}: {sizes[layer]:,} → {mean[-1]:,.0f}"
        axes.plot(
            levels, mean, color=color, lw=2.2, marker="o", ms=4, label=in_legend(label)
        )
    axes.set_yscale("log")
    plain_log(axes.yaxis)
    integers(
        axes.xaxis, last=max(len(np.asarray(kept)) for kept in counts.values()) - 1
    )
    axes.set_xlabel("level (number of prunings)")
    axes.set_ylabel("weights left")
    axes.legend()
    return figure


@styled
def idle_units(
    layers: Mapping[str, tuple[ArrayLike, ArrayLike, int]], *, title: str
) -> Figure:
    """Units that are constant, unread or live, at every level.

    Args:
        layers: `{name: (constant, unread, units)}`, the first two of shape `(levels,)`
            (means over seeds), disjoint.
        title: the finding.
    """
    figure = Figure(figsize=(6.8, 4.4), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    panels = figure.subplots(1, len(layers), squeeze=False, sharex=True)[0]
    for axes, (name, (constant, unread, units)) in zip(
        panels, layers.items(), strict=True
    ):
        constant, unread = np.asarray(constant), np.asarray(unread)
        live = units - constant - unread
        axes.stackplot(
            np.arange(len(live)),
            live,
            unread,
            constant,
            labels=("live", "unread (no output)", "constant (no input)"),
            colors=("#0072b2", "#e69f00", "#cccccc"),
        )
        axes.set_title(name, size=12, weight="normal")
        axes.set_xlabel("level")
        integers(axes.xaxis)
        integers(axes.yaxis)
        axes.set_ylim(0, units)
        axes.set_xlim(0, max(len(live) - 1, 1))
        axes.grid(False)
    panels[0].set_ylabel("units (mean over seeds)")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
    )
    return figure


@styled
def filters(
    images: ArrayLike, labels: Sequence[str], *, title: str, signs: str = "green-red"
) -> Figure:
    """Signed pictures in a grid, each scaled by itself.

    Args:
        images: `(pictures, height, width)`.
        labels: one for each picture.
        title: the finding.
        signs: "green-red" or "blue-orange".
    """
    images = np.asarray(images)
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.15 * columns, 1.35 * rows + 0.5), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, picture, label in zip(panels, images, labels, strict=False):
        scale = np.abs(picture).max() or 1
        axes.imshow(picture, cmap=SIGNS[signs], vmin=-scale, vmax=scale)
        axes.set_title(label, size=9, weight="normal")
    return figure
