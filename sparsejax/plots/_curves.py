"""Probability densities, exact and sampled."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax.plots.style import (
    colors,
    in_legend,
    one_panel,
    styled,
)


class Curve(NamedTuple):
    """A density, exact and as some samples show it.

    Attributes:
        label: what it is of.
        exact: the exact density, shape (places,).
        sampled: that of the samples, smoothed alike, shape (places,).
        fit: mean and standard deviation of a normal distribution to compare with.
    """

    label: str
    exact: ArrayLike
    sampled: ArrayLike | None = None
    fit: tuple[float, float] | None = None


@styled
def densities(
    at: ArrayLike,
    curves: Sequence[Curve],
    *,
    title: str,
    xlabel: str,
    line: tuple[float, str] | None = None,
) -> Figure:
    """Densities: exact ones filled, sampled ones thin, normal fits dotted.

    Args:
        at: the places, shape (places,).
        curves: what to draw.
        title: the finding.
        xlabel: the measure and its unit.
        line: place and label of a vertical grey line.

    Example:
        >>> at = np.array([0.0, 1.0, 2.0])
        >>> curve = Curve("half kept", np.array([0.0, 1.0, 0.0]))
        >>> figure = densities(at, [curve], title="Losses", xlabel="loss (nats)")
        >>> figure.axes[0].get_xlabel()
        'loss (nats)'
    """
    figure, axes = one_panel(title, size=(6.8, 5.0))
    at = np.asarray(at)
    for curve, color in zip(curves, colors(len(curves)), strict=True):
        axes.fill_between(at, np.asarray(curve.exact), color=color, alpha=0.15, lw=0)
        axes.plot(at, curve.exact, color=color, lw=2.2, label=in_legend(curve.label))
        if curve.sampled is not None:
            axes.plot(at, curve.sampled, color=color, lw=0.8)
        if curve.fit is not None:
            axes.plot(at, _normal(at, *curve.fit), color=color, lw=1.4, ls=":")
    if line is not None:
        axes.axvline(line[0], color="#777777", lw=1.4, label=in_legend(line[1]))
    axes.set_xlim(at[0], at[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel("probability density")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _normal(at, mean, sd):
    return np.exp(-(((at - mean) / sd) ** 2) / 2) / (sd * np.sqrt(2 * np.pi))
