"""Decision surfaces on the spiral: of one network after each order, and in training."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sparsejax import runs, trees
from sparsejax.experiments._study.records import column
from sparsejax.experiments.prune_order.config import LABELS, ORDERS, SHORT, Config
from sparsejax.experiments.prune_order.measure import Arrays, Records
from sparsejax.experiments.prune_order.train import Task
from sparsejax.plots.style import styled

_EXTENT = 1.15
# Blue (label 0) over white to orange (label 1), as in SIGNS, but white in the middle:
# an undecided network should not look like a decided one in grey.
_SIDES = LinearSegmentedColormap.from_list(
    "sides", ["#3b8fc4", "#cfe3f1", "#f7f7f7", "#f8dcc4", "#e8894a"], N=15
)


class Points(NamedTuple):
    """Labelled points of the plane: `x` (points, 2), `y` (points,) of 0 and 1."""

    x: ArrayLike
    y: ArrayLike


def figure(
    config: Config,
    task: Task,
    groups: Mapping[str, Records],
    arrays: Arrays,
    rate: float,
) -> tuple[Figure, str]:
    """The first network after every order, and a caption.

    Args:
        config: choices of the run.
        task: data and model.
        groups: records of one learning rate by selection.
        arrays: those of every stage, by rate and selection (None: whole networks).
        rate: learning rate.
    """
    rows, fates = [], []
    whole = _first(task, arrays[rate, None], "trained")
    for selection, group in groups.items():
        pruned, row = arrays[rate, selection], []
        for order in ORDERS[1:]:
            score = column(group, "test_accuracy", order)[0]
            label = f"{LABELS[order]}\n{SHORT[selection]}: {score:.1%}"
            row.append((label, _first(task, pruned, order)))
        rows.append(row)
        score = column(group, "test_accuracy", "train_prune")[0]
        fates.append(f"{SHORT[selection]} {score:.1%}")
    first = next(iter(groups.values()))
    score = column(first, "test_accuracy", "trained")[0]
    drawing = decision_surfaces(
        (f"trained\n{score:.1%}", whole),
        rows,
        Points(*task.training),
        title=f"One network, learning rate {rate}, trained, then pruned: "
        f"{', '.join(fates)}",
    )
    return drawing, (
        f"Seed {config.seeds[0]}, {100 * config.fraction:g}% of the {config.remove} "
        "removed; test accuracy above each. Dots: training points."
    )


def animation(path: Path, config: Config, task: Task, arrays: Arrays) -> str:
    """Write the animation of the first network; its caption."""
    rate, selection = next((r, s) for r, s in arrays if s is not None)
    stages = {k: arrays[rate, selection] for k in ("prune_train", "tuned")}
    stages = {"trained": arrays[rate, None], **stages}
    times = [stage[f"frames_{name}/step"] for name, stage in stages.items()]
    steps = max(times, key=lambda at: (at[-1], len(at)))
    panels = []
    for name, stage in stages.items():
        # Fine-tuning may take fewer steps or more: the last picture before each time.
        at = np.searchsorted(stage[f"frames_{name}/step"], steps, side="right") - 1
        shots = _tree(stage, f"frames_{name}", task)
        panels.append((LABELS[name], chances(task, shots)[at]))
    what, points = selected(config, selection), Points(*task.training)
    film(path, panels, steps, points, title=f"Learning rate {rate}")
    return (
        f"Seed {config.seeds[0]} in training at a learning rate of {rate}: the whole "
        f"network, the one pruned before ({what}), and the trained one after pruning. "
        "Time runs logarithmically."
    )


def selected(config: Config, selection: str) -> str:
    """What is removed, in words."""
    what = f"{100 * config.fraction:g}% of the {config.remove}"
    how = {
        "random": "at random",
        "std": "those of smallest deviation",
        "magnitude": "the smallest",
    }
    return f"{what}, {how[selection]}"


def chances(task: Task, params: Any) -> np.ndarray:
    """Probability of label 1 over the square, for stacked parameters."""
    at = jnp.linspace(-_EXTENT, _EXTENT, 201)
    points = jnp.stack(jnp.meshgrid(at, at[::-1]), axis=-1)

    def chance(p):
        return jax.nn.softmax(task.fn(p, points))[..., 1]

    return np.asarray(jax.jit(partial(jax.lax.map, chance))(params))


@styled
def decision_surfaces(
    whole: tuple[str, ArrayLike],
    rows: Sequence[Sequence[tuple[str, ArrayLike]]],
    points: Points,
    *,
    title: str,
) -> Figure:
    """Decision surfaces with the data: one network, and rows of what became of it.

    Args:
        whole: label and probability of label 1 over the square, shape (size, size),
            the first row at the top.
        rows: the same for other networks.
        points: the data.
        title: the finding.
    """
    size = (11.6, 3.1 * len(rows) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    names = [[f"{i},{j}" for j in range(len(row))] for i, row in enumerate(rows)]
    panels = figure.subplot_mosaic([["whole", *row] for row in names])
    shown = {"whole": whole}
    for i, row in enumerate(rows):
        shown |= {f"{i},{j}": panel for j, panel in enumerate(row)}
    picture = None
    for name, (label, surface) in shown.items():
        axes = panels[name]
        picture = _panel(axes, surface, points)
        axes.set_title(label, size=11, weight="normal")
        axes.set_xlabel("x₁")
    for name in ["whole", *(row[0] for row in names)]:
        panels[name].set_ylabel("x₂")
    assert picture is not None
    figure.colorbar(
        picture, ax=list(panels.values()), label="probability of the orange arm",
        shrink=0.7, aspect=30, ticks=[0, 0.5, 1],
    )  # fmt: skip
    return figure


@styled
def film(
    path: Path,
    panels: Sequence[tuple[str, ArrayLike]],
    steps: ArrayLike,
    points: Points,
    *,
    title: str,
    rate: int = 6,
) -> Figure:
    """Write a GIF of decision surfaces during training, whole or not at all.

    Args:
        path: the file.
        panels: label and surfaces, shape (frames, size, size), see `decision_surfaces`.
        steps: of each frame, shape (frames,).
        points: the data.
        title: above every frame.
        rate: frames a second; the last one stays for two seconds.

    Returns:
        The last frame.
    """
    figure = Figure(figsize=(2.9 * len(panels), 3.55), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    pictures = []
    for axes, (label, shots) in zip(grid, panels, strict=True):
        pictures.append(_panel(axes, np.asarray(shots)[0], points))
        axes.set_title(label, size=11, weight="normal")
        axes.set_xticks([])
        axes.set_yticks([])
    order = [*range(len(np.asarray(steps))), *[-1] * (2 * rate)]
    writer = PillowWriter(fps=rate)
    with runs.atomic(path) as temporary, writer.saving(figure, str(temporary), 80):
        for frame in order:
            when = f"{title}, step {np.asarray(steps)[frame]:,}"
            figure.suptitle(when, x=0.01, ha="left", size=12)
            for picture, (_, shots) in zip(pictures, panels, strict=True):
                picture.set_data(np.asarray(shots)[frame])
            writer.grab_frame()
            figure.set_layout_engine("none")  # as laid out once: faster, and steady
    return figure


def _first(task: Task, arrays: Mapping[str, np.ndarray], order: str) -> np.ndarray:
    """That of the first network."""
    first = jax.tree.map(lambda leaf: leaf[:1], _tree(arrays, order, task))
    return chances(task, first)[0]


def _tree(arrays: Mapping[str, np.ndarray], prefix: str, task: Task) -> Any:
    """Parameters out of a file's arrays."""

    def leaf(path, _):
        return jnp.asarray(arrays[f"{prefix}/{path}"])

    return trees.map_with_path(leaf, task.params)


def _panel(axes: Any, surface: ArrayLike, points: Points) -> Any:
    sides = (-_EXTENT, _EXTENT, -_EXTENT, _EXTENT)
    # "nearest" keeps to the 15 colors, which makes files small.
    picture = axes.imshow(
        surface, extent=sides, cmap=_SIDES, vmin=0, vmax=1, interpolation="nearest"
    )
    x, y = np.asarray(points.x), np.asarray(points.y)
    for label, color in ((0, "#00395c"), (1, "#7a2e00")):
        axes.plot(*x[y == label].T, ".", color=color, ms=3, mew=0, rasterized=True)
    axes.grid(False)
    axes.set_xticks([-1, 0, 1])
    axes.set_yticks([-1, 0, 1])
    axes.tick_params(labelsize=9)
    return picture
