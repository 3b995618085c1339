"""Runs that draw units: blocks in turn, then a sheet of each layer.

<folder>/NODE_START.npz     pictures of a block of units: images, values, units
<folder>/metrics.jsonl      a line for each unit
<folder>/fig_NODE.svg       a sheet of a layer
<folder>/index.html
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sparsejax import features, runs
from sparsejax.experiments import subjects
from sparsejax.experiments._study import nodes
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.features import report
from sparsejax.experiments.features.config import Config
from sparsejax.pages import counted

_BLOCK = 32  # units that are kept together
_PARAMETRIZATIONS = {"fourier": features.fourier, "pixels": features.pixels}


def run(
    config: Config,
    folder: str | Path,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
    force: bool = False,
    log: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """A run, from its start or from where it was.

    Args:
        config: what to draw.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: the network; by default ResNet-20 from its file.
        data_dir: folder above `resnet_cifar10`.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input, such as activations and units that there are not.
    """
    subject = subject or subjects.pretrained(data_dir=data_dir)
    layers = _layers(config, subject)
    blocks = [
        (node, units[i : i + _BLOCK])
        for node, units in layers.items()
        for i in range(0, len(units), _BLOCK)
    ]
    with Study("features", config, folder, subject, force=force, log=log) as study:
        if study.complete:
            return study.records
        parts: dict[str, list[dict[str, np.ndarray]]] = {node: [] for node in layers}
        for node, units in study.each(blocks, cost=lambda block: len(block[1])):
            name = f"{runs.file_name(node)}_{units[0]}"
            arrays = study.cached(name, partial(_draw, config, subject, node, units))
            parts[node].append(arrays)
            study.add(report.records(node, arrays))
            study.progress(f"{node}: units {units[0]} to {units[-1]}")
        sheets = {
            node: {key: np.concatenate([part[key] for part in some]) for key in some[0]}
            for node, some in parts.items()
        }
        report.write(study, sheets)
    return study.records


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in a line; arguments and errors as of `run`."""
    subject = subject or subjects.pretrained(data_dir=data_dir)
    layers = _layers(config, subject)
    sizes = ", ".join(f"{len(units)} of {node}" for node, units in layers.items())
    return f"{subject.title}: pictures of units, {sizes}"


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was drawn, where it is, what to do next."""
    folder = Path(folder)
    records = runs.read_metrics(folder)
    drawn = dict.fromkeys(record["node"] for record in records)
    return (
        f"{counted(len(records), 'unit')} of {counted(len(drawn), 'layer')} drawn: "
        f"{', '.join(drawn)}\n"
        f"open {folder / 'index.html'}\n"
        "next: --num_pictures=4 for what else a unit responds to, or --nodes and "
        "--units"
    )


def _layers(config: Config, subject: Subject) -> dict[str, list[int]]:
    """Numbers of the units to draw, by node; all checked before any is drawn."""
    if subject.image is None:
        raise ValueError(f"{subject.title}: its inputs are not images")
    counts = _counts(config, subject)
    last = {name.split("_")[0]: name for name in counts}  # of every stage
    names = config.nodes or (counts if subject.run is not None else last.values())
    return nodes.chosen(counts, names, config.units)


def _draw(config: Config, subject: Subject, node: str, units) -> dict[str, np.ndarray]:
    """Pictures of one block of units."""
    look = {"channel": features.channel, "neuron": features.neuron}[config.objective]
    objective = features.logit() if node == nodes.LOGITS else look(node)
    if config.num_pictures > 1:
        apart = node if node != nodes.LOGITS else list(_counts(config, subject))[-2]
        objective += config.diversity * features.diversity(apart)
    drawn = features.render(
        _of_images(subject),
        subject.params,
        objective,
        units,
        key=jax.random.key(config.seed),
        size=_size(config, subject),
        steps=config.steps,
        count=config.num_pictures,
        parametrization=_PARAMETRIZATIONS[config.parametrization](),
        bounds=subject.domain,
        learning_rate=config.learning_rate,
    )
    return {
        "images": np.asarray(drawn.images),
        "values": np.asarray(drawn.values),
        "units": np.asarray(drawn.units),
    }


def _counts(config: Config, subject: Subject) -> dict[str, int]:
    return nodes.counts(_of_images(subject), subject.params, _size(config, subject))


def _size(config: Config, subject: Subject) -> tuple[int, ...]:
    assert subject.image is not None
    height, width, channels = subject.image
    side = config.image_size
    return (side or height, side or width, channels)


def _of_images(subject: Subject) -> Callable:
    """The network as a function of pictures, where it takes them flat."""
    if subject.shape == subject.image:
        return subject.fn

    def fn(params, x):
        return subject.fn(params, x.reshape(-1))

    return fn
