"""Points as a table from which a person chooses names."""

from collections.abc import Sequence

from sparsejax import pages
from sparsejax.naming._points import Point


class Points(list[Point]):
    """The points of a function; printed, a table with a row for each activation.

    Example:
        >>> Points([])
        0 activations can be named
    """

    def __repr__(self) -> str:
        return table(self)

    @pages.display
    def _repr_html_(self) -> str:
        open_ = [point for point in self if not (point.reason or point.alias)]
        closed = [point for point in self if point.reason and not point.alias]
        rows = [_row(point, self) for point in (*open_, *closed)]
        header = ("named", "name", "shape", "units", "steps", "")
        title = table(self).partition("\n")[0]
        return pages.output(pages.listing(rows, header, title=title, most=60))


def table(points: Sequence[Point]) -> str:
    """A row for each activation: its names, shape, units, loops, and remarks."""
    open_ = [point for point in points if not point.reason]
    first = [point for point in open_ if not point.alias]
    title = f"{len(first)} activations can be named"
    if any(point.is_default for point in points):
        title += "; sj.named(fn) names those with a *"
    rows = [_row(point, points) for point in first]
    if closed := [point for point in points if point.reason and not point.alias]:
        rows += [("", f"{len(closed)} can't be named:", "", "", "", "")]
        rows += [_row(point, points) for point in closed]
    if not rows:
        return title
    head = ("", "name", "shape", "units", "steps", "")
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join([title, *lines])


def _row(point: Point, points: Sequence[Point]) -> tuple[str, ...]:
    same = [p for p in points if point.name and point.name in (p.name, p.alias)]
    default = [p.name for p in same if p.is_default]
    first, *others = [*default, *(p.name for p in same if not p.is_default)] or "-"
    output = point.is_output and not point.reason
    remarks = [
        f"= {', '.join(others)}" if others else "",
        "only the output is made of it" if output else "",
        *dict.fromkeys(p.note for p in same),
        point.reason and f"{point.reason} ({point.place})",
    ]
    return (
        "*" if default else "",
        first,
        "x".join(map(str, point.shape)) or "scalar",
        str(point.units or ""),
        "x".join(map(str, point.loops)),
        "; ".join(filter(None, remarks)),
    )
