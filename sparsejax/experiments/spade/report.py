"""The table and the page of a run on pruning for a sample."""

from collections.abc import Mapping

import numpy as np

from sparsejax import pages
from sparsejax.experiments._study import report
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.spade import figures
from sparsejax.experiments.spade.config import Config
from sparsejax.experiments.spade.measure import ARMS, STAGES
from sparsejax.experiments.spade.scores import COLUMNS, Records, gains, mean, told
from sparsejax.pages import counted

Arrays = Mapping[str, np.ndarray]


def write(
    study: Study, arrays: Mapping[int, Arrays], drawn: Arrays, plane: Arrays
) -> None:
    """Write `fig_*.svg`, `table.md` and `index.html`.

    Args:
        study: the run.
        arrays: what was measured, by seed.
        drawn: arrays of the pictures, or none.
        plane: arrays of the toy.
    """
    config, records = study.config, study.records
    first = arrays[config.seeds[0]]
    shown = report.figures(study, figures.figures(records, first, drawn, plane))
    header, *rows = table(records)
    report.page(
        study,
        "Pruning for a sample: do saliency maps find the patch?",
        pages.section("Against controls that look elsewhere, or at nothing",
                      shown["auc"], report.table(study, header, rows)),
        pages.section("Maps", shown["maps"]),
        pages.section("What drives a class", shown["causes"]) if drawn else "",
        pages.section("A unit with two positive regions", shown["toy"]),
        pages.section("What was chosen on other images", _densities(records)),
        lead=finding(records),
        footer=_footer(config),
    )  # fmt: skip


def finding(records: Records) -> str:
    """One sentence."""
    dense, spade = (mean(records, arm, "auc") for arm in ("dense", "spade"))
    rest = [arm for arm in ARMS if arm not in ("dense", "spade")]
    best = max(rest, key=lambda arm: mean(records, arm, "auc"))
    return (
        f"Saliency maps find the patch with an AUC of {100 * dense:.1f}% in the dense "
        f"network and {100 * spade:.1f}% after SPADE, {told(gains(records, 'spade'))} "
        f"points (95% interval); the best control, {ARMS[best]}, has "
        f"{100 * mean(records, best, 'auc'):.1f}%, and SPADE is ahead by "
        f"{told(gains(records, 'spade', over=best))}"
    )


def table(records: Records) -> list[list[str]]:
    """Rows of means over seeds, in percent, by arm."""
    rows = [["network", "mean AUC", "gain", "SPADE ahead by", *COLUMNS.values()]]
    for arm, label in ARMS.items():
        auc, *cells = (
            f"{100 * mean(records, arm, name):.1f}" for name in ("auc", *COLUMNS)
        )
        gain = "" if arm == "dense" else told(gains(records, arm))
        lead = "" if arm == "spade" else told(gains(records, "spade", over=arm))
        rows.append([label, auc, gain, lead, *cells])
    return rows


def _densities(records: Records) -> pages.Html:
    rows = [
        [str(r["seed"]), *(f"{share:g}" for share in r["densities"].values()),
         f"{100 * r['test_accuracy']:.1f}%", f"{100 * r['success']:.1f}%"]
        for r in records if r["arm"] == "spade"
    ]  # fmt: skip
    return pages.table(rows, ["seed", *STAGES, "clean accuracy", "patch works"])


def _footer(config: Config) -> str:
    return (
        f"{config.dataset}, {counted(config.num_train_images, 'image')} to train on, "
        f"{counted(config.num_test_images, 'image')} with patches a seed, "
        f"{counted(config.num_variations, 'variation')} each; densities chosen by "
        f"{config.tune}."
    )
