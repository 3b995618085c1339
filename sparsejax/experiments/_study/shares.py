"""A run divided into several by the entries of one field, and put together again.

A module of configs says how:

    def shares(config: Config) -> Shares:
        return Shares("seeds", config.seeds, ("seed_*.npz",))

Each part is a whole run, of the config with some of the entries. What their files hold
of single entries is put together in the folder of the undivided run, which goes on from
there as after a kill: figures and pages are made, and nothing else.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparsejax import runs
from sparsejax.experiments._study import config as config_


class Shares(NamedTuple):
    """How a run can be divided.

    Attributes:
        field: of the config, a list.
        entries: its entries, with the usual ones filled in.
        files: patterns of the files that are kept, others being made again.
        stacked: whether arrays have a leading axis over entries; otherwise every entry
            has files of its own, and what has none is the same in all runs.
        rest: patterns of the arrays that files of all entries have, others being those
            of the first.
    """

    field: str
    entries: tuple[Any, ...]
    files: tuple[str, ...]
    stacked: bool = False
    rest: tuple[str, ...] = ("*",)


class Part(NamedTuple):
    """A finished run of some of the entries."""

    folder: Path
    config: Any
    shares: Shares


def part(spec: Any, config: Any, which: str) -> Any:
    """The config of one part of a run.

    Args:
        spec: the experiment's module of configs.
        config: of the undivided run.
        which: as "2/8", the third of eight parts.

    Raises:
        ValueError: for parts that cannot be.
    """
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", which)
    if match is None or not int(match[1]) < int(match[2]):
        raise ValueError(
            f"--shard must be I/N with I from 0 to N - 1, as 0/4; got {which!r}"
        )
    number, count = map(int, match.groups())
    how = _shares(spec, config)
    total = len(how.entries)
    if count > total:
        raise ValueError(
            f"--shard={which}: there are only {total} {how.field} to be shared out"
        )
    entries = sorted(how.entries)
    mine = entries[number * total // count : (number + 1) * total // count]
    return dataclasses.replace(config, **{how.field: tuple(mine)})


def read(spec: Any, kind: str, folders: Sequence[Path]) -> tuple[Any, list[Part]]:
    """The config of the undivided run, and its parts in order.

    Args:
        spec: the experiment's module of configs.
        kind: its name.
        folders: of the parts.

    Raises:
        ValueError: for parts that are not whole, or do not go together.
    """
    parts = []
    for folder in folders:
        config = config_.read(folder, kind, spec.Config)
        if not runs.is_complete(folder):
            raise ValueError(f"{folder} is not complete; run it to its end first")
        parts.append(Part(folder, config, _shares(spec, config)))
    first = parts[0]
    field = first.shares.field
    for one in parts[1:]:
        values = {field: getattr(first.config, field)}
        alike = one.shares.field == field
        if not alike or dataclasses.replace(one.config, **values) != first.config:
            raise ValueError(
                f"{one.folder} and {first.folder} differ in more than {field}"
            )
    parts.sort(key=lambda one: one.shares.entries[0])
    entries = [entry for one in parts for entry in one.shares.entries]
    twice = [entry for entry in sorted(set(entries)) if entries.count(entry) > 1]
    if twice:
        named = ", ".join(map(str, twice))
        raise ValueError(f"several of the runs have {field} {named}")
    whole = dataclasses.replace(first.config, **{field: tuple(sorted(entries))})
    usual = getattr(spec.Config(), field)
    open_ = dataclasses.replace(whole, **{field: usual})
    if spec.shares(open_).entries == getattr(whole, field):
        whole = open_  # as it is named where the field was left open
    return whole, parts


def write(folder: Path, parts: Sequence[Part]) -> None:
    """Put the files and records of parts into the folder of the undivided run."""
    how = parts[0].shares
    for pattern in how.files:
        names = {
            path.relative_to(one.folder).as_posix()
            for one in parts
            for path in one.folder.glob(pattern)
        }
        for name in sorted(names):
            runs.write_arrays(folder / name, _arrays(name, parts))
    entries = sorted(entry for one in parts for entry in one.shares.entries)
    records = [record for one in parts for record in runs.read_metrics(one.folder)]
    place = {entry: i for i, entry in enumerate(entries)}
    if how.field == "seeds":
        records.sort(key=lambda record: place.get(record.get("seed"), -1))
    runs.write_metrics(folder, records)


def _arrays(name: str, parts: Sequence[Part]) -> Mapping[str, np.ndarray]:
    """The arrays of a file of the undivided run."""
    how = parts[0].shares
    there = [
        (one, runs.read_arrays(one.folder / name))
        for one in parts
        if (one.folder / name).exists()
    ]
    if not how.stacked:
        one, arrays = there[0]
        if one is parts[0] and one.folder / name == next(_own(one)):
            return arrays
        return {
            key: array for key, array in arrays.items()
            if any(fnmatch(key, pattern) for pattern in how.rest)
        }  # fmt: skip
    if len(there) < len(parts) or len({frozenset(arrays) for _, arrays in there}) > 1:
        raise ValueError(f"{name} is not in all of the runs, or has other arrays there")
    order = np.argsort([e for one in parts for e in one.shares.entries], kind="stable")
    return {
        key: np.concatenate([arrays[key] for _, arrays in there])[order]
        for key in there[0][1]
    }


def _own(one: Part):
    """Files of a part, in the order of their names."""
    for pattern in one.shares.files:
        yield from sorted(one.folder.glob(pattern))


def _shares(spec: Any, config: Any) -> Shares:
    if not hasattr(spec, "shares"):
        name = spec.__name__.split(".")[-2]
        raise ValueError(f"a run of {name} cannot be divided, nor runs of it merged")
    return spec.shares(config)
