"""What all figures share.

One visual language: a title that says what was found, labelled axes, seeds as thin
lines and their mean as a thick one, published values dashed. Signs are green (+) and
red (-) or blue and orange, zero is grey. On dark pages, drawings in SVG turn dark: all
greys of equal digits, as #333333, are of the drawing; what is drawn on pictures, which
stay as they are, has others, as `ON_PICTURES`. Nothing here touches global state or a
display.
"""

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import (
    AutoLocator,
    FixedLocator,
    FuncFormatter,
    Locator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

from sparsejax import runs
from sparsejax._words import cut

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
ON_PICTURES = {"dark": "#202122", "light": "#fdfcfb"}
_DARK = {"ink": (233, 234, 237), "paper": (27, 29, 33)}  # as in pages/style.css
_GRID = "#e5e5e5"
_LINE = 300  # letters
_NO_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ACCURACIES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
_STYLE: Any = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _GRID,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "sparsejax",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a "$" in a name is a "$"
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in our style whatever the caller's settings are."""

    @functools.wraps(draw)
    def drawn(*args, **kwargs):
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
            return draw(*args, **kwargs)

    return drawn


def in_legend(name: Any) -> str:
    """A name for a legend, which would leave out none, and what begins with "_".

    Example:
        >>> in_legend("dense"), in_legend("_mask").lstrip("\\u200b")
        ('dense', '_mask')
    """
    return f"\u200b{name}" if str(name)[:1] in ("_", "") else str(name)


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; the suffix says the format.

    Titles and labels may be any text: what XML has no character for becomes a space,
    and lines are cut after 300 letters.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Figure(figsize=(1, 1)), Path(folder) / "empty.svg")
        ...     (Path(folder) / "empty.svg").read_text()[:5]
        '<?xml'
    """
    for text in figure.findobj(Text):
        text.set_text(_written(text.get_text()))
    drawing = path.suffix == ".svg"
    metadata = {"Date": None} if drawing else {}
    with runs.atomic(path) as temporary, matplotlib.rc_context(_STYLE):
        figure.savefig(temporary, metadata=metadata, dpi=150, bbox_inches="tight")
        if drawing:
            text = temporary.read_text(encoding="utf-8")
            temporary.write_text(themed(text), encoding="utf-8")


def _written(text: str) -> str:
    """A text that files can hold."""
    if text.isprintable() and len(text) <= _LINE:
        return text
    lines = _NO_XML.sub(" ", text).split("\n")
    return "\n".join(cut(line, _LINE) for line in lines)


def themed(svg: str) -> str:
    """A drawing of matplotlib's with a second set of colours, for dark pages.

    What reads no media queries shows it as before. Paper and ink change together, so
    that it can be read wherever it stands.

    Args:
        svg: the text of the file.

    Example:
        >>> svg = '<svg><style></style><path style="stroke: #333333"/></svg>'
        >>> themed(svg).partition("{")[2].partition("</style>")[0]
        'text{fill:#e9eaed}[style*="stroke: #333333"]{stroke:#c0c1c4!important}}'
    """
    used = re.findall(rf"(fill|stroke): (#([0-9a-f])\3{{5}}|{_GRID})\b", svg)
    rules = [
        f'[style*="{what}: {gray}"]{{{what}:{_darkened(gray)}!important}}'
        for what, gray in sorted({(what, gray) for what, gray, _ in used})
    ]
    rules.insert(0, f"text{{fill:{_darkened('#000000')}}}")
    media = f"@media (prefers-color-scheme: dark){{{''.join(rules)}}}"
    return svg.replace("</style>", f"{media}</style>", 1)


def _darkened(gray: str) -> str:
    share = int(gray[1:3], 16) / 255
    mixed = zip(_DARK["ink"], _DARK["paper"], strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in mixed)


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
    ends = np.linspace(0.25, 0.9, count)  # seen on white and on black
    return [matplotlib.colormaps["viridis"](end) for end in ends]


class _Ticks(Locator):
    """Ticks of one locator, of round numbers where these are fewer than two."""

    def __init__(self, first: Locator, low: Any = -np.inf, high: Any = np.inf):
        self.first, self.low, self.high = first, low, high

    def __call__(self) -> Any:
        axis: Any = self.axis
        return self.tick_values(*axis.get_view_interval())

    def tick_values(self, vmin: Any, vmax: Any) -> Any:
        ends = sorted((vmin, vmax))
        seen = self._inside(self.first.tick_values(*ends), ends)
        if len(seen) > 1:
            return seen
        for bins in (4, 8, 16):
            more = MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]).tick_values(*ends)
            seen = self._inside(more, ends)
            if len(seen) > 1:
                break
        return seen

    def _inside(self, ticks: Any, ends: Sequence[float]) -> np.ndarray:
        ticks, near = np.asarray(ticks, float), 1e-9 * (ends[1] - ends[0])
        low, high = max(ends[0], self.low), min(ends[1], self.high)
        return ticks[(ticks >= low - near) & (ticks <= high + near)]


def plain_log(axis: Any) -> None:
    """Numbers such as 0.2 on a log axis, at 1, 2 and 5; two at least."""
    axis.set_major_locator(_Ticks(LogLocator(10, subs=(1, 2, 5))))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def percent(axis: Any, *, logit: bool = False) -> None:
    """Shares as 0% to 100%, none beyond; `logit` on an axis of that scale."""
    first = FixedLocator(_ACCURACIES) if logit else AutoLocator()
    axis.set_major_locator(_Ticks(first, 0, 1))
    axis.set_major_formatter(FuncFormatter(_percent))
    axis.set_minor_formatter(NullFormatter())


def shares_left(axes: Any, densities: Sequence[Any]) -> None:
    """Shares of weights on a log axis, from all on the left to the few on the right.

    Args:
        axes: whose horizontal axis it becomes.
        densities: those of every line, also of lines that cannot be drawn.
    """
    found = np.concatenate([np.ravel(np.asarray(d, float)) for d in densities] or [[1]])
    low, high = found.min(initial=1.0), found.max(initial=0.0)
    low = low if low < high else high / 2  # of a single density
    axes.set_xscale("log")
    edge = (high / low) ** 0.05
    axes.set_xlim(high * edge, low / edge)
    axes.xaxis.set_major_locator(_Ticks(LogLocator(10, subs=(1, 2, 5)), 0, 1))
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.xaxis.set_minor_formatter(NullFormatter())


def integers(axis: Any, *, last: int | None = None) -> None:
    """Whole numbers; with `last` from 0 to it, and to 1 at least."""
    axis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    if last is not None:
        edge = 0.02 * max(last, 1)
        axis.axes.set_xlim(-edge, max(last, 1) + edge)


def say_if_empty(axes: Any, *values: Any) -> None:
    """A word in the middle of axes in which there is nothing to see."""
    if not any(np.isfinite(np.asarray(v, float)).any() for v in values):
        where = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "no values", color="#666666", **where)


def _percent(value: Any, _: Any = None) -> str:
    return f"{round(100 * value, 6):g}%"
