"""What all figures share.

One visual language: a title that says what was found, labelled axes, seeds as thin
lines and their mean as a thick one, published values dashed. Signs are green (+) and
red (-) or blue and orange, zero is grey. Nothing here touches global state or a
display.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sparsejax import runs

# Okabe and Ito's colours, told apart by colour-blind readers and in grey
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SIGNS = {
    "green-red": LinearSegmentedColormap.from_list(
        "green-red", ["#b2182b", "#e5e5e5", "#1b7837"]
    ),
    "blue-orange": LinearSegmentedColormap.from_list(
        "blue-orange", ["#d55e00", "#e5e5e5", "#0072b2"]
    ),
}
_STYLE: Any = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "sparsejax",
    "svg.fonttype": "none",
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in our style whatever the caller's settings are."""

    @functools.wraps(draw)
    def drawn(*args, **kwargs):
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
            return draw(*args, **kwargs)

    return drawn


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; the suffix says the format."""
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    with runs.atomic(path) as temporary, matplotlib.rc_context(_STYLE):
        figure.savefig(temporary, metadata=metadata, dpi=150, bbox_inches="tight")


def one_panel(title: str, size: tuple[float, float] = (6.8, 4.4)) -> tuple[Figure, Any]:
    """A figure with one set of axes."""
    made = Figure(figsize=size, layout="constrained")
    axes = made.subplots()
    axes.set_title(title)
    return made, axes


def colors(count: int) -> list[Any]:
    """As many colours: those of `COLORS`, or a sequence where they do not suffice."""
    if count <= len(COLORS):
        return list(COLORS[:count])
    return [matplotlib.colormaps["viridis"](i / (count - 1)) for i in range(count)]


def plain_log(axis: Any) -> None:
    """Numbers such as 0.2 on a log axis, at 1, 2 and 5."""
    axis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())
