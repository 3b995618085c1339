"""The figures of a run that dissected a lottery run, each with its caption."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax import data, plots
from sparsejax.experiments import lottery
from sparsejax.experiments._study.records import curve, mean
from sparsejax.experiments._study.run import Study
from sparsejax.plots import counts_against_density
from sparsejax.plots.style import styled

Records = Sequence[Mapping[str, Any]]


def drawn(
    study: Study, shown: Mapping[str, Any], labels: data.Labels
) -> dict[str, tuple[Figure, str]]:
    """All figures and captions by name; arguments as of `report.write`."""
    records, config = study.records, study.config

    def rate(key):
        return curve(of_arm(records, "rewind"), key)

    chance = {
        "still a detector": rate("still_detector"),
        "same concept, of these": rate("same_label"),
        "still, by chance": rate("still_detector_by_chance"),
        "same, by chance": rate("same_label_by_chance"),
    }
    best = zip(shown["units"], shown["images"], strict=True)
    table = shown["table"]
    return {
        "accuracy": (
            plots.against_density(
                _curves(records, "test_accuracy"),
                title="Accuracy",
                ylabel="test accuracy",
            ),
            "Thin lines are seeds, thick ones their means.",
        ),
        "units": (
            _counts(config, records),
            f"A detector has an IoU above {config.threshold:g} with a concept "
            f"(left), or above {config.normalized_threshold:g} of the best that a mask "
            "of its size can have (middle). Rotated features know as much as the "
            "units.",
        ),
        "categories": (
            counts_against_density(
                {"unique concepts": _categories(records, labels)},
                title="Concepts by category",
            ),
            "Of lottery tickets; a concept counts in its category.",
        ),
        "consistency": (
            plots.against_density(
                chance, title="Detectors of the dense network", ylabel="share"
            ),
            "Chance: as many detectors, concepts as frequent, at random.",
        ),
        "exemplars": (
            exemplars(
                {
                    f"{table.label[unit]} ({table.category[unit]})\n"
                    f"unit {unit}: {table.score[unit]:.2f}": images
                    for unit, images in best
                },
                title="The dense network's best units where they are active, first "
                "seed",
            ),
            "Each unit's six most active images, dark where it is not active, "
            "with the concept it fits best and the IoU.",
        ),
    }


def of_arm(records: Records, arm: str) -> list[Mapping[str, Any]]:
    """The records of an arm."""
    return [record for record in records if record["arm"] == arm]


def _counts(config, records: Records) -> Figure:
    """Detectors by both scores, and unique concepts, against the weights left."""
    kinds = {"": "detectors", "_normalized": "detectors, whatever the concept's size"}
    panels, levels = {}, {}
    untrained = of_arm(records, "untrained")
    for end, what in kinds.items():
        panels[what] = _curves(records, f"units{end}")
        if config.rotations:
            rotated = curve(of_arm(records, "rewind"), f"rotated{end}")
            panels[what]["features rotated (control)"] = rotated
        levels[what] = mean(untrained, f"units{end}"), "untrained"
    panels["unique concepts"] = _curves(records, "concepts")
    levels["unique concepts"] = mean(untrained, "concepts"), "untrained"
    return counts_against_density(panels, title="Detectors and concepts", levels=levels)


def _curves(records: Records, key: str) -> dict[str, tuple[list, list]]:
    """A curve for each arm, from the dense network that they share."""
    dense = [record for record in of_arm(records, "rewind") if not record["level"]]
    curves = {}
    for arm, label in lottery.LABELS.items():
        some = of_arm(records, arm)
        if some:
            curves[label] = curve(some if arm == "rewind" else dense + some, key)
    return curves


def _categories(records: Records, labels: data.Labels) -> dict[str, tuple]:
    """Concepts of lottery tickets by category."""
    some = of_arm(records, "rewind")
    curves = {
        category: curve(some, lambda r: r["categories"].get(category, [0, 0])[1])  # noqa: B023
        for category in labels.categories
    }
    return {name: values for name, values in curves.items() if np.any(values[1])}


@styled
def exemplars(rows: Mapping[str, ArrayLike], *, title: str) -> Figure:
    """Images in which units are active, dark where they are not, a row for each unit.

    Args:
        rows: images, shape (images, height, width, 3), by what a unit stands for.
        title: the finding.
    """
    stacks = [np.asarray(images) for images in rows.values()]
    most = max(len(stack) for stack in stacks)
    columns = 2
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(12, 1.05 * lines + 0.6))
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    figure.subplots_adjust(
        0.16, 0.01, 0.99, 1 - 0.6 / figure.get_figheight(), 0.34, 0.08
    )
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, (name, stack) in zip(grid.T.ravel(), zip(rows, stacks), strict=False):
        seen = np.concatenate(
            [np.clip(stack, 0, 1), np.ones((*stack.shape[:3], 1))], -1
        )
        edge = np.pad(seen, ((0, most - len(stack)), (1, 1), (1, 1), (0, 0)))
        axes.imshow(np.concatenate(list(edge), 1))  # through the edges, the page
        where = {"transform": axes.transAxes, "ha": "right", "va": "center", "size": 10}
        axes.text(-0.02, 0.5, name, **where)
    return figure
