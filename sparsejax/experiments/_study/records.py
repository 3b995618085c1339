"""Records of `metrics.jsonl`: grouped, averaged, and as curves."""

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping
from operator import getitem
from typing import Any, TypeVar

import numpy as np

Record = Mapping[str, Any]
R = TypeVar("R", bound=Record)


def group(records: Iterable[R], *keys: str) -> dict[Any, list[R]]:
    """Records by the values of some fields, in the order they come in.

    Example:
        >>> rows = [{"level": 0, "seed": 0}, {"level": 1, "seed": 0}]
        >>> group(rows, "level")[1], list(group(rows, "level", "seed"))
        ([{'level': 1, 'seed': 0}], [(0, 0), (1, 0)])
    """
    groups: dict[Hashable, list[R]] = {}
    for record in records:
        values = tuple(record[key] for key in keys)
        groups.setdefault(values[0] if len(keys) == 1 else values, []).append(record)
    return groups


def mean(records: Iterable[Record], value: str | Callable[[Record], Any]) -> float:
    """The mean of a field, or of a function of records, where it is known; or NaN."""
    known = [v for v in values(records, value) if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")


def values(
    records: Iterable[Record], value: str | Callable[[Record], Any]
) -> list[float]:
    """A field, or a function, of each record; NaN where it is `None`."""
    get = value if callable(value) else lambda record: record[value]
    found = (get(record) for record in records)
    return [float("nan") if v is None else float(v) for v in found]


def column(records: Iterable[Record], *path: str) -> np.ndarray:
    """What lies at a path in every record, shape (records, ...).

    Example:
        >>> rows = [{"loss": {"train": 0.5}}, {"loss": {"train": 0.25}}]
        >>> column(rows, "loss", "train").tolist()
        [0.5, 0.25]
    """
    return np.array([functools.reduce(getitem, path, record) for record in records])


def curve(
    records: Iterable[Record],
    value: str | Callable[[Record], Any],
    *,
    along: str = "level",
    at: str = "density",
) -> tuple[list[float], list[list[float]]]:
    """Where, and values there by seed, as `plots.against_density` takes them.

    Args:
        records: of one arm.
        value: a field, or a function of a record.
        along: field that tells the points of the curve apart.
        at: field whose mean is a point's place.

    Returns:
        Places (levels,) and values, a list over seeds for each.
    """
    rows = group(records, along)
    order = sorted(rows)
    places = [float(np.mean([record[at] for record in rows[k]])) for k in order]
    return places, [values(rows[k], value) for k in order]
