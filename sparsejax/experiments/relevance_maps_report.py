"""The page of a run of explanations: figures, tables, and how it was made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsejax import pages, plots, runs
from sparsejax.experiments import relevance_maps_figures as figures_
from sparsejax.experiments import relevance_maps_measure as measure
from sparsejax.experiments import relevance_maps_methods as methods_
from sparsejax.experiments.relevance_maps_config import LABELS, Config
from sparsejax.experiments.relevance_maps_measure import Subject
from sparsejax.experiments.relevance_maps_records import (
    Arrays,
    Records,
    best,
    blaming,
    finding,
    mean,
)
from sparsejax.pages import counted


def write(
    folder: Path,
    config: Config,
    subject: Subject,
    records: Records,
    found: Mapping[str, Arrays],
    control: Arrays,
) -> None:
    """Write `fig_*.svg` and `index.html`.

    Args:
        folder: the run's.
        config: what was run.
        subject: what is explained.
        records: the lines of `metrics.jsonl`.
        found: the arrays of every method.
        control: those of places in random order.
    """
    drawn = figures_.figures(config, subject, records, found, control)
    plates = {}
    for name, (figure, caption) in drawn.items():
        path = folder / f"fig_{name}.svg"
        plots.save(figure, path)
        plates[name] = pages.figure_svg(path.read_bytes(), caption, caption)
    sums = _sums(records)
    sections = [
        pages.section("What every method says", plates["maps"]),
        *([pages.section("What biases are to blame for", plates["biases"])]
          if "biases" in plates else []),
        *([pages.section("Where the output went", pages.table(*sums), note=_NOTE)]
          if sums[0] else []),
        pages.section("Does what is marked matter?", plates["curves"]),
        pages.section("Does it depend on what was learnt?", plates["randomised"]),
    ]  # fmt: skip
    if config.levels:
        agreement = pages.table(*_agreement(subject, found), caption=_AGREEMENT)
        sections.append(
            pages.section("What pruning changes", plates["levels"], agreement)
        )
    title = f"Relevance: {subject.network.title}"
    html = pages.page(
        title,
        pages.facts(_facts(subject, records)),
        *sections,
        lead=finding(records) + ".",
        footer=_footer(config, subject),
    )
    runs.write_text(folder / "index.html", html)


_NOTE = (
    "Relevance of the input, of all biases, of other constants, and what epsilons "
    "keep, should sum to the output; residual: what is too much. Means over the drawn "
    "test images; relative: the largest |residual| of an image, over the sum of all "
    "absolute values. DeepLIFT, integrated and expected gradients explain a difference "
    "from baselines. Methods that are missing are no shares."
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


def _agreement(subject: Subject, found) -> tuple[list[list[Any]], list[str]]:
    header = ["method", *(f"level {level}" for level in subject.others)]
    part = slice(subject.shown)
    rows = [
        [LABELS[name], *(mean(measure.agreement(arrays["map"][part],
                                                arrays[f"level_{level}"]))
                        for level in subject.others)]
        for name, arrays in found.items()
    ]  # fmt: skip
    return rows, header


def _facts(subject: Subject, records) -> list[tuple[Any, ...]]:
    rest = slice(subject.shown, None)
    right = (subject.logits.argmax(1) == subject.labels)[rest].mean()
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


def _footer(config: Config, subject: Subject) -> str:
    side, step = methods_.window(subject.setting)
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
