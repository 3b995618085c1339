"""Runs that look for circuits: a network and an ablation at a time.

<folder>/network_0.npz           a transformer that was trained here, by seed
<folder>/seed_0_ABLATION.npz     a part: FINDER/keep (sizes, nodes) and FINDER/losses,
                                 table (2^nodes,), supersets and worst by size,
                                 controls/NAME by size
<folder>/seed_0_ABLATION.costs.json   CPU-seconds by finder
<folder>/metrics.jsonl           a line for each finder, and one for the circuit, of
                                 every part; one for each certificate
<folder>/fig_*.svg, table.md, report.md, costs.md, index.html
"""

import itertools as it
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sparsejax import runs, trees
from sparsejax._words import listed
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.circuits import (
    certificates,
    finders,
    losses,
    measure,
    networks,
    report,
)
from sparsejax.experiments.circuits import records as records_
from sparsejax.experiments.circuits.cases import Case
from sparsejax.experiments.circuits.config import ABLATIONS, NETWORK, Config
from sparsejax.pages import counted

NAME = "seed_{}_{}"


def run(
    config: Config,
    folder: str | Path,
    subject: Subject | Case | None = None,
    *,
    data_dir: str | Path | None = None,
    force: bool = False,
    log: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """A run, from its start or from where it was.

    Args:
        config: what to look for.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: a network of a lottery run, or any function, from `case`; by default
            what the config names.
        data_dir: unused, since the subject knows its data.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for nodes, finders, metrics or ablations that the network does not
            have, and if the folder holds anything else.
    """
    own = _checked(config, subject)
    of_run = subject if isinstance(subject, Subject) else None
    parts = [*it.product(config.seeds, config.ablations)]
    with Study("circuits", config, folder, of_run, force=force, log=log) as study:
        if isinstance(subject, Case):
            study.note("function", _noted(subject))
        if study.complete:
            return study.records
        arrays, ready = {}, {}
        for seed, ablation in study.each(parts):
            if seed not in ready:
                ready[seed] = _ready(study, own[seed], seed, subject)
            case, name = ready[seed], NAME.format(seed, ablation)
            arrays[seed, ablation] = study.measured(
                name,
                partial(_part, study, case, seed, ablation),
                count=measure.count(config, case, ablation),
                seed=seed,
                ablation=ablation,
            )
            study.progress(records_.line(study.records, seed, ablation))
        if of_run is not None:
            _certify(study, of_run)
        report.write(study, ready, arrays)
    return study.records


def plan(
    config: Config,
    subject: Subject | Case | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in lines; arguments and errors as of `run`."""
    return _plan(config, _checked(config, subject)[config.seeds[0]])


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{records_.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}; costs.md beside it has the CPU-seconds\n"
        "next: --ablations=position_mean,class_mean, --network=brackets, or "
        "--run=FOLDER for units of a lottery run"
    )


def _checked(config: Config, subject: Subject | Case | None) -> dict[int, Case]:
    """The networks by seed, before training, all checked."""
    if subject is not None:
        usual = Config()
        changed = [k for k in NETWORK if getattr(config, k) != getattr(usual, k)]
        if changed:
            raise ValueError(
                f"{listed(changed)} cannot be used with a network that is given "
                f"({subject.title})"
            )
    certificates.check(config, subject)
    own = {seed: networks.of(config, seed, subject) for seed in config.seeds}
    for case in own.values():
        losses.check(config, case)
        finders.usual(config, case)
    return own


def _ready(study: Study, case: Case, seed: int, subject: Any) -> Case:
    """The network after its training, if it is trained here."""
    config = study.config
    if subject is not None or config.network != "trained":
        return case

    def make():
        study.log(f"training {case.title}")
        return trees.to_arrays(networks.trained(case, config, seed))

    arrays = study.cached(f"network_{seed}", make)
    params = trees.from_arrays(arrays, case.params)
    return networks.with_params(case, config, params)


def _part(study: Study, case: Case, seed: int, ablation: str):
    """Records and arrays; what they cost goes to a file that no run repeats."""
    records, arrays, costs = measure.part(study.config, case, seed, ablation)
    name = f"{NAME.format(seed, ablation)}.costs.json"
    runs.write_json(study.folder / name, costs)
    return records, arrays


def _certify(study: Study, subject: Subject) -> None:
    """Certificates of single images, one record each."""
    config = study.config
    if not config.num_certified:
        return
    for image in study.each(certificates.images(config, subject)):
        make = partial(_certified, config, subject, image)
        (record,) = study.recorded(make, part="certificate", image=image)
        study.progress(records_.certified(record, config.delta))


def _certified(config: Config, subject: Subject, image: int) -> list[dict[str, Any]]:
    return [certificates.record(config, subject, image)]


def _plan(config: Config, case: Case) -> str:
    names = finders.usual(config, case)
    subsets = f", all 2^{case.count} subsets" if case.count <= config.max_exact else ""
    ablations = ", ".join(ABLATIONS[name] for name in config.ablations)
    return (
        f"{case.title}: {counted(case.count, 'node')}{subsets}; "
        f"{counted(len(names), 'finder')}; in place of the others: {ablations}; "
        f"{counted(len(config.seeds), 'seed')}"
    )


def _noted(case: Case) -> dict[str, Any]:
    """What tells a function of one's own from others."""
    params = {f"params/{k}": v for k, v in trees.to_arrays(case.params).items()}
    inputs = trees.to_arrays(
        {"x": case.examples.x, "corrupted": case.examples.corrupted}
    )
    return params | inputs
