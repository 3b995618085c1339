"""What every unit stands for: one label a unit, and how well it fits."""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from sparsejax import _untrusted, checks, pages, runs
from sparsejax._labels import check_table
from sparsejax.data import Labels

_COLUMNS = ("unit", "category", "label", "score")


class Count(NamedTuple):
    """Detectors, and the different labels they have."""

    units: int
    concepts: int


class Table(NamedTuple):
    """The best label of every unit.

    A unit is a detector if its score is above a threshold, of that score or more
    without `strict`.

    Attributes:
        label: names, "" for units that fit none at all.
        category: of the labels.
        score: of the labels, such as intersection over union, shape (units,).
    """

    label: tuple[str, ...]
    category: tuple[str, ...]
    score: Float[np.ndarray, " units"]

    @pages.display
    def _repr_html_(self) -> str:
        order = np.argsort(-self.score, kind="stable")
        rows = [
            (int(k), self.label[k], self.category[k], float(self.score[k]))
            for k in order
        ]
        header = ("unit", "label", "category", "score")
        title = f"The best label of each of {len(self.label)} units, best first"
        return pages.output(pages.listing(rows, header, title=title))

    def detectors(
        self, threshold: float | int = 0.05, strict: bool = True
    ) -> Bool[np.ndarray, " units"]:
        """Which units are detectors."""
        passed = self.score > threshold if strict else self.score >= threshold
        return passed & (np.array(self.label, object) != "")

    def concepts(
        self, threshold: float | int = 0.05, strict: bool = True
    ) -> tuple[tuple[str, str], ...]:
        """The different labels of detectors, sorted, as (category, label)."""
        found = np.flatnonzero(self.detectors(threshold, strict))
        return tuple(sorted({(self.category[k], self.label[k]) for k in found}))

    def by_category(
        self, threshold: float | int = 0.05, strict: bool = True
    ) -> dict[str, Count]:
        """Detectors and their different labels in each category that has some."""
        found = np.flatnonzero(self.detectors(threshold, strict))
        units = [self.category[k] for k in found]
        concepts = [category for category, _ in self.concepts(threshold, strict)]
        kinds = sorted(set(units))
        return {kind: Count(units.count(kind), concepts.count(kind)) for kind in kinds}


def assign(
    scores: Float[np.ndarray, "units labels"],
    labels: Labels,
    *,
    categories: str | Iterable[str] | None = None,
) -> Table:
    """Give every unit the label of the highest score, the first of equals.

    Args:
        scores: of every unit and label, as from `iou` or `normalized`.
        labels: the table.
        categories: the one or those whose labels may be given; by default all.

    Raises:
        ValueError: for shapes that do not fit and a category that there is not.

    Example:
        >>> category = np.array([-1, 0, 1])
        >>> labels = Labels(("", "cat", "red"), ("object", "color"), category)
        >>> found = assign(np.array([[0, 0.1, 0.2], [0, 0.0, 0.0]]), labels)
        >>> found.label, found.category, found.concepts()
        (('red', ''), ('color', ''), (('color', 'red'),))
    """
    if scores.ndim != 2 or scores.shape[1] != len(labels.names):
        raise ValueError(
            f"scores have shape {scores.shape}; expected (units, {len(labels.names)})"
        )
    category = check_table(labels)
    allowed = category >= 0
    if categories is not None:
        allowed = np.zeros(len(allowed), bool)
        for name in checks.several(categories):
            if name not in labels.categories:
                raise ValueError(
                    f"there is no category {name!r}; there are "
                    f"{', '.join(labels.categories)}"
                )
            allowed |= category == labels.categories.index(name)
    scores = np.where(allowed, scores, 0)
    best, score = scores.argmax(1), scores.max(1)  # label 0 where all are 0
    kinds = (*labels.categories, "")  # the last is that of label 0
    return Table(
        tuple(labels.names[l] for l in best),
        tuple(kinds[category[l]] for l in best),
        score,
    )


def write_table(path: str | os.PathLike[str], table: Table) -> None:
    """Write a table as NetDissect does: CSV, units from 1, the best first.

    Names that a spreadsheet would take for formulas get a "'" before them, which
    `read_table` takes off.

    Example:
        >>> import tempfile
        >>> table = Table(("dog", "cat"), ("object",) * 2, np.array([0.125, 0.25]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_table(Path(folder, "table.csv"), table)
        ...     print(Path(folder, "table.csv").read_text().strip())
        unit,category,label,score
        2,object,cat,0.25
        1,object,dog,0.125
    """
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(_COLUMNS)
    for k in np.argsort(-table.score, kind="stable"):
        score = float(table.score[k])
        names = [_untrusted.guarded(n) for n in (table.category[k], table.label[k])]
        # What `csv` of Python 3.11 leaves as it is ends a row when it is read.
        writer = quoted if "\r" in "".join(names) else plain
        writer.writerow([k + 1, *names, score])
    runs.write_text(Path(path), text.getvalue())


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table of NetDissect's: CSV with unit (from 1), category, label, score.

    Other columns and the order of rows do not matter.

    Raises:
        ValueError: for a file that is no such table; every unit has to be there once.

    Example:
        >>> import tempfile
        >>> table = Table(("", "cat"), ("", "object"), np.array([0.0, 0.25]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_table(f"{folder}/table.csv", table)
        ...     read_table(f"{folder}/table.csv")
        Table(label=('', 'cat'), category=('', 'object'), score=array([0.  , 0.25]))
    """
    with _untrusted.reading(path):
        _untrusted.check_regular(path)
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                _untrusted.check_once(reader.fieldnames or (), "column")
                rows = list(reader)
        except (OSError, ValueError, csv.Error) as error:
            raise ValueError(f"{path} cannot be read as CSV: {error}") from None
        return _table(path, rows)


def _table(path: str | os.PathLike[str], rows: list[dict[str, str]]) -> Table:
    """The table that rows are of."""
    missing = [name for name in _COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise ValueError(f"{path} has no rows or no columns {', '.join(missing)}")
    by_unit = {}
    for line, row in enumerate(rows, 2):
        try:
            unit, score = int(row["unit"]), float(row["score"])
        except (TypeError, ValueError):
            unit, score = 0, np.nan
        if unit < 1 or not np.isfinite(score) or unit in by_unit:
            raise ValueError(
                f"{path}, row {line}: unit {row['unit']!r} with score "
                f"{row['score']!r}; expected units 1, 2, ... once each, and numbers"
            )
        label, category = (_untrusted.unguarded(row[key] or "")
                           for key in ("label", "category"))  # fmt: skip
        by_unit[unit] = (label, category, score)
    if max(by_unit) != len(by_unit):
        lost = next(k for k in range(1, len(by_unit) + 1) if k not in by_unit)
        raise ValueError(f"{path} goes to unit {max(by_unit)}, but lacks unit {lost}")
    label, category, score = zip(*(by_unit[k] for k in sorted(by_unit)))
    return Table(label, category, np.array(score))
