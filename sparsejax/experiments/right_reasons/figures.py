"""The figures of a run on training on relevance, from its records and networks.

Each comes with its caption, and has the finding for its title.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax.experiments._study.records import column
from sparsejax.experiments.right_reasons import charts, measure, train
from sparsejax.experiments.right_reasons import config as config_
from sparsejax.experiments.right_reasons.config import LABELS, SHORT, Config, Stage
from sparsejax.experiments.right_reasons.measure import Groups, Records
from sparsejax.experiments.right_reasons.train import Task

Drawn = tuple[Any, str]
Networks = Mapping[Stage, Any]
_SHOWN = (3, 5, 8)  # digits with maps


def figures(
    config: Config, task: Task, records: Records, networks: Networks
) -> dict[str, Drawn]:
    """All of them, `{name: (figure, caption)}`.

    Args:
        config: choices of the run.
        task: data and model.
        records: the lines of `metrics.jsonl`.
        networks: parameters under every loss, stacked.
    """
    groups = measure.grouped(records)
    drawn = {"scores": _scores(groups)}
    penalized = [loss for loss in config.losses if loss in config_.PENALTIES]
    if penalized and len(config.strengths) > 1:
        drawn["strengths"] = _strengths(config, groups, penalized)
    for strength in config.strengths if penalized else (0.0,):
        stages = [s for s in config_.stages(config) if s[1] in (0.0, strength)]
        drawn[f"maps_{strength}"] = _maps(config, task, networks, stages)
    return drawn | {"data": _data(task)}


def _scores(groups: Groups) -> Drawn:
    rows = [
        charts.Scores(
            config_.label(stage),
            *(
                {name: column(group, field, name) for name in ("same", "swapped")}
                for field in ("test_accuracy", "outside")
            ),
        )
        for stage, group in groups.items()
    ]
    title = "; ".join(_contrast(groups)) or "Accuracy, and what relevance says of it"
    title = title[0].upper() + title[1:]
    return charts.scores(rows, title=title), (
        "Left: test accuracy; right: share of |relevance| of the label's logit outside "
        "of the digit's box, mean over test images. Bars: means of networks, dots: "
        "networks. Chance is 10%; a network that answers the background scores 0% on "
        "swapped ones."
    )


def _contrast(groups: Groups) -> list[str]:
    """What the failing and the working loss come to, at the first strength of each."""
    said = []
    for loss in ("share", "squared"):
        group = next((group for stage, group in groups.items() if stage[0] == loss), [])
        if group:
            said.append(
                f"{SHORT[loss]}: {mean(group, 'outside', 'same')} outside, "
                f"{mean(group, 'test_accuracy', 'swapped')} right"
            )
    return said


def _strengths(config: Config, groups: Groups, penalized: list[str]) -> Drawn:
    strengths = sorted(config.strengths)

    def take(loss, *path):
        return np.stack(
            [column(groups[loss, strength], *path) for strength in strengths]
        )

    panels = [
        charts.Strengths(
            LABELS[loss],
            strengths,
            take(loss, "test_accuracy", "swapped"),
            take(loss, "outside", "same"),
        )
        for loss in penalized
    ]
    names = {"none": "cross entropy alone", "oracle": "textures shuffled"}
    references = {
        name: float(column(groups[loss, 0.0], "test_accuracy", "swapped").mean())
        for loss, name in names.items()
        if (loss, 0.0) in groups
    }
    worst = [
        f"{SHORT[loss]} {take(loss, 'test_accuracy', 'swapped').mean(axis=1).min():.0%}"
        for loss in penalized
    ]
    title = f"Right at the worst strength: {', '.join(worst)}"
    figure = charts.strengths(panels, references=references, title=title)
    return figure, (
        "What a penalty asks for, little relevance outside (orange), and what it is "
        "there for, digits that decide (blue). Networks thin, means thick."
    )


def _maps(config: Config, task: Task, networks: Networks, stages: list[Stage]) -> Drawn:
    split = task.sets.swapped
    which = np.array([np.flatnonzero(split.y == digit)[0] for digit in _SHOWN])
    x = jnp.asarray(train.flat(split.x[which]))

    def square(images):
        return np.asarray(images).reshape(-1, *split.x.shape[1:3])

    columns = []
    for stage in stages:
        first = jax.tree.map(lambda leaf: leaf[0], networks[stage])
        answers, maps = measure.maps(task.fn, first, x)
        name = LABELS[stage[0]]
        for end in (":", ",", "gradient² of"):
            name = name.replace(f"{end} ", f"{end}\n")
        columns.append(charts.Maps(name, np.asarray(answers), square(maps)))
    strength = max(strength for _, strength in stages)
    title = "Swapped backgrounds: evidence for the answers"
    title += f", strength {strength:g}" if strength else ""
    figure = charts.maps(
        square(split.x[which]), split.y[which], square(split.region[which]), columns,
        title=title,
    )  # fmt: skip
    return figure, (
        f"Relevance of the answer's centred logit in the network of seed "
        f"{config.seeds[0]}, blue for and orange against it, each map on its own "
        "scale; the box is the digit's. Under the maps: the answer, and whether it is "
        "right."
    )


def _data(task: Task) -> Drawn:
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
    return charts.image_rows(rows, title=title), (
        f"Above: of the {len(task.sets.train.y):,} images that are trained on; below: "
        f"of the {len(task.sets.swapped.y)} test images on another label's texture."
    )


def mean(records: Records, *path: str) -> str:
    """A mean share, in words."""
    return f"{column(records, *path).mean():.1%}"
