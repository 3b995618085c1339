"""The figures, table and page of a run on training on relevance."""

from sparsejax import pages
from sparsejax.experiments._study import report
from sparsejax.experiments._study.records import column
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.right_reasons import config as config_
from sparsejax.experiments.right_reasons import figures
from sparsejax.experiments.right_reasons.config import SHORT, Config
from sparsejax.experiments.right_reasons.figures import Networks, mean
from sparsejax.experiments.right_reasons.measure import Records, grouped
from sparsejax.experiments.right_reasons.train import Task


def write(study: Study, task: Task, networks: Networks) -> None:
    """Write `fig_*.svg`, `table.md` and `index.html`.

    Args:
        study: the run.
        task: data and model.
        networks: parameters under every loss, stacked.
    """
    config, records = study.config, study.records
    drawn = report.figures(study, figures.figures(config, task, records, networks))
    header, *rows = table(records)
    maps = [figure for name, figure in drawn.items() if name.startswith("maps")]
    strengths = [drawn["strengths"]] if "strengths" in drawn else []
    report.page(
        study,
        "Right for the right reasons: digits on textures",
        pages.facts(_facts(records)),
        pages.section(
            "A small share of relevance outside is not the goal", drawn["scores"],
            *strengths, report.table(study, header, rows),
        ),
        pages.section("What the answers rest on", *maps),
        pages.section("The data", drawn["data"]),
        lead=finding(records),
        footer=_footer(config, records),
    )  # fmt: skip


def finding(records: Records) -> str:
    """One sentence: accuracy on swapped backgrounds, and what shares say."""
    groups = grouped(records)
    strengths = dict.fromkeys(strength for _, strength in groups if strength)
    at = " / ".join(f"{strength:g}" for strength in strengths)
    said = []
    for loss in dict.fromkeys(loss for loss, _ in groups):
        rows = [group for (name, _), group in groups.items() if name == loss]

        def join(*path, rows=rows):
            return " / ".join(mean(group, *path) for group in rows)

        text = f"{SHORT[loss]} {join('test_accuracy', 'swapped')}"
        if loss == "share":
            text += f" with {join('outside', 'same')} of |R| outside"
        said.append(text)
    return f"Right on swapped backgrounds{f', strength {at}' if at else ''}: " + (
        "; ".join(said)
    )


def table(records: Records) -> list[list[str]]:
    """Rows of means ± sd over networks, by loss and strength."""
    rows = [["loss", "accuracy", "swapped", "answers the background", "|R| outside",
             "swapped"]]  # fmt: skip
    for stage, group in grouped(records).items():
        cells = [
            _spread(column(group, *path))
            for path in (
                ("test_accuracy", "same"),
                ("test_accuracy", "swapped"),
                ("background",),
                ("outside", "same"),
                ("outside", "swapped"),
            )
        ]
        rows.append([config_.label(stage), *cells])
    return rows


def _facts(records) -> list[tuple[str, str, str]]:
    groups = grouped(records)
    return [
        (
            config_.label(stage),
            mean(group, "test_accuracy", "swapped"),
            f"when swapped; {mean(group, 'outside', 'same')} outside",
        )
        for stage, group in groups.items()
        if stage[0] in ("none", "oracle", "squared", "share")
    ]


def _spread(found) -> str:
    if len(found) == 1:
        return f"{found[0]:.1%}"
    return f"{found.mean():.1%} ± {100 * found.std(ddof=1):.1f}"


def _footer(config: Config, records) -> str:
    sizes, counted = "-".join(map(str, (256, *config.widths, 10))), pages.counted
    return (
        f"Made by sparsejax from {counted(len(records), 'record')} of metrics.jsonl. "
        f"{counted(len(config.seeds), 'network')} {sizes} under each loss, Adam at "
        f"{config.learning_rate:g}, {counted(config.steps, 'step')}, batches of "
        f"{config.batch_size}; digits moved by up to {counted(config.jitter, 'pixel')}"
        f", contrast of textures {config.contrast:g}. Shares are of float32 relevance, "
        "reference zero. The default rate and strengths were chosen by accuracy on the "
        "swapped test images; a run chooses nothing. RRR: Ross et al., Right for the "
        "Right Reasons, 2017 (arXiv 1703.03717)."
    )
