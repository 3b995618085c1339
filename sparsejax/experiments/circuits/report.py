"""What a run leaves to read: the page, the table, the report, and what it cost."""

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from sparsejax import pages, runs
from sparsejax.experiments._study import report
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.circuits import figures as figures_
from sparsejax.experiments.circuits import instrument
from sparsejax.experiments.circuits import records as records_
from sparsejax.experiments.circuits.cases import Case
from sparsejax.experiments.circuits.config import ABLATIONS, LABELS
from sparsejax.pages import counted

_CAPTION = (
    "Gap: loss above that of the best set of the same size, mean over all sizes and "
    "seeds; of masks that are learned, of the best run at every size and (in brackets) "
    "of the median run. Largest gap: of any size. Smallest set: how often it is as "
    "small as there are. Best sets: sizes at which it is as good as there are. "
    "Evaluations: losses and gradients, mean."
)

_CERTIFIED = (
    "Units of which none can be left out, with which all outputs provably stay within "
    "the distance of the whole network's, for every input of the box around the image; "
    "the others are zero."
)


def write(
    study: Study,
    cases: Mapping[int, Case],
    arrays: Mapping[Any, Mapping[str, np.ndarray]],
) -> None:
    """Write `fig_*.svg`, `table.md`, `report.md`, `costs.md` and `index.html`.

    Args:
        study: the run, with all its records.
        cases: networks by seed.
        arrays: of every part, by (seed, ablation).
    """
    records = study.records
    plates = report.figures(study, figures_.figures(records, arrays))
    header, rows = records_.table(records)
    shown = report.table(study, header, rows, caption=_caption(study.config, records))
    told = {
        f"seed {r['seed']}, {ABLATIONS[r['ablation']]}": r["text"]
        for r in records_.of(records, "circuit")
    }
    text = "".join(
        f"## {name}\n\n```text\n{text}\n```\n\n" for name, text in told.items()
    )
    runs.write_text(study.folder / "report.md", text)
    _costs(study)
    first = cases[study.config.seeds[0]]
    reports = [
        pages.tag("details", pages.tag("summary", name), pages.tag("pre", text))
        for name, text in told.items()
    ]
    sections = [pages.section("Take circuits apart", pages.slot("circuits"))]
    sections.append(pages.section("Finders beside the best there is", shown))
    if "gaps" in plates:
        sections.append(plates["gaps"])
    if certificates := records_.of(records, "certificate"):
        shown = pages.table(*_certified(certificates), caption=_CERTIFIED)
        sections.append(pages.section("Circuits that are certified", shown))
    sections += [
        pages.section("Is it a circuit?", plates["by_size"]),
        pages.section("Every circuit in words", *reports),
    ]
    report.page(
        study,
        f"Circuits: {first.title}",
        pages.facts(_facts(records)),
        *sections,
        lead=records_.finding(records) + ".",
        footer=_footer(study.config, first),
        data=instrument.data(study.config, cases, records, arrays),
        script=instrument.script(),
        style=instrument.style(),
    )


def _certified(records) -> tuple[list[list[Any]], list[str]]:
    header = ["image", "label", "units", "proved within", "by", "sets asked about",
              "left open"]  # fmt: skip
    rows = []
    for r in records:
        asked = sum([*r["proofs"].values(), *r["refuted"].values()])
        bound = f"{r['bound']:.3g}" if r["proved"] else None
        size = f"{r['size']} of {r['units']}"
        rows.append([str(r["image"]), str(r["label"]), size, bound, r["by"], asked,
                     r["left_open"]])  # fmt: skip
    return rows, header


def _caption(config, records) -> str:
    exact = all(r["exact"] for r in records_.of(records, "circuit"))
    best = "" if exact else (
        " Not all subsets are known here: the best sets are the best of all finders."
    )  # fmt: skip
    return _CAPTION + best


def _facts(records) -> list[tuple[Any, ...]]:
    first = records_.of(records, "circuit")[0]
    where = f"seed {first['seed']}, {ABLATIONS[first['ablation']]}"
    facts: list[tuple[Any, ...]] = [
        ("smallest circuit", f"{first['size']} of {first['nodes']}", where),
        ("its loss", f"{first['loss']:.3g}",
         f"all nodes {first['full']:.3g}, none {first['empty']:.3g}"),
        ("with half of the others", f"{first['supersets']['means'][0]:.3g}",
         f"random sets {first['random']['supersets']:.3g}"),
    ]  # fmt: skip
    if "minimal_count" in first:
        note = f"{counted(len(first['necessary']), 'node')} in all of them"
        facts.append(("minimal circuits", f"{first['minimal_count']:,}", note))
    return facts


def _footer(config, case: Case) -> str:
    held = "" if case.held_out is None else " Held-out losses are of as many others."
    return (
        f"Made by sparsejax in float32. Losses are means over "
        f"{counted(len(case.examples.x), 'example')}; a circuit may lose "
        f"{config.share:.0%} of what all nodes save.{held} SEED_ABLATION.npz holds "
        "the sets of every finder and, of few nodes, the losses of all subsets."
    )


def _costs(study: Study) -> None:
    """CPU-seconds by finder, in a file of their own: they differ from run to run."""
    spent: dict[str, dict[str, list[float]]] = {}
    for path in sorted(study.folder.glob("seed_*.costs.json")):
        ablation = path.name.removesuffix(".costs.json").split("_", 2)[2]
        with contextlib.suppress(ValueError, OSError):
            for name, seconds in runs.read_json(path).items():
                spent.setdefault(name, {}).setdefault(ablation, []).append(seconds)
    names = [name for name in study.config.ablations]
    rows = [
        [LABELS[name], *(_seconds(spent[name].get(one)) for one in names)]
        for name in LABELS
        if name in spent
    ]
    header = ["finder, CPU-seconds", *(ABLATIONS[name] for name in names)]
    runs.write_text(study.folder / "costs.md", report.markdown(header, rows))


def _seconds(values: list[float] | None) -> str | None:
    return None if not values else f"{np.mean(values):.2f}"
