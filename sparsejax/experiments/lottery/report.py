"""The page of a lottery run, from its records and its first layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsejax import pages, plots
from sparsejax.experiments._study import report
from sparsejax.experiments._study.records import group, mean
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.lottery import charts, checkpoints, figures
from sparsejax.experiments.lottery.config import Config, is_residual
from sparsejax.experiments.lottery.figures import finding as finding
from sparsejax.experiments.lottery.figures import layer_sizes, levels
from sparsejax.experiments.lottery.reading import Run
from sparsejax.pages import Html, counted

_FIRST = ("conv_0", "dense_0")  # layers that filters are shown of


def write(
    study: Study, run: Run, shape: tuple[int, ...], *, flow_graph: str | None = None
) -> None:
    """Write `fig_*.svg` and `index.html`.

    Args:
        study: what is being run.
        run: the same, as it is read.
        shape: of an image.
        flow_graph: address of the last ticket's flow graph.
    """
    kernels = [] if is_residual(run.config) or shape[-1] != 1 else _kernels(run)
    page(study, run.config, kernels, shape, flow_graph=flow_graph)


def page(
    study: Study,
    config: Config,
    kernels: Sequence[np.ndarray],
    shape: tuple[int, ...],
    *,
    flow_graph: str | None = None,
) -> None:
    """The same from its parts.

    Args:
        study: what is being run.
        config: with everything filled in.
        kernels: of the first layer and the first seed at every level, if they are to
            be shown.
        shape: of an image.
        flow_graph: address of the last ticket's flow graph.
    """
    records = study.records
    drawn = report.figures(study, figures.drawn(config, records))
    pictures = figures.filters(kernels, shape)
    rows = _rows(records)
    seeds = counted(len(config.seeds), "seed")
    levels = pages.table(rows[1:], rows[0], caption=f"Means over {seeds}.")
    report.page(
        study,
        f"Lottery tickets: {figures.title(config)}",
        pages.facts(_facts(records)),
        pages.section("Accuracy and density", drawn.pop("accuracy")),
        *_filters(study, config, pictures),
        *_read_on(flow_graph, config.seeds[0]),
        *([pages.section("Where weights stay", pages.columns(*drawn.values()))]
          if drawn else []),
        pages.section("Levels", levels),
        pages.section("What was run", report.settings(config)),
        lead=finding(config, records),
        footer=f"Made by sparsejax from {counted(len(records), 'record')} of "
        f"metrics.jsonl. "
        f"Test accuracy over the whole test set; seeds "
        f"{', '.join(map(str, config.seeds))}.",
        data={"levels": _page_levels(records, pictures)} if pictures else None,
        script=report.resource(__name__, "filters.js") if pictures else "",
    )  # fmt: skip


def _kernels(run: Run) -> list[np.ndarray]:
    """First-layer kernels of the first seed at every level."""
    out = []
    for level in run.levels["rewind"]:
        params, _ = checkpoints.read_network(
            run.folder, level, "rewind", 0, len(run.seeds)
        )
        first = next(name for name in _FIRST if name in params)
        out.append(np.asarray(params[first]["kernel"]))
    return out


def _filters(study: Study, config: Config, pictures) -> list[Html]:
    """The pictures of the first layer, and the section with the slider."""
    if not pictures:
        return []
    last, seed = pictures[-1], config.seeds[0]
    figure = charts.filters(
        last["images"],
        [unit["label"] for unit in last["units"]],
        title=f"First-layer filters of seed {seed} at the last level",
    )
    plots.save(figure, study.folder / "fig_filters.svg")
    section = pages.section(
        "What the first layer looks at",
        pages.slot("filters"),
        note=f"Kernels of seed {seed}, each scaled by itself. "
        "Move the slider to go through the levels.",
    )
    return [section]


def _read_on(address: str | None, seed: int) -> list[Html]:
    if address is None:
        return []
    link = pages.tag("a", "Every step of its computation", href=address)
    text = pages.join(link, ", to be looked at, changed and drawn into.")
    title = f"The last ticket of seed {seed}, as a flow graph"
    return [pages.section(title, pages.tag("p", text))]


def _facts(records: figures.Records) -> list[tuple[str, str, str]]:
    tickets = levels(records, "rewind")
    dense, last = tickets[0], tickets[-1]
    good = mean(dense, "test_accuracy")
    winning = [row for row in tickets[1:] if mean(row, "test_accuracy") >= good]

    def spread(row):
        return (
            f"{min(r['test_accuracy'] for r in row):.2%} to "
            f"{max(r['test_accuracy'] for r in row):.2%} over {len(row)} seeds"
            if len(row) > 1
            else "of one seed"
        )

    return [
        ("dense accuracy", f"{good:.2%}", spread(dense)),
        ("last ticket", f"{mean(last, 'test_accuracy'):.2%}", spread(last)),
        (
            "weights left",
            f"{mean(last, 'kept'):,.0f}",
            f"{mean(last, 'density'):.2%} of {sum(layer_sizes(records).values()):,}",
        ),
        (
            "smallest winning ticket",
            f"{mean(winning[-1], 'kept'):,.0f}" if winning else "none",
            "fewest weights at the dense accuracy or above",
        ),
    ]


def _rows(records: figures.Records) -> list[list[str | None]]:
    """The table of levels, its header first."""
    arms = list(dict.fromkeys(record["arm"] for record in records))
    groups = group(records, "arm", "level")
    rows: list[list[str | None]] = [["level", "weights", "left", *arms]]
    for row in levels(records, "rewind"):
        level = row[0]["level"]
        cells = [
            f"{mean(groups[arm, level], 'test_accuracy'):.2%}"
            if (arm, level) in groups
            else None
            for arm in arms
        ]
        count, density = mean(row, "kept"), mean(row, "density")
        rows.append([str(level), f"{count:,.0f}", f"{density:.2%}", *cells])
    return rows


def _page_levels(records: figures.Records, pictures) -> list[dict[str, Any]]:
    entries = []
    for i, (row, picture) in enumerate(
        zip(levels(records, "rewind"), pictures, strict=True)
    ):
        first = row[0]
        name = f"{i} ({first['density']:.1%} left)"
        layers = ", ".join(f"{k} {n:,}" for k, n in first["kept_per_layer"].items())
        text = (
            f"{counted(first['kept'], 'weight')} ({layers}); "
            f"test accuracy of seed {first['seed']}: {first['test_accuracy']:.2%}"
        )
        entries.append({"name": name, "text": text, "units": picture["units"]})
    return entries
