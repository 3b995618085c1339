"""Runs of the circle experiment: networks in turn, then figures and pages.

<folder>/seed_03.npz      one network: parameters, test set, the loss of every subset,
                          figures' arrays of the first network
<folder>/metrics.jsonl    a line for each network
<folder>/fig_*.svg, table.md, index.html, nodes.html
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sparsejax import runs
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.circle_removal import measure, report
from sparsejax.experiments.circle_removal.config import Config


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
        config: what to run.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: unused, since networks are trained here.
        data_dir: unused, since points are drawn.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: if the folder holds anything else.
    """
    first, drawn = config.seeds[0], {}
    with Study("circle_removal", config, folder, force=force, log=log) as study:
        if study.complete:
            return study.records
        for seed in study.each(config.seeds):
            make = partial(measure.measure, config, seed, figures=seed == first)
            arrays = study.measured(f"seed_{seed:02d}", make, seed=seed)
            study.progress(_line(config, study.records[-1]))
            if seed == first:
                drawn = arrays
        report.write(study, drawn)
    return study.records


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in a line."""
    seeds = ", ".join(map(str, config.seeds))
    return f"seeds {seeds}: {1 << config.num_nodes:,} subsets each"


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}, and nodes.html beside it\n"
        "next: the other --variant, or `sparsejax node_sweep` for larger networks"
    )


def _line(config: Config, record: dict[str, Any]) -> str:
    means = ", ".join(
        f"{record['exact'][str(p)]['mean_loss']:.4f} at {p}" for p in config.keep_probs
    )
    return (
        f"seed {record['seed']}: loss {record['full_loss']:.4f}, "
        f"accuracy {record['full_accuracy']:.1%}; exact mean loss {means}"
    )
