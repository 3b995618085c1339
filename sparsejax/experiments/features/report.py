"""The records, sheets and page of a run that drew units."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sparsejax import pages
from sparsejax.experiments._study import report
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.features import figures
from sparsejax.pages import Html, counted


def records(node: str, drawn: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """A record for each unit: its largest and mean activation over its pictures."""
    rows = zip(drawn["units"].tolist(), drawn["values"], strict=True)
    return [
        {"node": node, "unit": unit, "best": float(values.max()),
         "mean": float(values.mean())}
        for unit, values in rows
    ]  # fmt: skip


def write(study: Study, sheets: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write a sheet for every layer, and `index.html`.

    Args:
        study: the run.
        sheets: images, values and numbers of units by node.
    """
    assert study.subject is not None
    title = study.subject.title
    sections = [
        pages.section(node, _sheet(study, title, node, drawn))
        for node, drawn in sheets.items()
    ]
    report.page(
        study,
        f"What units of {title} respond to",
        *sections,
        lead="Pictures that make a unit as active as possible, found by gradient "
        "ascent from noise: what would drive it, not what it meets in the data.",
        footer="Olah et al., Feature Visualization, Distill, 2017.",
    )


def _sheet(study: Study, title: str, node: str, drawn) -> Html:
    config, count = study.config, len(drawn["units"])
    caption = (
        f"{counted(count, 'unit')} of {node}, {config.objective}; numbers are "
        f"those of units. {counted(config.steps, 'step')} of Adam at "
        f"{config.learning_rate:g}, {config.parametrization} parametrisation."
    )
    sheet = figures.sheet(drawn["images"], drawn["units"], title=f"{title}: {node}")
    return report.figure(study, node, sheet, caption)
