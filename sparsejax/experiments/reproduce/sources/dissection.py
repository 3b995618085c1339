"""Frankle, Bau (2019): what units of pruned networks stand for."""

from collections.abc import Mapping
from typing import Any

from sparsejax.experiments.reproduce.claim import Claim, Results, Values

TITLE = "Frankle, Bau, “Dissecting Pruned Neural Networks” (2019)"
_OURS = "ResNet-8 on drawn scenes, half of the weights a round, in place of ResNet-50, "
_OURS += "ImageNet and Broden."
_EIGHTH = "At 12.5% of the weights; the source is at 11%."


def _networks(results: Results, level: int) -> list[Mapping[str, Any]]:
    return [
        r for r in results.records("dissect")
        if r["arm"] == "rewind" and r["level"] == level
    ]  # fmt: skip


def _over_dense(field: str, level: int) -> Values:
    """A count over that of the dense network, a seed each."""
    return lambda results: [
        row[field] / max(dense[field], 1)
        for row, dense in zip(_networks(results, level), _networks(results, 0),
                              strict=True)
    ]  # fmt: skip


def _lost(level: int) -> Values:
    """Points of accuracy lost, a seed each."""
    return lambda results: [
        100 * (dense["test_accuracy"] - row["test_accuracy"])
        for row, dense in zip(_networks(results, level), _networks(results, 0),
                              strict=True)
    ]  # fmt: skip


def _field(field: str, level: int) -> Values:
    return lambda results: [row[field] for row in _networks(results, level)]


def _above_chance(level: int) -> Values:
    return lambda results: [
        row["same_label"] > row["same_label_by_chance"]
        for row in _networks(results, level)
    ]


CLAIMS = [
    Claim(
        "accuracy, quarter", "Figure 1", "points of accuracy lost at 16.8% of the "
        "weights", "0", ("dissect",), _lost(2), (-100.0, 1.0),
        shown="{:.1f}",
        said=f"At 25%: {_OURS} Up to a point, or a gain, counts as none.",
        figures={"accuracy": "dissect/fig_accuracy.svg"},
    ),
    Claim(
        "accuracy, tenth", "Figure 1", "points of accuracy lost at 10% of the weights",
        "1", ("dissect",), _lost(3), 1.0, shown="{:.1f}",
        said="At 12.5%, where ours are still above the dense network; they fall below "
        "it one round later.",
    ),
    Claim(
        "accuracy, further", "Figure 1", "and then it falls steeply: more points lost",
        "figure", ("dissect",),
        lambda results: [
            b > a for a, b in zip(_lost(3)(results), _lost(5)(results), strict=True)
        ],
        said="At 3.1%, against 12.5%.",
    ),
    Claim(
        "units", "Figure 2", "detectors, over those of the dense network, at 16.8%",
        "1", ("dissect",), _over_dense("units", 2), 1.0, shown="{:.2f}",
        said="At 25%; the source's counts, of 2,048 units, are in a picture alone.",
        figures={"units": "dissect/fig_units.svg"},
    ),
    Claim(
        "concepts", "Figure 2", "concepts, over those of the dense network, at 16.8%",
        "1", ("dissect",), _over_dense("concepts", 2), 1.0, shown="{:.2f}",
        said="At 25%. Ours stand for so few that a single one makes the difference.",
    ),
    Claim(
        "units, tenth", "Figure 2", "detectors, over those of the dense network, at "
        "about 10%", "“barely suffers”", ("dissect",), _over_dense("units", 3),
        (0.9, 1.1), shown="{:.2f}",
        said="At most a tenth counts as barely. At 12.5%, of one network, which "
        "rounding alone moves by more.",
    ),
    Claim(
        "units, corrected", "Figure 2", "the same at 25%, corrected for the sizes of "
        "concepts", "", ("dissect",), _over_dense("units_normalized", 2), (0.9, 1.1),
        shown="{:.2f}",
        said="A score of ours, which falls from the first rounds on.", aside=True,
    ),
    Claim(
        "categories", "Figure 3", "concepts by category", "figure", ("dissect",),
        figures={"categories": "dissect/fig_categories.svg"},
    ),
    Claim(
        "still", "Figure 4", "detectors of the dense network that still are, 89% "
        "pruned", "“nearly 80%”", ("dissect",), _field("still_detector", 3), 0.8,
        shown="{:.0%}",
        said=f"{_EIGHTH} Our networks have fewer detectors left by then.",
        figures={"consistency": "dissect/fig_consistency.svg"},
    ),
    Claim(
        "same", "Figure 4", "of these, those that stand for the same concept",
        "“about 70%”", ("dissect",), _field("same_label", 3), 0.7, shown="{:.0%}",
        said=f"{_EIGHTH} Drawn scenes have far fewer concepts than Broden.",
    ),
    Claim(
        "same, chance", "Figure 4", "which is more than by chance", "", ("dissect",),
        _above_chance(3), said="The chance level is ours; the source gives none.",
        aside=True,
    ),
    Claim(
        "trials", "Figure 2", "numbers of units and concepts of ResNet-50", "figure",
        unchecked="Needs ResNet-50, ImageNet and Broden, which are not at hand; the "
        "same commands take them (`lottery --dataset=FOLDER --model=resnet50`, "
        "`dissect --broden=FOLDER`).",
    ),
]  # fmt: skip
