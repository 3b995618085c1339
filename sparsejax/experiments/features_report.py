"""The records, sheets and page of a run that drew units."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import pages, plots, runs
from sparsejax.pages import counted
from sparsejax.plots import features as figures


def records(node: str, found: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """A record for each unit: its largest and mean activation over its pictures."""
    rows = zip(found["units"].tolist(), found["values"], strict=True)
    return [
        {"node": node, "unit": unit, "best": float(values.max()),
         "mean": float(values.mean())}
        for unit, values in rows
    ]  # fmt: skip


def write(folder: Path, config, title: str, sheets: Mapping[str, Any]) -> None:
    """Write a sheet for every layer, and `index.html`."""
    sections = []
    for node, found in sheets.items():
        path = folder / f"fig_{runs.file_name(node)}.svg"
        sheet = figures.sheet(found["images"], found["units"], title=f"{title}: {node}")
        plots.save(sheet, path)
        count = len(found["units"])
        caption = (
            f"{counted(count, 'unit')} of {node}, {config.objective}; numbers are "
            f"those of units. "
            f"{counted(config.steps, 'step')} of Adam at {config.learning_rate:g}, "
            f"{config.parametrisation} parametrisation."
        )
        body = pages.figure_svg(path.read_bytes(), caption, caption)
        sections.append(pages.section(node, body))
    html = pages.page(
        f"What units of {title} respond to",
        *sections,
        lead="Pictures that make a unit as active as possible, found by gradient "
        "ascent from noise: what would drive it, not what it meets in the data.",
        footer="Olah et al., Feature Visualization, Distill, 2017.",
    )
    runs.write_text(folder / "index.html", html)
