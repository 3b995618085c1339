"""The figures and page of a run that dissected levels of lottery runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import pages, plots, runs
from sparsejax.experiments.lottery.figures import LABELS as NAMES
from sparsejax.plots import dissection as figures_

Records = Sequence[Mapping[str, Any]]
_KEPT = 0.01  # of accuracy, that may be lost


def finding(records: Records) -> str:
    """What the numbers of detectors say on the source's three hypotheses.

    A, no change, where some seeds have more and some less; B, more, and C, fewer, where
    all of them do; none is named for less than two seeds.
    """
    first = _arm(records, "rewind")
    accuracy = _means(first, "test_accuracy")
    density = {r["level"]: r["density"] for r in first}
    last = max(at for at in accuracy if accuracy[at] >= accuracy[0] - _KEPT)

    def told(kind):
        count = {(r["seed"], r["level"]): r[kind] for r in first}
        change = [count[seed, last] - count[seed, 0]
                  for seed, level in count if level == last]  # fmt: skip
        which = "B" if min(change) > 0 else "C" if max(change) < 0 else "A"
        speaks = f" (hypothesis {which})" if len(change) > 1 else ""
        mean = _means(first, kind)
        return f"{mean[last]:.1f} after {mean[0]:.1f}{speaks}"

    return (
        f"Pruned to {density[last]:.1%} of their weights, where accuracy still is "
        f"within a point, networks have {told('units')} detectors, and "
        f"{told('units_normalised')} by scores that know the concepts' sizes"
    )


def write(folder: Path, config, records: Records, shown, labels) -> None:
    """Write `fig_*.svg`, `table.md` and `index.html`."""
    arms = [arm for arm in NAMES if any(r["arm"] == arm for r in records)]

    def curves(key):
        return {NAMES[arm]: _curve(records, arm, key) for arm in arms}

    def whole(key):
        return float(np.mean([r[key] for r in _arm(records, "untrained")]))

    kinds = {"": "detectors", "_normalised": "detectors, whatever the concept's size"}
    panels, levels = {}, {}
    for end, what in kinds.items():
        panels[what] = curves(f"units{end}")
        if config.rotations:
            rotated = _curve(records, "rewind", f"rotated{end}")
            panels[what]["features rotated (control)"] = rotated
        levels[what] = whole(f"units{end}"), "untrained"
    concepts = "unique concepts"
    panels[concepts] = curves("concepts")
    levels[concepts] = whole("concepts"), "untrained"
    draw = figures_.counts_against_density

    def rate(key):
        return _curve(records, "rewind", key)

    figures = {
        "accuracy": plots.against_density(
            curves("test_accuracy"), title="Accuracy", ylabel="test accuracy"
        ),
        "units": draw(panels, title="Detectors and concepts", levels=levels),
        "categories": draw(
            {"unique concepts": _categories(records, labels)},
            title="Concepts by category",
        ),
        "consistency": plots.against_density(
            {
                "still a detector": rate("still"),
                "same concept, of these": rate("same"),
                "still, by chance": rate("still_by_chance"),
                "same, by chance": rate("same_by_chance"),
            },
            title="Detectors of the dense network",
            ylabel="share",
        ),
        "exemplars": figures_.units(
            {
                f"{shown['table'].label[unit]} ({shown['table'].category[unit]})\n"
                f"unit {unit}: {shown['table'].score[unit]:.2f}": images
                for unit, images in zip(shown["units"], shown["images"], strict=True)
            },
            title="The dense network's best units where they are active, first seed",
        ),
    }
    captions = {
        "accuracy": "Thin lines are seeds, thick ones their means.",
        "units": f"A detector has an IoU above {config.threshold:g} with a concept "
        f"(left), or above {config.normalised_threshold:g} of the best that a mask of "
        f"its size can have (middle). Rotated features know as much as the units.",
        "categories": "Of lottery tickets; a concept counts in its category.",
        "consistency": "Chance: as many detectors, concepts as frequent, at random.",
        "exemplars": "Each unit's six most active images, dark where it is not active, "
        "with the concept it fits best and the IoU.",
    }
    drawn = {}
    for name, figure in figures.items():
        path = folder / f"fig_{name}.svg"
        plots.save(figure, path)
        drawn[name] = pages.figure_svg(
            path.read_bytes(), captions[name], captions[name]
        )
    header, *rows = table(records)
    lines = [header, ["---"] * len(header), *rows]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    runs.write_text(folder / "table.md", text)
    html = pages.page(
        "Dissecting pruned networks",
        pages.section("How good, how many", drawn["accuracy"], drawn["units"]),
        pages.section("What kinds", drawn["categories"]),
        pages.section("The same units?", drawn["consistency"]),
        pages.section("What units stand for", drawn["exemplars"]),
        pages.section("All numbers", pages.table(rows, header)),
        lead=finding(records),
        footer="Frankle, Bau, Dissecting Pruned Neural Networks, arXiv:1907.00262. Bau "
        "et al., Network Dissection, arXiv:1704.05796.",
    )
    runs.write_text(folder / "index.html", html)


def table(records: Records) -> list[list[str]]:
    """A row of means over seeds for each arm and level."""
    keys = {
        "units": "detectors", "rotated": "rotated", "units_normalised": "normalised",
        "rotated_normalised": "normalised, rotated", "concepts": "concepts",
        "still": "still", "still_by_chance": "by chance", "same": "same",
        "same_by_chance": "by chance",
    }  # fmt: skip
    rows = [["networks", "weights left", "accuracy", *keys.values()]]
    for arm in dict.fromkeys(r["arm"] for r in records):
        some = _arm(records, arm)
        for level in dict.fromkeys(r["level"] for r in some):
            here = [r for r in some if r["level"] == level]

            def share(key, here=here):
                return _percent([r[key] for r in here])

            cells = [
                share(key) if key.startswith(("still", "same"))
                else _number([r[key] for r in here])
                for key in keys
            ]  # fmt: skip
            density = f"{100 * here[0]['density']:.3g}%"
            rows.append(
                [NAMES.get(arm) or arm, density, share("test_accuracy"), *cells]
            )
    return rows


def _arm(records: Records, arm: str) -> list[Mapping[str, Any]]:
    return [r for r in records if r["arm"] == arm]


def _means(records: Records, key: str) -> dict[int, float]:
    levels = dict.fromkeys(r["level"] for r in records)
    return {
        n: float(np.mean([r[key] for r in records if r["level"] == n])) for n in levels
    }


def _curve(records: Records, arm: str, key: str) -> tuple[list[float], np.ndarray]:
    """Densities, and values (levels, seeds); what is not a number stays one."""
    some = _arm(records, arm)
    levels = sorted({r["level"] for r in some})
    rows = [[r for r in some if r["level"] == level] for level in levels]
    values = [[np.nan if r[key] is None else r[key] for r in row] for row in rows]
    return [row[0]["density"] for row in rows], np.array(values, float)


def _categories(records: Records, labels) -> dict[str, tuple]:
    """Concepts of lottery tickets by category."""
    found = {}
    for category in labels.categories:
        counted = [
            {**r, "n": r["categories"].get(category, [0, 0])[1]}
            for r in _arm(records, "rewind")
        ]
        if any(r["n"] for r in counted):
            found[category] = _curve(counted, "rewind", "n")
    return found


def _percent(values) -> str:
    known = [v for v in values if v is not None and np.isfinite(v)]
    return f"{100 * np.mean(known):.1f}%" if known else "-"


def _number(values) -> str:
    known = [v for v in values if v is not None]
    return f"{np.mean(known):.1f}" if known else "-"
