"""The page of a run of explanations: figures, tables, and how it was made."""

from collections.abc import Mapping
from typing import Any

from sparsejax import pages
from sparsejax.experiments._study import report
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.relevance import figures as figures_
from sparsejax.experiments.relevance import measure
from sparsejax.experiments.relevance import methods as methods_
from sparsejax.experiments.relevance.config import LABELS, Config
from sparsejax.experiments.relevance.images import Images
from sparsejax.experiments.relevance.records import (
    Arrays,
    best,
    blaming,
    finding,
    mean,
)
from sparsejax.pages import counted


def write(
    study: Study, images: Images, arrays: Mapping[str, Arrays], control: Arrays
) -> None:
    """Write `fig_*.svg`, `table.md` and `index.html`.

    Args:
        study: the run, with a record for each method.
        images: what is explained.
        arrays: of every method, by its name.
        control: of places in random order.
    """
    config, records = study.config, study.records
    drawn = figures_.figures(config, images, records, arrays, control)
    plates = report.figures(study, drawn)
    rows, header = _sums(records)
    sections = [pages.section("What every method says", plates["maps"])]
    if "biases" in plates:
        title = "What biases are to blame for"
        sections.append(pages.section(title, plates["biases"]))
    if rows:
        sums = report.table(study, header, rows)
        sections.append(pages.section("Where the output went", sums, note=_NOTE))
    sections += [
        pages.section("Does what is marked matter?", plates["curves"]),
        pages.section("Does it depend on what was learnt?", plates["randomized"]),
    ]
    if config.levels:
        agreement = pages.table(*_agreement(images, arrays), caption=_AGREEMENT)
        sections.append(
            pages.section("What pruning changes", plates["levels"], agreement)
        )
    report.page(
        study,
        f"Relevance: {images.subject.title}",
        pages.facts(_facts(images, records)),
        *sections,
        lead=finding(records) + ".",
        footer=_footer(config, images),
    )


_NOTE = (
    "Relevance of the input, of all biases, of other constants, and what epsilons "
    "keep, should sum to the output; residual: what is too much. Means over the drawn "
    "test images; relative: the largest |residual| of an image, over the sum of all "
    "absolute values. DeepLIFT, integrated and expected gradients explain a difference "
    "from baselines. Methods that are missing do not divide the output."
)
_AGREEMENT = (
    "Rank correlation of a level's maps with those of the network on this page, mean "
    "over the samples."
)


def _sums(records) -> tuple[list[list[Any]], list[str]]:
    header = ["method", "output", "input", "biases", "constants", "absorbed",
              "residual", "relative"]  # fmt: skip
    fields = ("output", "input", "bias", "constants", "absorbed", "residual")
    rows = []
    for r in records[1:]:
        if r["account"] is not None:
            cells = [_number(r["account"][field]) for field in fields]
            rows.append([LABELS[r["method"]], *cells, f"{r['residual']:.1e}"])
    return rows, header


def _agreement(images: Images, by_method) -> tuple[list[list[Any]], list[str]]:
    header = ["method", *(f"level {level}" for level in images.others)]
    part = slice(images.shown)
    rows = [
        [LABELS[name], *(mean(measure.agreement(arrays["map"][part],
                                                arrays[f"level_{level}"]))
                        for level in images.others)]
        for name, arrays in by_method.items()
    ]  # fmt: skip
    return rows, header


def _facts(images: Images, records) -> list[tuple[Any, ...]]:
    rest = slice(images.shown, None)
    right = (images.logits.argmax(1) == images.labels)[rest].mean()
    facts: list[tuple[Any, ...]] = [
        (
            "right",
            f"{right:.1%}",
            f"of {counted(records[0]['images'], 'test image')} drawn",
        )
    ]
    if (one := blaming(records)) is not None:
        facts.append(("due to biases", f"{one['bias_share']:.0%}",
                      "of the output's size, median"))  # fmt: skip
        facts.append(("largest residual", f"{one['residual']:.0e}",
                      f"of all magnitudes, {LABELS[one['method']]}"))  # fmt: skip
    for curve in measure.CURVES:
        top = best(records, curve)
        note = f"{LABELS[top['method']]}; random {records[0][curve]:.2f}"
        facts.append((curve, f"{top[curve]:.2f}", note))
    return facts


def _footer(config: Config, images: Images) -> str:
    side, step = methods_.window(images.setting)
    return (
        "Made by sparsejax in float32; a row of every METHOD.npz is an image of "
        f"images.npz. LRP-ε {config.epsilon:g}, LRP-γ {config.gamma:g}, LRP-αβ with α "
        "2 and β 1; composite: z-box in the first layer, γ between, ε in the last. "
        "DeepLIFT and integrated gradients (50 steps) compare with "
        f"{figures_.baseline(config)}, expected gradients with 100 training images "
        "(200 gradients); SmoothGrad takes 50 gradients; occlusion hides squares of "
        f"{side}, {step} apart."
    )


def _number(value: float) -> str:
    if value == 0:
        return "0"
    text = f"{value:.3f}" if abs(value) >= 1e-3 else f"{value:.0e}"
    return text.replace("-", "−")
