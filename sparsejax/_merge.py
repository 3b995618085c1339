"""The command `sparsejax merge FOLDERS`: shards of a run, put together."""

import importlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags

from sparsejax import experiments, runs
from sparsejax.experiments._study import shares

HELP = """Merge the shards of a run (--shard) into the run that was not divided.

    sparsejax lottery --seeds=0:8 --shard=0/2
    sparsejax lottery --seeds=0:8 --shard=1/2
    sparsejax merge results/runs/lottery/seeds=*

The folders are complete runs that differ in their seeds (node_sweep: keep_probs or
subset_sizes) alone. Nothing is trained again: figures, tables and pages are made of
what is there. The shards stay.

  --out=
      Parent folder of the merged run; by default that of the first shard.
  --data_dir=
      Folder of data, as of the shards.
  --run=, --arm=, --run_seed=, --level=, --model=, --checkpoint=
      Network, as of the shards.
  --force
      Fresh start: delete an earlier run of this config first."""
_NETWORK = {"run": str, "arm": str, "run_seed": int, "level": int, "model": str,
            "checkpoint": str}  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Merge, or explain.

    Args:
        argv: program and arguments.

    Raises:
        ValueError: for folders that cannot be merged.
    """
    if len(argv) == 1 or {"--help", "-h", "-help", "help"} & set(argv[1:]):
        print(HELP)
        return
    values = flags.FlagValues()
    for name in ("out", "data_dir", *_NETWORK):
        whole = _NETWORK.get(name) is int
        define: Any = flags.DEFINE_integer if whole else flags.DEFINE_string
        define(name, None, "", flag_values=values)
    flags.DEFINE_bool("force", False, "", flag_values=values)
    folders = [Path(name) for name in values(list(argv))[1:]]
    if len(folders) < 2:
        raise ValueError("merge needs the folders of two runs or more")
    merge(folders, values)


def merge(folders: Sequence[Path], values: flags.FlagValues) -> None:
    """Write the undivided run of shards, and finish it."""
    heads = [runs.read(folder) for folder in folders]
    kind = heads[0].kind
    for head in heads[1:]:
        if head.kind != kind:
            raise ValueError(
                f"{head.folder} is a run of {head.kind}, {folders[0]} one of {kind}"
            )
        if head.subject != heads[0].subject:
            raise ValueError(f"{head.folder} is of another network than {folders[0]}")
    if kind not in experiments.EXPERIMENTS:
        raise ValueError(f"{folders[0]} is a run of {kind}, not of an experiment")
    spec = importlib.import_module(f"sparsejax.experiments.{kind}.config")
    config, parts = shares.read(spec, kind, folders)
    _finish(spec, kind, config, parts, heads[0].subject, values)


def _finish(spec, kind: str, config: Any, parts, source, values) -> None:
    from sparsejax.experiments import subjects
    from sparsejax.experiments._study import subject as subject_

    face = importlib.import_module(f"sparsejax.experiments.{kind}")
    named = {name: values[name].value for name in spec.SUBJECT}
    subject = subjects.chosen(named, data_dir=values["data_dir"].value)
    own = {} if subject is None else dict(subject.source)
    if own != source:
        flags_ = ", ".join(f"--{name}" for name in spec.SUBJECT) or "no flags"
        raise ValueError(
            "the network is not that of the runs; pass what they were started with: "
            f"{flags_}"
        )
    out = values["out"].value or str(parts[0].folder.parent)
    folder = subject_.folder(kind, config, subject, out)
    log = partial(print, flush=True)
    log(f"folder: {folder}")
    if any(folder.resolve() == one.folder.resolve() for one in parts):
        raise ValueError(f"{folder} is one of the runs to merge, and all of them")
    held = runs.lock(folder)
    try:
        done = runs.start(
            folder, config, kind=kind, subject=source, force=values["force"].value,
            about={"merged": [one.folder.name for one in parts]}, log=log,
        )  # fmt: skip
        if not done:
            shares.write(folder, parts)
    finally:
        held.release()
    face.run(config, folder, subject, data_dir=values["data_dir"].value, log=log)
    log(face.summary(folder))
