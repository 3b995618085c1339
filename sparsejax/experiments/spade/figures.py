"""Figures of pruning for a sample: gains over the dense network, maps, causes."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.experiments.spade import scores
from sparsejax.experiments.spade.measure import ARMS
from sparsejax.experiments.spade.pictures import CLASSES
from sparsejax.experiments.spade.toy import DISCS, inside
from sparsejax.pages import counted
from sparsejax.plots.style import COLORS, ON_PICTURES, SIGNS, one_panel, styled

Arrays = Mapping[str, np.ndarray]
Drawing = tuple[Any, str]  # and its caption


def figures(
    records: scores.Records, first: Arrays, drawn: Arrays, plane: Arrays
) -> dict[str, Drawing]:
    """All of them, `{name: (figure, caption)}`.

    Args:
        records: the lines of `metrics.jsonl`.
        first: arrays of the first seed.
        drawn: arrays of the pictures, or none.
        plane: arrays of the toy.
    """
    spread = {ARMS[arm]: scores.gains(records, arm) for arm in ARMS if arm != "dense"}
    drawings = {
        "auc": (
            gains(spread, title="Gain in AUC over the dense network"),
            "Mean over images and seeds of the paired gain, in points; lines are "
            "95% intervals of a bootstrap over seeds and images.",
        ),
        "maps": (
            maps(
                first["shown"],
                {ARMS[arm]: first[f"maps/{arm}"] for arm in ARMS},
                title="|gradient| of the patch's class, dense and pruned",
            ),
            "The first measured images of the first seed, not chosen. Every map "
            "has a scale of its own.",
        ),
        **({"causes": _causes(drawn)} if drawn else {}),
        "toy": _toy(plane),
    }
    return drawings


@styled
def gains(spread: Mapping[str, tuple[float, float, float]], *, title: str) -> Figure:
    """Mean gains and their intervals, one line for each way of pruning.

    Args:
        spread: mean, low and high by name, in points.
        title: the finding.
    """
    figure, axes = one_panel(title, (8.6, 0.5 * len(spread) + 1.6))
    for i, (mean, low, high) in enumerate(spread.values()):
        color = COLORS[0] if mean > 0 else COLORS[1]
        axes.plot([low, high], [i, i], color=color, lw=2)
        axes.plot(mean, i, "o", color=color, ms=9)
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
        images: shape (rows, height, width, channels), one channel or three.
        columns: maps, shape (rows, height, width), by what is written over them.
        title: the finding.
    """
    images, wide = np.asarray(images), len(columns) + 1
    figure = Figure(figsize=(1.75 * wide, 1.75 * len(images) + 1), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    grid = figure.subplots(len(images), wide, squeeze=False)
    for i, panels in enumerate(grid):
        panels[0].imshow(images[i].squeeze(), cmap="gray", vmin=0, vmax=1)
        for axes, values in zip(panels[1:], columns.values(), strict=True):
            axes.imshow(np.asarray(values)[i], cmap="Greys", vmin=0)
        for axes in panels:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
    for axes, name in zip(grid[0], ("image", *columns), strict=True):
        axes.set_title(textwrap.fill(name, 17), size=11, weight="normal")
    return figure


@styled
def planes(
    panels: Mapping[str, tuple[ArrayLike, ArrayLike]],
    discs: Sequence[tuple[float, float, float]],
    *,
    title: str,
) -> Figure:
    """Decision regions over the square [-1, 1]^2, and points that drive a unit.

    Args:
        panels: probabilities, shape (side, side), the first row at the top, and points,
            shape (n, 2), by what is written over them.
        discs: middle and radius of the regions that were to be learnt.
        title: the finding.
    """
    figure = Figure(figsize=(3.1 * len(panels) + 0.6, 3.9), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    picture = None
    for axes, (name, (values, points)) in zip(grid, panels.items(), strict=True):
        picture = axes.imshow(
            np.asarray(values), extent=(-1, 1, -1, 1), vmin=0, vmax=1,
            cmap=SIGNS["blue-orange"].reversed(), alpha=0.6,
        )  # fmt: skip
        for x, y, radius in discs:
            angle = np.linspace(0, 2 * np.pi, 100)
            ring = x + radius * np.cos(angle), y + radius * np.sin(angle)
            axes.plot(*ring, color=ON_PICTURES["dark"], lw=1, ls="--")
        edge = {"edgecolor": ON_PICTURES["light"], "linewidth": 0.5}
        dots = {"color": "#009e73", **edge}
        axes.scatter(*np.asarray(points).T, s=26, zorder=3, **dots)
        axes.set_title(name, size=11, weight="normal")
        axes.set(xlabel="x₁", xticks=[-1, 0, 1], yticks=[-1, 0, 1], aspect="equal")
        axes.grid(False)
    grid[0].set_ylabel("x₂")
    assert picture is not None
    figure.colorbar(picture, ax=list(grid), label="probability", shrink=0.8)
    return figure


@styled
def causes(
    columns: Mapping[str, ArrayLike], labels: Sequence[str], *, title: str
) -> Figure:
    """Pictures of a class in networks pruned for different images.

    Args:
        columns: images, shape (rows, height, width, channels) with one or three
            channels, by what is written over them.
        labels: what each row is.
        title: the finding.
    """
    rows, wide = len(labels), len(columns)
    figure = Figure(figsize=(1.6 * wide + 0.6, 1.62 * rows + 1), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    grid = figure.subplots(rows, wide, squeeze=False)
    for column, (name, images) in enumerate(columns.items()):
        grid[0, column].set_title(textwrap.fill(name, 17), size=11, weight="normal")
        for axes, image in zip(grid[:, column], np.asarray(images), strict=True):
            gray = image.shape[-1] == 1
            shown = np.clip(image[..., 0] if gray else image, 0, 1)
            axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
    for axes, label in zip(grid[:, 0], labels, strict=True):
        axes.set_ylabel(label, size=11)
    return figure


def _causes(drawn: Arrays) -> Drawing:
    """Pictures of classes, and how much of the patch is in them."""

    def first(name):
        return drawn[name][:, 0]

    amount = {
        arm: drawn[f"amount/{arm}"].mean() for arm in ("dense", "clean", "patched")
    }
    height = first("drawn/dense").shape[1]
    more = height - drawn["patches"].shape[1]
    around = (more // 2, more - more // 2)
    patches = np.pad(
        drawn["patches"], ((0, 0), around, around, (0, 0)), constant_values=0
    )
    figure = causes(
        {
            "patch that means the class": patches,
            "dense": first("drawn/dense"),
            "image without patch": first("samples/clean"),
            "pruned for it": first("drawn/clean"),
            "image with patch": first("samples/patched"),
            "pruned for that": first("drawn/patched"),
        },
        [f"class {label}" for label in CLASSES],
        title="What drives a class: in the network, and pruned for one image",
    )
    told = ", ".join(f"{arm} {value:.2f}" for arm, value in amount.items())
    caption = (
        "Pictures that maximise a class's logit, first seed, first image of each kind. "
        "How much of the patch is in them (0: as in images without, 1: with one), "
        f"means over {counted(drawn['amount/clean'].size, 'network')} pruned for "
        f"images without "
        f"and as many for images with it: {told}."
    )
    return figure, caption


def _toy(plane: Arrays) -> Drawing:
    """Decision regions of the first seed, and shares over all."""
    names = {"dense": "dense", "dataset": "pruned for the data set"}
    names |= {disc: f"pruned for the {disc} disc" for disc in DISCS}

    def share(arm, disc):
        return inside(plane[f"points/{arm}"], disc).mean(1)

    def label(arm, name):
        return (
            f"{name}\n{100 * share(arm, 'large')[0]:.0f}% large, "
            f"{100 * share(arm, 'small')[0]:.0f}% small"
        )

    figure = planes(
        {
            label(arm, name): (plane[f"surface/{arm}"], plane[f"points/{arm}"][0])
            for arm, name in names.items()
        },
        list(DISCS.values()),
        title="What drives a unit with two positive regions (green), first seed",
    )

    def listed(values):
        return ", ".join(f"{100 * v:.0f}" for v in values)

    told = "; ".join(
        f"{name}: {listed(share(arm, 'large'))}% in the large disc and "
        f"{listed(share(arm, 'small'))}% in the small one"
        for arm, name in names.items()
    )
    return figure, f"100 points from random starts, by seeds: {told}."
