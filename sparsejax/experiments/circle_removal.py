"""A circle classifier of twenty nodes under all 2^20 of its node masks.

Reproduces every table and figure of Hobson, "Exploring toy neural nets under node
removal, Section 1" (in "Neural Networks, More than you wanted to Show"), as sampled
there and exactly beside it, and says what single nodes and pairs of nodes are worth.

    <folder>/seed_03.npz      one network: parameters, test set, the loss of every
                              subset, figures' arrays of the first network
    <folder>/metrics.jsonl    a line for each network
    <folder>/fig_*.svg, index.html
    <folder>/nodes.html       the first network, to be taken apart by hand
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from sparsejax import runs
from sparsejax.experiments import circle_measure, circle_report, fields
from sparsejax.pages import counted

CHOICES = {"variant": ("published", "half")}
WITHIN = {
    "seeds": fields.SEEDS,
    "nodes": "[1, 22]",
    "keep_probs": "(0, 1)",
    "samples": "[2, 2^31)",
    "paths": "[2, 2^31)",
    "width": "[0.0001, inf)",
    "examples": fields.COUNTS,
    "epochs": fields.WHOLE,
    "batch_size": fields.COUNTS,
    "learning_rate": fields.POSITIVE,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run.

    Attributes:
        variant: the circle: "published" (62.67% of the square inside, as the source's
            code has it) or "half" (half of the square inside, as its text says).
        seeds: a network each, with training and test points of its own; launchers read
            0:10 as 0,1,...,9. The first is drawn.
        nodes: hidden units, at most 22; all 2^nodes subsets are evaluated.
        keep_probs: probabilities of a node to be kept.
        samples: masks drawn for each of them, from NumPy's stream of seed 17 as in the
            source.
        paths: paths over the hypercube that are sampled.
        width: of the Gaussian kernel that smooths densities.
        examples: training points, and test points.
        epochs: of training.
        batch_size: examples a step.
        learning_rate: of Adam.
    """

    variant: str = "published"
    seeds: tuple[int, ...] = tuple(range(10))
    nodes: int = 20
    keep_probs: tuple[float, ...] = (0.25, 0.5, 0.75)
    samples: int = 1000
    paths: int = 1000
    width: float = 0.03
    examples: int = 1000
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.01


def run(
    config: Config,
    folder: str | Path,
    *,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Run, or go on with, an experiment.

    Args:
        config: what to run.
        folder: where; a folder of an unfinished run of the same config is continued.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input.
    """
    folder = Path(folder)
    check(config)
    complete = runs.start(folder, config, {"jax": jax.__version__}, force=force)
    records = _measured(config, folder, report)
    there = (folder / "index.html").exists() and (folder / "nodes.html").exists()
    if complete and there and len(records) == len(config.seeds):
        report(f"{folder} is complete; --force runs it again")
        return records
    began, first = time.perf_counter(), len(records)
    for i in range(first, len(config.seeds)):
        seed = config.seeds[i]
        record, arrays = circle_measure.measure(config, seed, figures=i == 0)
        runs.write_arrays(_path(folder, seed), arrays)
        records.append(record)
        runs.write_metrics(folder, records)  # last: a seed without a line is made again
        spent = time.perf_counter() - began
        left = spent / (i + 1 - first) * (len(config.seeds) - i - 1)
        report(f"{_line(record, config)}  {spent:5.0f} s, {left:.0f} s left")
    arrays = runs.read_arrays(_path(folder, config.seeds[0]))
    circle_report.write(folder, dataclasses.asdict(config), records, arrays)
    runs.finish(folder)
    return records


def check(config: Config) -> None:
    """Raise a `ValueError` for a config that cannot be run."""
    if isinstance(config.nodes, int) and config.nodes > 22:
        raise ValueError(
            f"nodes must be in {WITHIN['nodes']}, got {config.nodes}; "
            "launch/node_sweep.py samples larger networks"
        )
    fields.check(config, WITHIN, CHOICES)
    if config.batch_size > config.examples:
        raise ValueError(
            f"batch_size must be in [1, examples = {config.examples}], got "
            f"{config.batch_size}"
        )


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    found = circle_report.finding(runs.read_metrics(folder))
    return (
        f"{found}\n"
        f"open {folder / 'index.html'}, and nodes.html beside it\n"
        "next: the other --variant, or launch/node_sweep.py for larger networks"
    )


def _measured(config, folder, report) -> list[dict[str, Any]]:
    """The records of the networks that are there already."""
    found: list[dict[str, Any]] = []
    try:
        for seed, record in zip(config.seeds, runs.read_metrics(folder), strict=False):
            runs.read_arrays(_path(folder, seed))
            found.append(record)
    except runs.DamagedFile as error:
        report(f"damaged: {error}; going on after {counted(len(found), 'network')}")
    return found


def _path(folder: Path, seed: int) -> Path:
    return folder / f"seed_{seed:02d}.npz"


def _line(record, config) -> str:
    means = ", ".join(
        f"{record['exact'][str(p)]['mean_loss']:.4f} at {p}" for p in config.keep_probs
    )
    return (
        f"seed {record['seed']}: loss {record['full_loss']:.4f}, "
        f"accuracy {record['full_accuracy']:.1%}; exact mean loss {means}"
    )
