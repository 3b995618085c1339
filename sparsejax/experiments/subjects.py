"""Subjects: networks of lottery runs, out of files, or trained here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsejax.experiments._study.subject import Subject


def chosen(
    source: Mapping[str, Any], *, data_dir: str | Path | None = None
) -> Subject | None:
    """What flags name: a network of a run, or of a file; none where they name none."""
    if not any(value is not None for value in source.values()):
        return None
    raise ValueError("not yet")
