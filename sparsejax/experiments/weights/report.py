"""The figure and the page of a run that looked at weights."""

import itertools as it
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from sparsejax import pages
from sparsejax.experiments import lottery
from sparsejax.experiments._study import report
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Network
from sparsejax.plots import counts_against_density

TICKETS = "rewind"
CONTROLS = ("random_layerwise", "random_global")  # the nearest to tickets first
_HELD = "inputs that hold 90% of a unit's norm"
_HELD_FAR = "the same, two layers apart"
_CANCELLED = "cancelled of paths two layers apart"
_ALIVE = "units with a weight left"
Records = Sequence[Mapping[str, Any]]


def finding(records: Records) -> str:
    """What a twentieth of the weights leaves of two measures."""
    told = {
        _HELD: "of its inputs hold 90% of a unit's norm",
        _CANCELLED: "of paths two layers apart cancel",
    }
    parts, density = [], np.ones(1)
    for what, words in told.items():
        panel = _panel(what, records)
        if _label(TICKETS) not in panel:
            continue
        density, values = panel[_label(TICKETS)]
        at = _at(density)
        text = f"{np.nanmean(values[at]):.0%} {words}"
        if at:
            text += f" ({np.nanmean(values[0]):.0%} with all weights"
            for arm in [arm for arm in CONTROLS if _label(arm) in panel][:1]:
                others, control = panel[_label(arm)]
                like = np.abs(np.log(others / density[at])).argmin()
                text += f", {np.nanmean(control[like]):.0%} {lottery.LABELS[arm]}"
            text += ")"
        parts.append(text)
    if not parts:
        return "Too few layers to compare"
    return f"With {density[_at(density)]:.1%} of weights, {', and '.join(parts)}"


def name(network: Network) -> str:
    """Which network of its run."""
    return f"seed {network.seed}, {network.arm}, level {network.level}"


def write(
    study: Study,
    shown: Sequence[Network],
    written: Mapping[int, Mapping[str, Path]],
) -> None:
    """Write the figure, where there are levels to compare, and `index.html`.

    Args:
        study: the run.
        shown: networks with pages.
        written: their layers' pages, by level.
    """
    assert study.subject is not None
    records, title = study.records, study.subject.title.partition(",")[0]
    bodies = []
    if len({record["level"] for record in records}) > 1:
        panels = {what: _panel(what, records) for what in _MEASURES}
        panels = {what: panel for what, panel in panels.items() if panel}
        drawing = counts_against_density(panels, title=title)
        caption = (
            "Means over living units and layers, and over seeds (thick); thin lines "
            "are seeds. Inputs are shares of those there are."
        )
        figure = report.figure(study, "readability", drawing, caption)
        bodies.append(pages.section("Are sparse weights easier to read?", figure))
    for network in shown:
        links = [
            pages.tag("a", node, href=quote(f"{path.parent.name}/{path.name}"))
            for node, path in written[network.level].items()
        ]
        bodies.append(
            pages.section(
                f"{network.density:.1%} of weights left",
                pages.tag("p", "Units of ", *_listed(links), "."),
                _table(records, network),
            )
        )
    report.page(
        study,
        f"Weights of {title}",
        *bodies,
        lead=f"{finding(records)}.",
        footer="Voss et al., Visualizing Weights, Distill, 2021. Expanded weights read "
        "ReLUs as identity.",
    )


def _listed(links: list[pages.Html]) -> list[pages.Html | str]:
    return [part for link in links for part in (link, ", ")][:-1]


def _table(records: Records, network: Network) -> pages.Html:
    same = ("seed", "arm", "level")
    rows = [
        (
            f"{r['source']} to {r['target']}", f"{r['alive']} of {r['units']}",
            f"{r['inputs']:.1f} of {r['channels']}", r["participation"],
            f"{r['live']:,.0f}",
            None if r["apart"] == 1 else f"{r['cancellation']:.0%}",
        )
        for r in records if all(r[key] == getattr(network, key) for key in same)
    ]  # fmt: skip
    header = ("layers", "living units", "inputs that hold 90%", "participation",
              "live paths", "cancelled")  # fmt: skip
    return pages.table(rows, header, caption="Means over living units.")


def _label(arm: str) -> str:
    """The name of an arm in figures, in which lines of controls are dashed."""
    return lottery.LABELS[arm] + " (control)" * (arm in (*CONTROLS, "reinit"))


def _held(record) -> float:
    return record["inputs"] / record["channels"]


_MEASURES: dict[str, tuple[int, Callable[[Any], float]]] = {
    _HELD: (1, _held),
    _HELD_FAR: (2, _held),
    _CANCELLED: (2, lambda record: record["cancellation"]),
    _ALIVE: (1, lambda record: record["alive"] / record["units"]),
}


def _panel(what: str, records: Records) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Means over layers, by the name of an arm: densities, and (levels, seeds)."""
    apart, measure = _MEASURES[what]
    found = {}
    for arm in lottery.LABELS:
        rows = [r for r in records if r["arm"] == arm and r["apart"] == apart
                and r["source"] != "input"]  # fmt: skip
        if not rows:
            continue
        if arm != TICKETS:  # arms share the dense network
            rows += [r for r in records if r["arm"] == TICKETS and not r["level"]
                     and r["apart"] == apart and r["source"] != "input"]  # fmt: skip
        levels = sorted({r["level"] for r in rows})
        seeds = sorted({r["seed"] for r in rows})
        values = np.full((len(levels), len(seeds)), np.nan)
        for level, seed in it.product(levels, seeds):
            of = [r for r in rows if (r["level"], r["seed"]) == (level, seed)]
            here = [measure(r) for r in of if r["alive"] or what == _ALIVE]
            if here:
                values[levels.index(level), seeds.index(seed)] = np.mean(here)
        density = [next(r["density"] for r in rows if r["level"] == level)
                   for level in levels]  # fmt: skip
        found[_label(arm)] = np.array(density), values
    return found


def _at(density: np.ndarray) -> int:
    """The level nearest to a twentieth of the weights."""
    return int(np.abs(np.log(density / 0.05)).argmin())
