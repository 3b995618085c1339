"""Pieces of a page: figures, tables, headline numbers, sections.

Every function returns `Html`, and escapes whatever it is given that is not `Html`: text
from a data set or a file name can never become markup.
"""

import base64
import re
import struct
from collections.abc import Iterable, Sequence
from html import escape, unescape
from numbers import Integral, Real
from typing import TypeGuard

import numpy as np

# "97.3 %", "98.1 ± 0.2", "1,024", "1e-3", "0.2x": text that is read as a number.
_NUMBER = re.compile(r"[-−+~≈<>≤≥]? ?\d[\d.,]*(e[-−+]?\d+)?( ?± ?[\d.]+)? ?[%×x]?")


class Html(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()


def join(*parts: object) -> Html:
    """Put parts one after another; what is not `Html` is escaped.

    Example:
        >>> join("a < b", Html("<br>"))
        'a &lt; b<br>'
    """
    return Html("".join(p if isinstance(p, Html) else escape(str(p)) for p in parts))


def tag(name: str, *parts: object, **attributes: object) -> Html:
    """An element around parts; what is not `Html` is escaped.

    Args:
        name: of the element.
        parts: what is in it.
        attributes: `class_` stands for class, `aria_label` for aria-label; those that
            are None or empty text are left out.

    Example:
        >>> tag("p", "a < b", class_="note")
        '<p class="note">a &lt; b</p>'
    """
    pairs = [
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value != ""
    ]
    close = "" if name in ("br", "hr", "img") else f"</{name}>"
    return Html(f"<{name}{''.join(pairs)}>{join(*parts)}{close}")


def counted(number: Integral | int, one: str, more: str | None = None) -> str:
    """A number of things, in words that fit it.

    Example:
        >>> counted(1, "seed"), counted(1200, "seed"), counted(0, "box", "boxes")
        ('1 seed', '1,200 seeds', '0 boxes')
    """
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def data_uri(content: bytes, mime: str) -> str:
    """A file's content as an address that needs no file and no network.

    Args:
        content: the bytes of the file.
        mime: what it is, such as "image/png".
    """
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


def figure_svg(svg: str | bytes, caption: str, alt: str) -> Html:
    """A drawing, such as matplotlib's, on a card that scales with the page.

    Those of `plots.save` follow the page's theme; others keep their colours. It is
    shown at 1/2 to 5/4 of its natural width, and scrolls where that is too wide.

    Args:
        svg: the SVG file, as text or bytes.
        caption: what to see in it; text or `Html`.
        alt: what it shows, for who cannot see it.
    """
    text = svg.decode("utf-8") if isinstance(svg, bytes) else svg
    tag = re.search(r"<svg\b[^>]*>", text)
    if tag is None:
        raise ValueError(f"this is not an SVG drawing: {text[:60]!r}")
    width = re.search(r'\bwidth="([\d.]+)(pt|px)?"', tag[0])
    # CSS counts 96 pixels to the inch, points are 72; 800 where the file does not say.
    pixels = float(width[1]) * (4 / 3 if width[2] == "pt" else 1) if width else 800
    uri = data_uri(text.encode("utf-8"), "image/svg+xml")
    return _figure(uri, caption, alt, round(pixels), "plate")


def image(content: bytes, caption: str, alt: str, *, width: int | None = None) -> Html:
    """A picture in a PNG file, with a caption.

    Args:
        content: the PNG file.
        caption: what to see in it; text or `Html`.
        alt: what it shows, for who cannot see it.
        width: the width to show it in, CSS pixels; its own by default. Pictures shown
            larger than they are keep crisp pixels.
    """
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"this is not a PNG file, it starts with {content[:8]!r}")
    natural: int = struct.unpack(">I", content[16:20])[0]
    kind = "plate fit crisp" if (width or natural) > natural else "plate fit"
    uri = data_uri(content, "image/png")
    return _figure(uri, caption, alt, width or natural, kind)


def table(
    rows: Iterable[Iterable[object]], header: Iterable[object], *, caption: str = ""
) -> Html:
    """A table; columns of numbers are aligned on the right, with equal decimals.

    Args:
        rows: the cells of each row: numbers (floats to 4 significant digits), text,
            `Html`, or None for what is absent.
        header: the names of the columns.
        caption: what it holds; text or `Html`.
    """
    whole = tag("table", *rows_of(rows, header))
    # Wide tables scroll inside their card; with a tab stop, by keyboard too.
    card = tag("div", whole, class_="scroll", tabindex=0, role="region",
        aria_label=_plain_text(caption) or "Table")  # fmt: skip
    return tag("figure", tag("figcaption", caption) if caption else Html(), card)


def rows_of(
    rows: Iterable[Iterable[object]], header: Iterable[object]
) -> tuple[Html, Html]:
    """The head and the body of a table."""
    names, cells = list(header), [list(row) for row in rows]
    for index, row in enumerate(cells):
        if len(row) != len(names):
            raise ValueError(
                f"row {index} has {len(row)} cells, the header names {len(names)}"
            )
    shown = [_column([row[i] for row in cells]) for i in range(len(names))]
    kinds = [kind for _, kind in shown]
    head = [tag("th", n, scope="col", class_=k) for n, k in zip(names, kinds)]
    body = [
        tag("tr", *(tag("td", text, class_=k) for text, k in zip(row, kinds)))
        for row in zip(*(texts for texts, _ in shown))
    ] or [tag("tr", tag("td", "Nothing here yet.", colspan=len(names), class_="none"))]
    return tag("thead", tag("tr", *head)), tag("tbody", *body)


def facts(items: Iterable[Sequence[object]]) -> Html:
    """A row of headline numbers.

    Args:
        items: (label, value) or (label, value, note) each; numbers as in `table`.
    """
    groups = []
    for item in items:
        if len(item) not in (2, 3):
            raise ValueError(f"a fact is (label, value) or with a note, got {item!r}")
        label, value, *notes = item
        details = [tag("dd", part) for part in (*_column([value])[0], *notes)]
        groups.append(tag("div", tag("dt", label), *details))
    return tag("dl", *groups, class_="facts")


def section(title: str, *bodies: str, note: str | None = None) -> Html:
    """A part of a page, under a heading.

    Args:
        title: the heading; a finding where there is one.
        bodies: what it shows; each `Html`, or text that becomes a paragraph.
        note: how to read it, in a sentence.
    """
    lead = Html() if note is None else tag("p", note, class_="note")
    return tag("section", tag("h2", title), lead, *map(block, bodies))


def columns(*bodies: str) -> Html:
    """Bodies side by side where the page is wide enough, else one under another."""
    return tag("div", *map(block, bodies), class_="columns")


def slot(id: str, loading: str = "Drawing …") -> Html:
    """A place that the page's script fills, with `sj.fill(id, ...)`.

    Args:
        id: its name in the page.
        loading: what it says until then.
    """
    return tag("div", tag("p", loading, class_="loading"), id=id)


def block(body: str) -> Html:
    """`Html` as it is, text as a paragraph."""
    return body if isinstance(body, Html) else tag("p", body)


def _figure(uri: str, caption: str, alt: str, width: int, kind: str) -> Html:
    if not alt.strip():
        raise ValueError("a figure needs `alt`: what it shows, for who cannot see it")
    picture = tag("img", src=uri, alt=alt, style=f"--width: {width}px")
    plate = tag("div", picture, class_=kind)
    return tag("figure", plate, tag("figcaption", caption))


def _plain_text(text: str) -> str:
    return unescape(re.sub("<[^>]*>", "", text)) if isinstance(text, Html) else text


def _column(cells: list[object]) -> tuple[list[object], str]:
    """The texts of a column, and its class: "number" where all that is there counts."""
    given = [cell for cell in cells if cell is not None]
    counts = [_is_number(c) or bool(_NUMBER.fullmatch(str(c))) for c in given]
    short = [f"{c:.4g}" for c in given if _is_number(c) and not isinstance(c, Integral)]
    # Equal decimals line the points up; not where that prints digits without end.
    decimals = max((len(text.partition(".")[2]) for text in short), default=0)
    alike = decimals <= 4 and not any("e" in text for text in short)
    texts = [_text(cell, decimals if alike else None) for cell in cells]
    return texts, "number" if counts and all(counts) else ""


def _text(cell: object, decimals: int | None) -> object:
    if cell is None:
        return "–"
    if isinstance(cell, bool | np.bool_):
        return "yes" if cell else "no"
    if isinstance(cell, Integral):
        text = f"{int(cell):,}"
    elif isinstance(cell, Real):
        value = float(cell)
        large = 1e4 <= abs(value) < 1e15
        form = ",.0f" if large else ".4g" if decimals is None else f",.{decimals}f"
        text = format(value, form)
    else:
        return cell
    return text.replace("-", "−")


def _is_number(cell: object) -> TypeGuard[Real]:
    return isinstance(cell, Real) and not isinstance(cell, bool)
