"""Are weights easier to read once most of them are gone? And pages to read them on.

    <folder>/metrics.jsonl             a line for each network and pair of layers
    <folder>/fig_readability.svg       how easy they are to read against what is left
    <folder>/level_07/NODE.npz         pictures of units of one network
    <folder>/level_07/NODE.html        a layer: units, factors, a grid of connections
    <folder>/level_07/NODE_12.html     a unit: its connections, and through two layers
    <folder>/index.html

A run that was killed goes on with the network or the pictures it was at.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sparsejax import runs, trees, weights
from sparsejax.experiments import fields, networks, weights_pages, weights_report
from sparsejax.experiments.weights_subject import TICKETS, Subject, of_file, of_run
from sparsejax.experiments.weights_view import View

CHOICES = {
    "model": ("resnet20", "resnet56", "resnet18", "resnet34", "resnet50"),
}
WITHIN = {
    "levels": fields.WHOLE,
    "units": fields.WHOLE,
    "strongest": fields.COUNTS,
    "places": fields.WHOLE,
    "steps": fields.COUNTS,
}
_SHOWN = (1.0, 0.2, 0.05)  # densities of networks that get pages
_LAST = 3  # as many hidden layers get them


@dataclasses.dataclass(frozen=True)
class Config:
    """What to look at.

    Attributes:
        run: folder of a lottery run.
        control: folder of the same lottery run with --score=random, to compare.
        model: a residual network, where no run is given.
        checkpoint: file of the model's parameters, where they are not in `data_dir`.
        levels: those whose first network gets pages; by default those nearest to all,
            20% and 5% of weights.
        nodes: layers that get pages; by default the last three hidden ones.
        units: their units that get pages, in this order in a grid of units by inputs;
            by default all, with the largest in the grid.
        strongest: connections shown of each.
        places: units of every layer whose kernel is shown place by place in pictures:
            those with the largest weights.
        steps: of gradient ascent for pictures of units.
    """

    run: str = ""
    control: str = ""
    model: str = "resnet20"
    checkpoint: str = ""
    levels: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    units: tuple[int, ...] = ()
    strongest: int = 6
    places: int = 2
    steps: int = 128


def check(config: Config) -> None:
    """Raise a `ValueError` for what cannot be looked at."""
    fields.check(config, WITHIN, CHOICES)
    if config.run and config.checkpoint:
        raise ValueError("checkpoint is of a model: give it or run, not both")
    if config.control and not config.run:
        raise ValueError("control is compared to a run: give run, too")


def subject(config: Config, *, data_dir: str | Path | None = None) -> Subject:
    """The networks that a config names.

    Args:
        config: with `run`, or with `model`.
        data_dir: of a run's data set, or where ResNet-20's file lies.

    Raises:
        ValueError: for networks that are not there.
    """
    if not config.run:
        return of_file(config.model, data_dir, config.checkpoint)
    control = Path(config.control) if config.control else None
    return of_run(Path(config.run), control, data_dir)


def run(
    config: Config,
    folder: str | Path,
    of: Subject,
    *,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Look, or go on looking; the records of `metrics.jsonl`.

    Args:
        config: what to look at.
        folder: where; a folder of an unfinished run of the same config is continued.
        of: from `subject`.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Raises:
        ValueError: for bad input, such as layers and units that there are not.
    """
    folder = Path(folder)
    check(config)
    counts = networks.units(of.fn, of.params(of.networks[0]), of.size)
    hidden = dict(list(counts.items())[:-1])
    asked = config.nodes or list(hidden)[-_LAST:]
    nodes = networks.chosen(hidden, asked, config.units)
    shown = _shown(config, of)
    if runs.start(
        folder, config, kind="weights", about={"network": of.title}, force=force
    ):
        report(f"{folder} is complete; --force runs it again")
        return runs.read_metrics(folder)
    records = runs.read_metrics(folder)
    done = {_name(record) for record in records}
    for i, network in enumerate(of.networks, 1):
        if _name(network) not in done:
            records += _readability(of, network, list(counts))
            runs.write_metrics(folder, records)
            report(f"{i} of {len(of.networks)}: {_name(network)} read")
    pictures = {}
    for network in shown:
        where = folder / f"level_{network['level']:02d}"
        view = View(where, config, of, network, counts, nodes, report)
        pictures[network["level"]] = weights_pages.write(view, network)
    weights_report.write(folder, config, of.title, records, shown, pictures)
    runs.finish(folder)
    return records


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{weights_report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        "next: --levels, --nodes and --units for other pages"
    )


def _shown(config: Config, of: Subject) -> list[dict[str, Any]]:
    """Networks that get pages: of the first seed's tickets."""
    seed = of.networks[0]["seed"]
    levels = {n["level"]: n for n in of.networks
              if n["arm"] == TICKETS and n["seed"] == seed}  # fmt: skip
    wrong = [level for level in config.levels if level not in levels]
    if wrong:
        raise ValueError(
            f"there is no level {wrong[0]}; there are {trees.listed(sorted(levels))}"
        )

    def off(density):
        return lambda n: abs(np.log(n["density"] / density))

    nearest = [min(levels.values(), key=off(density))["level"] for density in _SHOWN]
    return [levels[level] for level in config.levels or dict.fromkeys(nearest)]


def _name(network: dict[str, Any]) -> str:
    return f"seed {network['seed']}, {network['arm']}, level {network['level']}"


def _readability(of: Subject, network, nodes: list[str]) -> list[dict[str, Any]]:
    """Means over living units: of neighbouring layers, and of those two apart."""
    params, records = of.params(network), []
    chain: list[str | None] = [None, *nodes[:-1], None]
    for apart in (1, 2):
        for source, target in zip(chain[:-apart], chain[apart:], strict=True):
            found = weights.expand(
                of.fn, params, source, target, size=of.size, split=True
            )
            each = jax.tree.map(np.asarray, weights.statistics(found))
            alive = each.norm > 0

            def mean(a, alive=alive):
                return float(a[alive].mean()) if alive.any() else 0.0

            records.append(
                {
                    **network,
                    "source": source or "input",
                    "target": target or networks.LOGITS,
                    "apart": apart,
                    "units": len(alive),
                    "alive": int(alive.sum()),
                    "channels": found.weights.shape[-2],
                    "inputs": mean(each.inputs),
                    "participation": mean(each.participation),
                    "live": mean(each.live),
                    "cancellation": mean(each.cancellation),
                }
            )
    return records
