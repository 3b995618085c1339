"""Runs that dissect: the networks of a lottery run in turn, then figures and a page.

<folder>/seed_0/ARM_03.npz   scores/unit, scores/normalized, of rotations too
<folder>/metrics.jsonl       a line for each network
<folder>/fig_*.svg, units.csv, table.md, index.html
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sparsejax import dissect, runs
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.dissect import report
from sparsejax.experiments.dissect.config import Config
from sparsejax.experiments.dissect.measure import Dissector
from sparsejax.pages import counted


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
        config: what to dissect.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: any network of a lottery run, from `subjects.of_run`; all others of the
            run are dissected, too.
        data_dir: unused, since scenes are drawn.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input, and networks without activations that have places.
    """
    dissector = Dissector(config, subject)
    networks = dissector.networks
    with Study("dissect", config, folder, subject, force=force, log=log) as study:
        if study.complete:
            return study.records
        tables: dict[tuple[int, str, int], dissect.Table] = {}
        for network in study.each(networks):
            seed, arm, level = network.seed, network.arm, network.level
            name = f"seed_{seed}/{arm}_{level:02d}"
            scores = study.cached(name, partial(dissector.scores, network))
            table = tables[seed, arm, level] = dissector.table(scores["scores/unit"])
            dense = tables[seed, networks[0].arm, 0]
            study.add([dissector.record(network, scores, table, dense)])
            study.progress(
                f"seed {seed}, {arm}, level {level}: {study.records[-1]['units']} of "
                f"{counted(len(table.label), 'unit')} are detectors"
            )
        first = networks[0]
        report.write(study, dissector.exemplars(first), dissector.labels)
        table = tables[first.seed, first.arm, 0]
        dissect.write_table(study.folder / "units.csv", table)
    return study.records


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in a line; arguments and errors as of `run`."""
    dissector = Dissector(config, subject)
    many = counted(len(dissector.networks), "network")
    images = config.broden or counted(config.num_scenes, "scene")
    return f"{many}, node {dissector.node}, on {images}"


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        "next: --node=layer2_0, --quantile=0.005, or --broden=FOLDER"
    )
