"""Which points are meant by names, patterns or a predicate, and how units are seen."""

import difflib
import math
from collections.abc import Callable, Iterable, Sequence

from sparsejax import trees
from sparsejax._patterns import matches
from sparsejax.naming._points import Point, Spot

NO_KERNELS = (
    "fn multiplies its inputs by none of its parameters, so nothing can be named; pass "
    "parameters as the first argument, fn(params, *args); name inside masked: "
    "sj.masked(sj.named(fn)), not the other way round"
)


def selected(spots: Sequence[Spot], names: tuple | Callable | None) -> list[Spot]:
    """The spots that are asked for, in the order of the function.

    An activation that several names fit, of a pattern or a predicate, gets the first.
    """
    if not any(spot.point.name for spot in spots):
        raise ValueError(NO_KERNELS)
    if names is None:
        return [spot for spot in spots if spot.point.is_default]
    named = [spot for spot in spots if spot.point.name]
    if callable(names):
        return _once(spot for spot in named if names(spot.point) and _check(spot.point))
    fitting = {s.point.name for name in names for s in _fitting(named, name)}
    once = {s.point.name for s in _once(s for s in named if s.point.name in fitting)}
    return [s for s in named if s.point.name in once or s.point.name in names]


def _once(spots: Iterable[Spot]) -> list[Spot]:
    """One spot of every activation, the first."""
    firsts: dict[str, Spot] = {}
    for spot in spots:
        firsts.setdefault(spot.point.alias or spot.point.name, spot)
    return list(firsts.values())


def view_of(
    point: Point, views: Sequence[tuple[str, tuple[int, ...]]]
) -> tuple[int, ...] | None:
    """The axes in which the units of a point are seen; None for one.

    Raises:
        ValueError: if the view does not divide the units, or there are none.
    """
    for pattern, view in views:
        if not matches(point.name, pattern):
            continue
        asked = f"views[{pattern!r}] = {view}"
        if not point.units:
            raise ValueError(
                f"{asked} fits {point.name!r}, which has no axis of units but its own "
                f"layout, {point.shape}; leave it out"
            )
        known = math.prod(size for size in view if size != -1)
        fits = known and point.units % known == 0 and view.count(-1) <= 1
        if not fits or (-1 not in view and known != point.units):
            raise ValueError(
                f"{asked} does not divide the {point.units} units of {point.name!r}"
            )
        return view
    return None


def check_views(views: Sequence[tuple], spots: Sequence[Spot]) -> None:
    """Raise a `ValueError` for a view of nothing that is named."""
    names = [spot.point.name for spot in spots]
    for pattern, view in views:
        if not any(matches(name, pattern) for name in names):
            raise ValueError(
                f"views[{pattern!r}] = {view} fits none of the activations that are "
                f"named: {trees.listed(names)}"
            )


def _fitting(spots: Sequence[Spot], pattern: str) -> list[Spot]:
    fitting = [spot for spot in spots if matches(spot.point.name, pattern)]
    open_ = [spot for spot in fitting if not spot.point.reason]
    if fitting and not open_:
        _check(fitting[0].point)
    if not open_:
        known = _closest(pattern, [s.point.name for s in spots if not s.point.reason])
        raise ValueError(
            f"no activation is called {pattern!r}; there are {', '.join(known)} "
            f"(sj.points lists all {len(spots)})"
        )
    return open_


def _check(point: Point) -> bool:
    if point.reason:
        raise ValueError(
            f"activation {point.name!r} at {point.place} can't be named: it is "
            f"{point.reason}; return it and name it outside, or leave it out"
        )
    return True


def _closest(pattern: str, names: Sequence[str], most: int = 6) -> list[str]:
    """Names to show for one that is unknown: those of its kernel, or those alike."""
    base = pattern.rpartition(":")[0] or pattern
    own = [name for name in names if name.rpartition(":")[0] == base]
    ends = [n for n in names if n.rpartition(":")[0].endswith(f"/{base}")]
    alike = difflib.get_close_matches(pattern, names, most, 0.5)
    return [repr(name) for name in (own or ends or alike or names)[:most]]
