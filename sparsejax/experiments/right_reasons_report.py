"""The figures, table and page of a run on training on relevance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import pages, plots, runs
from sparsejax.experiments import right_reasons_config as config_
from sparsejax.experiments import right_reasons_train as training
from sparsejax.experiments.right_reasons_config import LABELS, SHORT, Config, Stage
from sparsejax.experiments.right_reasons_train import Task
from sparsejax.plots import right_reasons as figures_

Records = Sequence[Mapping[str, Any]]
Networks = Mapping[Stage, Any]
_SHOWN = (3, 5, 8)  # digits with maps


def write(
    folder: Path, config: Config, task: Task, records: Records, networks: Networks
) -> None:
    """Write `fig_*.svg`, `table.md` and `index.html`.

    Args:
        folder: the run's.
        config: what was run.
        task: data and model.
        records: the lines of `metrics.jsonl`.
        networks: parameters under every loss, stacked.
    """
    drawn = {}
    for name, (figure, caption) in figures(config, task, records, networks).items():
        path = folder / f"fig_{name}.svg"
        plots.save(figure, path)
        drawn[name] = pages.figure_svg(path.read_bytes(), caption, caption)
    header, *rows = table(records)
    lines = [header, ["---"] * len(header), *rows]

    def bars(cell):
        return cell.replace("|", "\\|")  # of |R|

    text = "".join(f"| {' | '.join(map(bars, line))} |\n" for line in lines)
    runs.write_text(folder / "table.md", text)
    maps = [figure for name, figure in drawn.items() if name.startswith("maps")]
    strengths = [drawn["strengths"]] if "strengths" in drawn else []
    html = pages.page(
        "Right for the right reasons: digits on textures",
        pages.facts(_facts(records)),
        pages.section(
            "A small share of relevance outside is not the goal", drawn["scores"],
            *strengths, pages.table(rows, header),
        ),
        pages.section("What the answers rest on", *maps),
        pages.section("The data", drawn["data"]),
        lead=finding(records),
        footer=_footer(config, records),
    )  # fmt: skip
    runs.write_text(folder / "index.html", html)


def figures(
    config: Config, task: Task, records: Records, networks: Networks
) -> dict[str, tuple[Any, str]]:
    """All of them, `{name: (figure, caption)}`."""
    groups = grouped(records)
    drawn = {"scores": _scores(groups)}
    penalised = [loss for loss in config.losses if loss in config_.PENALTIES]
    if penalised and len(config.strengths) > 1:
        drawn["strengths"] = _strengths(config, groups, penalised)
    for strength in config.strengths if penalised else (0.0,):
        chosen = [s for s in config_.stages(config) if s[1] in (0.0, strength)]
        drawn[f"maps_{strength}"] = _maps(config, task, networks, chosen)
    return drawn | {"data": _data(task)}


def grouped(records: Records) -> dict[Stage, list[Mapping[str, Any]]]:
    """Records by loss and strength."""
    found: dict[Stage, list[Mapping[str, Any]]] = {}
    for record in records:
        found.setdefault((record["loss"], record["strength"]), []).append(record)
    return found


def finding(records: Records) -> str:
    """One sentence: accuracy on swapped backgrounds, and what shares say."""
    groups = grouped(records)
    strengths = dict.fromkeys(strength for _, strength in groups if strength)
    at = " / ".join(f"{strength:g}" for strength in strengths)
    said = []
    for loss in dict.fromkeys(loss for loss, _ in groups):
        found = [group for (name, _), group in groups.items() if name == loss]

        def join(*path, found=found):
            return " / ".join(_mean(group, *path) for group in found)

        text = f"{SHORT[loss]} {join('accuracy', 'swapped')}"
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
            _spread(values(group, *path))
            for path in (
                ("accuracy", "same"),
                ("accuracy", "swapped"),
                ("background",),
                ("outside", "same"),
                ("outside", "swapped"),
            )
        ]
        rows.append([config_.label(stage), *cells])
    return rows


def values(group: Records, *path: str) -> np.ndarray:
    """What lies at a path in every record."""

    def at(record):
        for key in path:
            record = record[key]
        return record

    return np.array([at(record) for record in group])


def _scores(groups) -> tuple[Any, str]:
    rows = [
        figures_.Scores(
            config_.label(stage),
            *(
                {name: values(group, field, name) for name in ("same", "swapped")}
                for field in ("accuracy", "outside")
            ),
        )
        for stage, group in groups.items()
    ]
    title = "; ".join(_contrast(groups)) or "Accuracy, and what relevance says of it"
    title = title[0].upper() + title[1:]
    return figures_.reason_scores(rows, title=title), (
        "Left: test accuracy; right: share of |relevance| of the label's logit outside "
        "of the digit's box, mean over test images. Bars: means of networks, dots: "
        "networks. Chance is 10%; a network that answers the background scores 0% on "
        "swapped ones."
    )


def _contrast(groups) -> list[str]:
    """What the failing and the working loss come to, at the first strength of each."""
    said = []
    for loss in ("share", "squared"):
        group = next((group for stage, group in groups.items() if stage[0] == loss), [])
        if group:
            said.append(
                f"{SHORT[loss]}: {_mean(group, 'outside', 'same')} outside, "
                f"{_mean(group, 'accuracy', 'swapped')} right"
            )
    return said


def _strengths(config, groups, penalised) -> tuple[Any, str]:
    strengths = sorted(config.strengths)

    def take(loss, *path):
        return np.stack(
            [values(groups[loss, strength], *path) for strength in strengths]
        )

    panels = [
        figures_.Strengths(
            LABELS[loss],
            strengths,
            take(loss, "accuracy", "swapped"),
            take(loss, "outside", "same"),
        )
        for loss in penalised
    ]
    names = {"none": "cross entropy alone", "oracle": "textures shuffled"}
    references = {
        name: float(values(groups[loss, 0.0], "accuracy", "swapped").mean())
        for loss, name in names.items()
        if (loss, 0.0) in groups
    }
    worst = [
        f"{SHORT[loss]} {take(loss, 'accuracy', 'swapped').mean(axis=1).min():.0%}"
        for loss in penalised
    ]
    title = f"Right at the worst strength: {', '.join(worst)}"
    figure = figures_.reason_strengths(panels, references=references, title=title)
    return figure, (
        "What a penalty asks for, little relevance outside (orange), and what it is "
        "there for, digits that decide (blue). Networks thin, means thick."
    )


def _maps(config, task, networks, stages) -> tuple[Any, str]:
    split = task.sets.swapped
    which = np.array([np.flatnonzero(split.y == digit)[0] for digit in _SHOWN])
    x = jnp.asarray(training.flat(split.x[which]))

    def square(images):
        return np.asarray(images).reshape(-1, *split.x.shape[1:3])

    columns = []
    for stage in stages:
        first = jax.tree.map(lambda leaf: leaf[0], networks[stage])
        answers, found = training.maps(task.fn, first, x)
        name = LABELS[stage[0]]
        for end in (":", ",", "gradient² of"):
            name = name.replace(f"{end} ", f"{end}\n")
        columns.append(figures_.Maps(name, np.asarray(answers), square(found)))
    strength = max(strength for _, strength in stages)
    title = "Swapped backgrounds: evidence for the answers"
    title += f", strength {strength:g}" if strength else ""
    figure = figures_.reason_maps(
        square(split.x[which]), split.y[which], square(split.region[which]), columns,
        title=title,
    )  # fmt: skip
    return figure, (
        f"Relevance of the answer's centred logit in the network of seed "
        f"{config.seeds[0]}, blue for and orange against it, each map on its own "
        "scale; the box is the digit's. Under the maps: the answer, and whether it is "
        "right."
    )


def _data(task) -> tuple[Any, str]:
    def first(split):
        return np.array([np.flatnonzero(split.y == digit)[0] for digit in range(10)])

    rows = []
    for name, split in (("train", task.sets.train), ("swapped", task.sets.swapped)):
        at = first(split)
        words = [
            f"{y}" if y == texture else f"{y} on {texture}'s"
            for y, texture in zip(split.y[at], split.texture[at], strict=True)
        ]
        rows.append((name, split.x[at, ..., 0], words))
    title = "Digits on textures: in training each label has its own"
    return figures_.image_rows(rows, title=title), (
        f"Above: of the {len(task.sets.train.y):,} images that are trained on; below: "
        f"of the {len(task.sets.swapped.y)} test images on another label's texture."
    )


def _facts(records) -> list[tuple[str, str, str]]:
    groups = grouped(records)
    return [
        (
            config_.label(stage),
            _mean(group, "accuracy", "swapped"),
            f"when swapped; {_mean(group, 'outside', 'same')} outside",
        )
        for stage, group in groups.items()
        if stage[0] in ("none", "oracle", "squared", "share")
    ]


def _mean(group, *path) -> str:
    return f"{values(group, *path).mean():.1%}"


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
