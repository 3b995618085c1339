"""Figures of training on relevance: scores beside shares, strengths, maps, samples."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from sparsejax.plots.style import COLORS, ON_PICTURES, SIGNS, plain_log, styled

_BACKGROUNDS = {"same": COLORS[5], "swapped": COLORS[0]}  # light and dark, in grey too
_NAMES = {"same": "background of training", "swapped": "swapped background"}


class Scores(NamedTuple):
    """What became of some networks.

    Attributes:
        label: how they were trained.
        accuracy: `{"same": (networks,), "swapped": (networks,)}`.
        outside: the same of shares of relevance.
    """

    label: str
    accuracy: Mapping[str, ArrayLike]
    outside: Mapping[str, ArrayLike]


class Strengths(NamedTuple):
    """A penalty at several strengths.

    Attributes:
        label: which.
        strengths: increasing, shape (strengths,).
        accuracy: on swapped backgrounds, shape (strengths, networks).
        outside: share of relevance, shape (strengths, networks).
    """

    label: str
    strengths: ArrayLike
    accuracy: ArrayLike
    outside: ArrayLike


class Maps(NamedTuple):
    """Relevance of some images in one network.

    Attributes:
        label: how it was trained.
        answers: shape (images,).
        relevance: shape (images, height, width).
    """

    label: str
    answers: ArrayLike
    relevance: ArrayLike


@styled
def scores(rows: Sequence[Scores], *, title: str) -> Figure:
    """Accuracy beside the share of relevance outside: bars are means, dots networks.

    Args:
        rows: from the top.
        title: the finding.
    """
    figure = Figure(figsize=(11.4, 0.48 * len(rows) + 1.7), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, field in zip(panels, ("accuracy", "outside"), strict=True):
        for i, row in enumerate(rows):
            for j, (name, color) in enumerate(_BACKGROUNDS.items()):
                values, place = np.asarray(getattr(row, field)[name]), i + 0.38 * j
                axes.barh(place, values.mean(), 0.36, color=color,
                          label=_NAMES[name] if not i else None)  # fmt: skip
                axes.plot(values, np.full(len(values), place), "o", color="#222222",
                          ms=4, mec="white", mew=0.6)  # fmt: skip
                axes.annotate(
                    f"{100 * values.mean():.1f}%", (values.max(), place), (6, 0),
                    textcoords="offset points", va="center", size=9,
                )  # fmt: skip
        axes.set_xlim(0, 1.14)
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.0f}%")
        axes.grid(False, axis="y")
    panels[0].set_yticks(
        [i + 0.19 for i in range(len(rows))], [row.label for row in rows], size=11
    )
    panels[0].set_ylim(len(rows) - 0.4, -0.4)
    panels[0].set_xlabel("test accuracy")
    panels[1].set_xlabel("|relevance| outside of the digit's box")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center",
                  ncols=2)  # fmt: skip
    return figure


@styled
def strengths(
    panels: Sequence[Strengths],
    *,
    references: Mapping[str, float],
    title: str,
) -> Figure:
    """Accuracy on swapped backgrounds and relevance outside, by strength.

    Networks are thin, their means thick.

    Args:
        panels: one for each penalty.
        references: accuracies without a penalty, dashed, and their names.
        title: the finding.
    """
    figure = Figure(figsize=(2.9 * len(panels) + 0.6, 4.2), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    handles: Any = {}
    for axes, panel in zip(grid, panels, strict=True):
        strengths = np.asarray(panel.strengths)
        lines = {
            "accuracy, swapped backgrounds": (panel.accuracy, COLORS[0], "o"),
            "|relevance| outside, backgrounds of training":
                (panel.outside, COLORS[1], "s"),
        }  # fmt: skip
        for name, (values, color, marker) in lines.items():
            values = np.asarray(values)
            axes.plot(strengths, values, color=color, lw=0.7, alpha=0.5)
            (handles[name],) = axes.plot(
                strengths, values.mean(axis=1), color=color, lw=2.4, marker=marker, ms=6
            )
        for (name, level), dash in zip(references.items(), ("--", ":"), strict=False):
            line = axes.axhline(level, color="#555555", lw=1.2, ls=dash)
            handles[f"accuracy, {name}"] = line
        axes.set_xscale("log")
        axes.set_xlim(strengths[0] / 1.6, strengths[-1] * 1.6)
        plain_log(axes.xaxis)
        axes.set_xticks(strengths)
        axes.set_title(panel.label, size=11, weight="normal")
        axes.set_xlabel("strength")
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f}%")
    grid[0].set_ylim(-0.04, 1.04)
    grid[0].set_ylabel("share of images, of relevance")
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=2,
                  fontsize=11)  # fmt: skip
    return figure


@styled
def maps(
    images: ArrayLike,
    labels: ArrayLike,
    regions: ArrayLike,
    columns: Sequence[Maps],
    *,
    title: str,
    signs: str = "blue-orange",
) -> Figure:
    """Images, and where the evidence for a network's answer lies, a row an image.

    Every map has a scale of its own, from its largest absolute value.

    Args:
        images: shape (images, height, width).
        labels: shape (images,).
        regions: where relevance is welcome, a box each, boolean, as images.
        columns: maps, one network each.
        title: the finding.
        signs: colors of + and -, see `style.SIGNS`.
    """
    images, labels, regions = map(np.asarray, (images, labels, regions))
    rows, wide = len(images), len(columns) + 1
    figure, axes = _board(title, (1.66 * wide, 1.86 * rows + 1.5))
    names = ["image", *(column.label for column in columns)]
    for j, name in enumerate(names):
        left, above = _corner((0, j), images[0])
        where = left + images.shape[2] / 2, above
        axes.annotate(name, where, (0, 4), textcoords="offset points", size=10,
                      ha="center", va="bottom")  # fmt: skip
    picture: Any = None
    for i, (image, label, region) in enumerate(
        zip(images, labels, regions, strict=True)
    ):
        *below, _ = _tile(axes, (i, 0), image, cmap="gray", vmin=0, vmax=1)
        _word(axes, below, f"a {label}")
        for j, column in enumerate(columns, 1):
            values = np.asarray(column.relevance)[i]
            top = np.abs(values).max() or 1.0
            *below, picture = _tile(
                axes, (i, j), values / top, cmap=SIGNS[signs], vmin=-1, vmax=1
            )
            answer = np.asarray(column.answers)[i]
            right = answer == label
            _word(axes, below, f"{'✓' if right else '✗'} {answer}", bold=right)
        down, across = np.nonzero(region)
        high, broad = (float(np.ptp(found) + 1) for found in (down, across))
        for j in range(wide):
            left, above = _corner((i, j), image)
            corner = left + across.min(), above + down.min()
            axes.add_patch(Rectangle(corner, broad, high, fill=False,
                                     color=ON_PICTURES["dark"], lw=1))  # fmt: skip
    if picture is not None:
        bar = figure.colorbar(
            picture, ax=axes, orientation="horizontal", shrink=0.4, aspect=40,
            pad=0.04, ticks=[-1, 0, 1],
        )  # fmt: skip
        bar.ax.set_xticklabels(["against", "0", "for the answer"])
    return figure


@styled
def image_rows(
    rows: Sequence[tuple[str, ArrayLike, Sequence[str]]], *, title: str
) -> Figure:
    """Rows of grey images with a word under each.

    Args:
        rows: what they are; images in [0, 1], shape (n, height, width); words.
        title: the finding.
    """
    count = max(len(words) for _, _, words in rows)
    figure, axes = _board(title, (1.04 * count + 0.8, 1.34 * len(rows) + 0.5))
    for i, (label, images, words) in enumerate(rows):
        for j, (image, word) in enumerate(zip(np.asarray(images), words, strict=True)):
            *below, _ = _tile(axes, (i, j), image, cmap="gray", vmin=0, vmax=1)
            _word(axes, below, word, size=10)
        left, above = _corner((i, 0), np.asarray(images)[0])
        where = left, above + np.asarray(images).shape[1] / 2
        axes.annotate(label, where, (-6, 0), textcoords="offset points", size=11,
                      ha="right", va="center")  # fmt: skip
    return figure


def _board(title, size) -> tuple[Figure, Any]:
    """One set of axes for many pictures: drawn in a fraction of the time of a grid."""
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    axes = figure.subplots()
    axes.set_axis_off()
    return figure, axes


def _corner(place, image) -> tuple[float, float]:
    """Left and top of the picture at (row, column), in pixels of the pictures."""
    (high, wide), (row, column) = np.shape(image), place
    return 1.07 * wide * column, 1.22 * high * row


def _tile(axes, place, image, **how) -> tuple[float, float, Any]:
    """A picture at (row, column); the middle of its lower edge, and the picture."""
    (high, wide), (left, above) = np.shape(image), _corner(place, image)
    sides = left, left + wide, above + high, above
    picture = axes.imshow(image, extent=sides, interpolation="nearest", **how)
    axes.add_patch(Rectangle((left, above), wide, high, fill=False, color="#bbbbbb",
                             lw=0.6))  # fmt: skip
    pad = 0.02 * wide
    axes.set_xlim(-pad, max(axes.get_xlim()[1], sides[1] + pad))
    axes.set_ylim(max(axes.get_ylim()[0], sides[2] + pad), -pad)
    return left + wide / 2, above + high, picture


def _word(axes, below, text, *, size=11, bold=False) -> None:
    axes.annotate(text, below, (0, -3), textcoords="offset points", size=size,
                  ha="center", va="top",
                  weight="bold" if bold else "normal")  # fmt: skip
