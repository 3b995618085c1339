"""Pieces of what results show of themselves in a notebook.

Every piece takes its ink from the text around it, so that it is read on light and on
dark notebooks, and needs no script. A whole page, which has one, goes into a frame of
its own that neither reads nor changes the notebook.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from ._markup import Html, block, counted, data_uri, rows_of, tag
from ._png import png

MOST_ROWS = 20
FRAME = 960  # CSS pixels
_SIGNS = {1: (34, 145, 80), -1: (222, 76, 68)}  # read on white and on black
_STYLE = """
.sj-out{font:13px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;
overflow-x:auto;font-variant-numeric:tabular-nums lining-nums}
.sj-out p{margin:4px 0}.sj-out .sj-quiet{opacity:.75}
.sj-out pre{margin:4px 0;padding:0;background:none;white-space:pre-wrap}
.sj-out .sj-table{width:auto;margin:4px 0 8px;border:0;border-collapse:collapse;
font-size:13px;background:none;display:table}
.sj-out .sj-table th,.sj-out .sj-table td{padding:3px 16px 3px 0;border:0;
border-bottom:1px solid color-mix(in srgb,currentColor 18%,transparent);
text-align:left;vertical-align:middle;min-width:0;max-width:none;line-height:1.5}
.sj-out .sj-table th{font-weight:600;vertical-align:bottom}
.sj-out .sj-table tr{background:none}
.sj-out .sj-table .number{text-align:right;white-space:nowrap}
.sj-out .sj-bar{display:inline-block;position:relative;width:120px;height:10px;
vertical-align:middle;background:linear-gradient(currentColor,currentColor) 50%/1px 100%
no-repeat}
.sj-out .sj-bar i{position:absolute;top:0;bottom:0}
.sj-out .sj-share{background:color-mix(in srgb,currentColor 15%,transparent)}
.sj-out .sj-share i{opacity:.6}
.sj-out img{display:block;margin:6px 2px;max-width:100%;image-rendering:pixelated;
outline:1px solid color-mix(in srgb,currentColor 25%,transparent)}
"""


def display(method: Callable[[Any], str]) -> Callable[[Any], Any]:
    """A `_repr_html_` that leaves to text what it cannot draw.

    Results are trees, and JAX puts anything in their leaves: tracers, shapes, axes of a
    `vmap`, arrays that were donated. Where the method raises, a notebook gets None, and
    shows the `repr` instead.

    Args:
        method: a function from a result to its HTML.

    Example:
        >>> print(display(lambda result: result.html)(None))
        None
    """

    @functools.wraps(method)
    def shown(self: Any) -> str | None:
        try:
            return method(self)
        except Exception:  # a display must never be what stops a cell
            return None

    return shown


def output(*bodies: str) -> str:
    """What a notebook shows of a result: pieces, with the style that they need.

    Args:
        bodies: each `Html`, or text that becomes a paragraph.

    Example:
        >>> output("a < b").endswith('<p>a &lt; b</p></div>')
        True
    """
    style = tag("style", Html("".join(_STYLE.split("\n"))))
    return str(tag("div", style, *map(block, bodies), class_="sj-out"))


def listing(
    rows: Iterable[Iterable[object]],
    header: Sequence[object],
    *,
    title: str = "",
    most: int = MOST_ROWS,
) -> Html:
    """A plain table, cut after some rows with the number of the others.

    Args:
        rows: cells, as `pages.table` takes them.
        header: names of the columns.
        title: a line above; text or `Html`.
        most: rows to show.
    """
    rows = iter(rows)
    shown = list(islice(rows, most))
    more = sum(1 for _ in rows)
    head, body = rows_of(shown, header)
    whole = tag("table", head, body, class_="sj-table")
    above = tag("p", tag("b", title)) if title else Html()
    left = f"… and {counted(more, 'more row')}" if more else ""
    below = tag("p", left, class_="sj-quiet") if left else Html()
    return Html(above + whole + below)


def bar(value: SupportsFloat, scale: SupportsFloat) -> Html:
    """A number as a bar from the middle: green to the right, or red to the left.

    Args:
        value: the number.
        scale: the largest that is drawn, > 0.
    """
    share = float(value) / float(scale) if float(scale) > 0 else 0.0
    share = float(np.clip(share, -1, 1)) if np.isfinite(share) else 0.0
    color = "rgb({}, {}, {})".format(*_SIGNS[1 if share >= 0 else -1])
    left, width = 50 + 50 * min(share, 0), 50 * abs(share)
    style = f"left:{left:.1f}%;width:{width:.1f}%;background:{color}"
    return tag("span", tag("i", style=style), class_="sj-bar", aria_hidden="true")


def share(value: SupportsFloat) -> Html:
    """A part of a whole, from 0 to 1, as a bar from the left."""
    width = 100 * float(np.clip(float(value), 0, 1))
    inner = tag("i", style=f"left:0;width:{width:.1f}%;background:currentColor")
    return tag("span", inner, class_="sj-bar sj-share", aria_hidden="true")


def signed_picture(values: ArrayLike, alt: str, *, side: int = 224) -> Html:
    """A map of positive and negative values, transparent where they are zero.

    Args:
        values: numbers of shape (height, width); those that are not finite are left
            out.
        alt: what it shows, for who cannot see it.
        side: length of its longer side, CSS pixels.
    """
    array = np.asarray(values, np.float64)
    array = np.where(np.isfinite(array), array, 0)
    limit = float(np.abs(array).max(initial=0)) or 1.0
    colors = np.array([_SIGNS[1], _SIGNS[-1]], np.uint8)
    pixels = np.empty((*array.shape, 4), np.uint8)
    pixels[..., :3] = colors[(array < 0).astype(int)]
    pixels[..., 3] = np.round(255 * (np.abs(array) / limit))
    width = round(side * array.shape[1] / max(array.shape))
    uri = data_uri(png(pixels), "image/png")
    return tag("img", src=uri, alt=alt, width=width, style=f"width:{width}px")


def signed(values: ArrayLike, what: str, *, most: int = 10) -> Html:
    """Positive and negative values: a picture's as a map, of others the strongest.

    Args:
        values: numbers; of shape (height, width), or (height, width, channels) of up
            to four channels, which are added up, they are a picture's. How many are not
            finite is said, and these are left out.
        what: their name.
        most: how many of others to show.
    """
    array = np.atleast_1d(np.asarray(values, np.float64))
    finite = np.isfinite(array)
    lost = array.size - np.count_nonzero(finite)
    if lost:
        array = np.where(finite, array, 0)
        note = f"{lost:,} of {array.size:,} values of the {what} are not finite"
        return Html(tag("p", note) + signed(array, what, most=most))
    if array.ndim == 3 and array.shape[-1] <= 4:
        array = array.sum(-1)
    if array.ndim == 2 and 3 <= min(array.shape) and max(array.shape) <= 256:
        return signed_picture(array, f"map of the {what}, green above zero, red below")
    order = np.argsort(-np.abs(array), axis=None, kind="stable")
    order = order[: max(1, min(most, np.count_nonzero(array)))]
    scale = np.abs(array).max(initial=0)
    rows = []
    for at in zip(*np.unravel_index(order, array.shape), strict=True):
        value = float(array[at])
        rows.append((", ".join(map(str, at)), value, bar(value, scale)))
    title = f"{what}, the strongest {len(rows)} of {array.size:,}"
    return listing(rows, ("at", what, ""), title=title)


def frame(page: str, height: int = FRAME) -> Html:
    """A whole page inside another, shut off from it: scripts run, and reach nothing.

    Args:
        page: the text of the page.
        height: of the frame, CSS pixels.
    """
    # Between single quotes, which scripts and styles seldom have, and escaped no more
    # than an attribute asks for: half as long as `html.escape` makes it.
    inside = page.replace("&", "&amp;").replace("'", "&#39;")
    style = f"width:100%;height:{int(height)}px;border:1px solid #80808059"
    return Html(
        '<iframe sandbox="allow-scripts allow-downloads" title="sparsejax" '
        f"style=\"{style};border-radius:8px\" srcdoc='{inside}'></iframe>"
    )
