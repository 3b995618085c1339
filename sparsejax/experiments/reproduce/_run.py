"""A run of runs: each part in a folder of its own, then one table of all claims.

<folder>/PART/              a run of another experiment, complete by itself
<folder>/metrics.jsonl      what is measured here ("measured"), and a line for each
                            claim ("claim")
<folder>/reproductions.md, reproductions.json, index.html

A run that was killed goes on with the part it was at. Parts whose data are missing are
left out, and made when the same run is started with the data.
"""

import gc
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from sparsejax import experiments, runs
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.reproduce import factors, graphs, report, rules
from sparsejax.experiments.reproduce.claim import Results
from sparsejax.experiments.reproduce.config import Config
from sparsejax.experiments.reproduce.parts import Part, wanted
from sparsejax.pages import counted

_MEASURES: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "factors": factors.measure,
    "graphs": graphs.measure,
    "rules": rules.measure,
}


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
        subject: unused, since all networks are made here.
        data_dir: folder of MNIST, CIFAR-10 and ResNet-20; what needs those that are
            missing is left out.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: if the folder holds anything else.
    """
    folder, parts = Path(folder), wanted(config.parts)
    if not force:
        _reopen(config, folder, parts, data_dir)
    with Study("reproduce", config, folder, force=force, log=log) as study:
        if study.complete:
            return study.records
        missing: dict[str, str] = {}
        left = {n: p for n, p in parts.items() if not _is_made(study, n, p)}
        for name, part in study.each(left.items(), lambda item: item[1].cost):
            began = time.process_time()
            reason = _make(study, name, part, missing, data_dir)
            if reason is None:
                # Said, not kept: times would make files differ that are the same.
                spent = time.process_time() - began
                study.progress(f"{name}: {spent:.0f} s of CPU time")
            else:
                missing[name] = reason
                log(f"{name}: left out: {reason}")
        report.write(study, Results(folder, _measured(study.records), missing))
    return study.records


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in a line; what is missing for it, in one each."""
    parts = wanted(config.parts)
    missing = {name: _lacks(config, part, data_dir) for name, part in parts.items()}
    lines = [f"{name}: left out: {why}" for name, why in missing.items() if why]
    return "\n".join([f"{counted(len(parts), 'part')}: {', '.join(parts)}", *lines])


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}, or {folder / 'reproductions.md'}\n"
        "next: without --quick, as many networks as in results/"
    )


def _is_made(study: Study, name: str, part: Part) -> bool:
    """Whether a part is a complete run already, as it would be made."""
    place = study.folder / name
    if part.experiment in _MEASURES or not runs.is_complete(place):
        return False
    face = getattr(experiments, part.experiment)
    config = face.Config(**part.fields(study.config.quick))
    runs.check_start(place, config, kind=part.experiment)
    study.encloses(name)
    return True


def _make(
    study: Study,
    name: str,
    part: Part,
    missing: Mapping[str, str],
    data_dir: str | Path | None,
) -> str | None:
    """Make a part; why it cannot be made, if it cannot."""
    if part.of is not None and part.of in missing:
        return missing[part.of]
    if part.experiment in _MEASURES:
        return _measure(study, name, part, data_dir)
    face = getattr(experiments, part.experiment)
    fields = face.Config(**part.fields(study.config.quick))
    subject = None if part.of is None else experiments.lottery.subject(
        study.folder / part.of, seed=part.seed, level=part.level, data_dir=data_dir
    )  # fmt: skip
    try:
        study.log(f"{name}: {face.plan(fields, subject, data_dir=data_dir)}")
    except ValueError as error:  # a plan looks for the data
        if not part.data or part.of is not None:
            raise
        return str(error)

    def log(line: str) -> None:
        study.log(f"  {line}")

    face.run(fields, study.folder / name, subject, data_dir=data_dir, log=log)
    study.encloses(name)
    jax.clear_caches()  # of programs that no other part has
    gc.collect()
    return None


def _measure(
    study: Study, name: str, part: Part, data_dir: str | Path | None
) -> str | None:
    """The same of what this experiment measures itself."""

    def make() -> list[dict[str, Any]]:
        of = None if part.of is None else study.folder / part.of
        rows = _MEASURES[part.experiment](of, data_dir)
        return [{"kind": "measured", "part": name, "rows": rows}]

    try:
        study.recorded(make, kind="measured", part=name)
    except ValueError as error:
        if not part.data:
            raise
        return str(error)
    return None


def _lacks(config: Config, part: Part, data_dir: str | Path | None) -> str | None:
    """Why a part that reads files cannot be run, if it cannot."""
    if not part.data or part.of is not None:
        return None
    try:
        if part.experiment in _MEASURES:
            experiments.subjects.pretrained(data_dir=data_dir)
        else:
            face = getattr(experiments, part.experiment)
            face.plan(face.Config(**part.fields(config.quick)), data_dir=data_dir)
    except ValueError as error:
        return str(error)
    return None


def _reopen(
    config: Config,
    folder: Path,
    parts: Mapping[str, Part],
    data_dir: str | Path | None,
) -> None:
    """Let a finished run go on if data that it lacked are there now."""
    if not runs.is_complete(folder):
        return
    runs.check_start(folder, config, kind="reproduce")
    lacked = [
        name for name, part in parts.items()
        if part.data and part.experiment not in _MEASURES
        and not (folder / name / "config.json").exists()
    ]  # fmt: skip
    if any(_lacks(config, parts[name], data_dir) is None for name in lacked
           if parts[name].of is None):  # fmt: skip
        (folder / "DONE").unlink()


def _measured(records: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {r["part"]: r["rows"] for r in records if r["kind"] == "measured"}
