"""Pictures of what the units of a network respond to, layer by layer.

    <folder>/NODE_START.npz     pictures of a block of units: images, values, units
    <folder>/metrics.jsonl      a line for each unit
    <folder>/fig_NODE.svg       a sheet of a layer
    <folder>/index.html

Networks are those of lottery runs, or residual networks from a file. A run that was
killed goes on with the block of units it was at.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sparsejax import features, runs
from sparsejax.experiments import features_report, fields, networks
from sparsejax.pages import counted

CHOICES = {
    "objective": ("channel", "neuron"),
    "parametrisation": ("fourier", "pixels"),
    "model": ("resnet20", "resnet56", "resnet18", "resnet34", "resnet50"),
}
WITHIN = {
    "seed": fields.SEEDS,
    "level": fields.WHOLE,
    "units": fields.WHOLE,
    "count": fields.COUNTS,
    "diversity": "[0, inf)",
    "steps": fields.COUNTS,
    "size": "[0, 2^16]",  # 0 for the network's own
    "learning_rate": fields.POSITIVE,
    "draw": fields.SEEDS,
}
_BLOCK = 32  # units that are kept together
_PARAMETRISATIONS = {"fourier": features.fourier, "pixels": features.pixels}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to draw.

    Attributes:
        run: folder of a lottery run to take the network from.
        seed: which network of the run; by default the first.
        level: which level of the run; by default the last.
        model: a residual network, where no run is given.
        checkpoint: file of the model's parameters, where they are not in `data_dir`.
        nodes: names of activations, or "logits"; by default the last of each stage of
            a residual network, all of another one, and the logits.
        units: their numbers; by default all.
        objective: "channel", the mean over places, or "neuron", in the middle.
        count: pictures of each unit, held apart by `diversity`.
        diversity: what it weighs, for `count` above 1.
        steps: of gradient ascent.
        size: height and width of pictures; by default those of the network's images.
        learning_rate: of Adam.
        parametrisation: "fourier", smooth, or "pixels".
        draw: of the random numbers.
    """

    run: str = ""
    seed: int | None = None
    level: int | None = None
    model: str = "resnet20"
    checkpoint: str = ""
    nodes: tuple[str, ...] = ()
    units: tuple[int, ...] = ()
    objective: str = "channel"
    count: int = 1
    diversity: float = 1.0
    steps: int = 256
    size: int = 0
    learning_rate: float = 0.05
    parametrisation: str = "fourier"
    draw: int = 0


class Subject(NamedTuple):
    """A network to draw.

    Attributes:
        title: what it is.
        fn: `fn(params, image)`, logits.
        params: its parameters.
        size: (height, width, channels) of its images.
        bounds: lowest and highest value of a pixel.
    """

    title: str
    fn: Callable
    params: Any
    size: tuple[int, ...]
    bounds: tuple[float, float]


def check(config: Config) -> None:
    """Raise a `ValueError` for what cannot be drawn."""
    fields.check(config, WITHIN, CHOICES)
    if config.run and config.checkpoint:
        raise ValueError("checkpoint is of a model: give it or run, not both")


def subject(config: Config, *, data_dir: str | Path | None = None) -> Subject:
    """The network that a config names.

    Args:
        config: with `run`, or with `model`.
        data_dir: of the data set of a lottery run, or where ResNet-20's file lies.

    Raises:
        ValueError: for a network that is not there, or has no images.
    """
    if not config.run:
        network = networks.residual(config.model, data_dir, config.checkpoint)
        small = config.model in networks.SMALL
        size = (32, 32, 3) if small else (224, 224, 3)
        return Subject(config.model, *network, size, (0.0, 1.0))
    network = networks.load(
        Path(config.run), seed=config.seed, level=config.level, data_dir=data_dir
    )
    if network.image is None:
        raise ValueError(f"{network.title}: its inputs are no images")
    shape, size = network.x.shape[1:], network.image

    def fn(params, x):
        return network.fn(x.reshape(shape))

    return Subject(network.title, fn, {}, size, network.domain)


def run(
    config: Config,
    folder: str | Path,
    network: Subject,
    *,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Draw, or go on drawing; the records of `metrics.jsonl`.

    Args:
        config: what to draw.
        folder: where; a folder of an unfinished run of the same config is continued.
        network: from `subject`.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Raises:
        ValueError: for bad input, such as activations and units that there are not.
    """
    folder = Path(folder)
    check(config)
    layers = _layers(config, network)
    if runs.start(
        folder, config, kind="features", about={"network": network.title}, force=force
    ):
        report(f"{folder} is complete; --force runs it again")
        return runs.read_metrics(folder)
    records, sheets = [], {}
    for node, units in layers.items():
        parts = []
        for i in range(0, len(units), _BLOCK):
            block = units[i : i + _BLOCK]
            file = folder / f"{runs.file_name(node)}_{block[0]}.npz"

            def make(node=node, block=block):
                return _draw(config, network, node, block)

            report(f"{node}: units {block[0]} to {block[-1]} of {len(units)}")
            parts.append(runs.cached(file, make, report))
        found = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
        sheets[node] = found
        records += features_report.records(node, found)
        runs.write_metrics(folder, records)
    features_report.write(folder, config, network.title, sheets)
    runs.finish(folder)
    return records


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was drawn, where it is, what to do next."""
    folder = Path(folder)
    records = runs.read_metrics(folder)
    nodes = dict.fromkeys(record["node"] for record in records)
    return (
        f"{counted(len(records), 'unit')} of {counted(len(nodes), 'layer')} drawn: "
        f"{', '.join(nodes)}\n"
        f"open {folder / 'index.html'}\n"
        "next: --count=4 for what else a unit responds to, or --nodes and --units"
    )


def _layers(config: Config, network: Subject) -> dict[str, list[int]]:
    """Numbers of the units to draw, by node; all checked before any is drawn."""
    counts = _counts(config, network)
    last = {name.split("_")[0]: name for name in counts}  # of every stage
    nodes = config.nodes or (counts if config.run else last.values())
    return networks.chosen(counts, nodes, config.units)


def _draw(config: Config, network: Subject, node: str, units) -> dict[str, np.ndarray]:
    """Pictures of one block of units."""
    look = {"channel": features.channel, "neuron": features.neuron}[config.objective]
    objective = features.logit() if node == networks.LOGITS else look(node)
    if config.count > 1:
        apart = node if node != networks.LOGITS else list(_counts(config, network))[-2]
        objective += config.diversity * features.diversity(apart)
    found = features.render(
        network.fn,
        network.params,
        objective,
        units,
        key=jax.random.key(config.draw),
        size=_size(config, network),
        steps=config.steps,
        count=config.count,
        parametrization=_PARAMETRISATIONS[config.parametrisation](),
        bounds=network.bounds,
        learning_rate=config.learning_rate,
    )
    return {
        "images": np.asarray(found.images),
        "values": np.asarray(found.values),
        "units": np.asarray(found.units),
    }


def _counts(config: Config, network: Subject) -> dict[str, int]:
    size = _size(config, network)
    return networks.units(network.fn, network.params, size)


def _size(config: Config, network: Subject) -> tuple[int, ...]:
    """Of the pictures."""
    side = config.size
    return (side, side, network.size[-1]) if side else network.size
