"""Runs that read weights: networks in turn, then pages of a few.

<folder>/metrics.jsonl             a line for each network and pair of layers
<folder>/fig_readability.svg       how easy they are to read against what is left
<folder>/level_07/NODE.npz         pictures of units of one network
<folder>/level_07/NODE.html        a layer: units, factors, a grid of connections
<folder>/level_07/NODE_12.html     a unit: its connections, and through two layers
<folder>/index.html
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import runs, trees
from sparsejax.experiments import subjects
from sparsejax.experiments._study import nodes
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Network, Subject
from sparsejax.experiments.weights import measure, report, unit_pages
from sparsejax.experiments.weights.config import Config
from sparsejax.experiments.weights.view import View
from sparsejax.pages import counted

_SHOWN = (1.0, 0.2, 0.05)  # densities of networks that get pages
_LAST = 3  # as many hidden layers get them


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
        config: what to look at.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: any network of a lottery run, whose others are read, too, or one from a
            file; by default ResNet-20 from its file.
        data_dir: folder above `resnet_cifar10`.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input, such as layers and units that there are not.
    """
    subject = subject or subjects.pretrained(data_dir=data_dir)
    counts, units, shown = _chosen(config, subject)
    with Study("weights", config, folder, subject, force=force, log=log) as study:
        if study.complete:
            return study.records
        count = 2 * len(counts) - 1  # pairs of neighbors, and of those two apart
        for network in study.each(subject.networks):
            where = {"seed": network.seed, "arm": network.arm, "level": network.level}
            make = partial(measure.readability, subject, network, list(counts))
            study.recorded(make, count=count, **where)
            study.progress(f"{report.name(network)} read")
        pages = {}
        for network in shown:
            place = study.folder / f"level_{network.level:02d}"
            view = View(place, config, subject, network, counts, units, log)
            pages[network.level] = unit_pages.write(view, network)
        report.write(study, shown, pages)
    return study.records


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in a line; arguments and errors as of `run`."""
    subject = subject or subjects.pretrained(data_dir=data_dir)
    _, units, shown = _chosen(config, subject)
    levels = ", ".join(str(network.level) for network in shown)
    return (
        f"{counted(len(subject.networks), 'network')}; pages of {', '.join(units)} at "
        f"level {levels}"
    )


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        "next: --levels, --nodes and --units for other pages"
    )


def _chosen(
    config: Config, subject: Subject
) -> tuple[dict[str, int], dict[str, list[int]], list[Network]]:
    """Numbers of units, those that get pages, and the networks that do."""
    counts = nodes.counts(subject.fn, subject.params, subject.shape)
    hidden = {name: n for name, n in counts.items() if name != nodes.LOGITS}
    names = config.nodes or list(hidden)[-_LAST:]
    units = nodes.chosen(hidden, names, config.units)
    return counts, units, _shown(config, subject)


def _shown(config: Config, subject: Subject) -> list[Network]:
    """Networks that get pages: of the first seed's tickets."""
    first = subject.networks[0]
    levels = {n.level: n for n in subject.networks
              if (n.arm, n.seed) == (first.arm, first.seed)}  # fmt: skip
    wrong = [level for level in config.levels if level not in levels]
    if wrong:
        raise ValueError(
            f"there is no level {wrong[0]}; there are {trees.listed(sorted(levels))}"
        )

    def nearest(density: float) -> int:
        def off(network):
            return abs(np.log(network.density / density))

        return min(levels.values(), key=off).level

    usual = dict.fromkeys(map(nearest, _SHOWN))
    return [levels[level] for level in config.levels or usual]
