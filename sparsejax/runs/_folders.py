"""Run folders: names, starts and ends, records, and reading them back."""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import time
import typing
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from sparsejax import _untrusted
from sparsejax.runs._files import (
    AnyPath,
    DamagedFile,
    plain,
    read_arrays,
    read_json,
    write_json,
    write_text,
)


def name(config: Any, subject: Mapping[str, Any] | None = None) -> str:
    """The folder name of a run: a slug of the non-default fields, and their hash.

    Args:
        config: a dataclass instance whose fields all have defaults.
        subject: what else tells the run from others, such as `{"level": 12}`.

    Returns:
        At most 79 characters.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     rounds: int = 18
        ...     dataset: str = "digits"
        >>> name(Config()), name(Config(rounds=3)), name(Config(), {"level": 12})
        ('default-44136fa3', 'rounds=3-aa5c2887', 'level=12-a61c54f9')
    """
    changed = {
        field.name: _decimal(getattr(config, field.name), field.type)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != _default(field)
    }
    told = [changed, dict(subject)] if subject else changed
    text = json.dumps(told, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    pairs = [*(subject or {}).items(), *changed.items()]
    slug = "_".join(f"{key}={_short(value)}" for key, value in pairs)
    return f"{slug[:70].rstrip('_=')}-{digest}" if slug else f"default-{digest}"


def _decimal(value: Any, kind: Any) -> Any:
    """A value of a field, 3 as 3.0 where it is of floats: one config has one name."""
    if isinstance(value, tuple):
        kinds = typing.get_args(kind)
        return tuple(_decimal(entry, kinds[0] if kinds else None) for entry in value)
    return float(value) if kind is float and type(value) is int else value


def file_name(text: str) -> str:
    """A name for a file: any text as one, another for every text.

    Example:
        >>> file_name("layer1_0"), file_name("mlp/linear")
        ('layer1_0', 'mlp%2Flinear')
    """
    return quote(text, safe="")


class Run(NamedTuple):
    """A run folder as it was read.

    Attributes:
        folder: where it lies.
        kind: name of the experiment.
        config: fields of the config.
        subject: what was looked at, as `{"run": ..., "level": 12}`.
        about: versions, device, commit, and when it was started.
        records: lines of `metrics.jsonl`.
        done: whether the run is complete.
    """

    folder: Path
    kind: str
    config: dict[str, Any]
    subject: dict[str, Any]
    about: dict[str, Any]
    records: list[dict[str, Any]]
    done: bool

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of one file, as `run.arrays("seed_00")`."""
        return read_arrays(self.folder / f"{name}.npz")


def read(folder: AnyPath) -> Run:
    """A run, complete or not, from its folder alone.

    Raises:
        ValueError: if the folder is no run's.
        DamagedFile: if a file of it cannot be read.
    """
    head = _head(Path(folder))
    records = read_metrics(folder)
    return Run(Path(folder), **head, records=records, done=_is_complete(Path(folder)))


def start(
    folder: AnyPath,
    config: Any,
    *,
    kind: str,
    subject: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    force: bool = False,
) -> bool:
    """Make or enter a run folder.

    Args:
        folder: the folder; made if missing.
        config: a dataclass instance of JSON-like fields.
        kind: name of the experiment.
        subject: JSON-like, what is looked at.
        about: JSON-like, versions and the device.
        force: remove an earlier run there first.

    Returns:
        Whether the run is complete already.

    Raises:
        ValueError: if the folder holds a run of another config, or other files.
    """
    folder = Path(folder)
    path = folder / "config.json"
    values = {"config": dataclasses.asdict(config), "subject": dict(subject or {})}
    ours = {"kind": kind, **json.loads(json.dumps(values, default=str))}
    if force and path.exists():
        shutil.rmtree(folder)
    if path.exists():
        _check_alike(folder, _head(folder), ours)
        return _is_complete(folder)
    if folder.exists() and any(not p.name.startswith(".") for p in folder.iterdir()):
        raise ValueError(
            f"{folder} has files but no config.json: it is not a run folder; "
            "choose another"
        )
    folder.mkdir(parents=True, exist_ok=True)
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    about = {**(about or {}), "commit": _commit(), "started": started}
    write_json(path, {**ours, "about": about})
    return False


def finish(folder: AnyPath) -> None:
    """Mark a run as complete, with the checksums of its arrays and records."""
    folder = Path(folder)
    files = {p.relative_to(folder).as_posix(): _checksum(p) for p in _files(folder)}
    write_json(folder / "DONE", {"files": files})


def write_metrics(folder: AnyPath, records: Iterable[Mapping[str, Any]]) -> None:
    """Write all records of a run to `metrics.jsonl`."""
    text = "".join(as_line(record) + "\n" for record in records)
    write_text(Path(folder) / "metrics.jsonl", text)


def as_line(record: Mapping[str, Any]) -> str:
    """A record as its line of `metrics.jsonl`."""
    return json.dumps(record, default=plain)


def read_metrics(folder: AnyPath) -> list[dict[str, Any]]:
    """The records in `metrics.jsonl`, none if there is no such file.

    Raises:
        DamagedFile: if a line is not a JSON object.
    """
    path = Path(folder) / "metrics.jsonl"
    if not path.exists():
        return []
    try:
        lines = path.read_text("utf-8").splitlines()
        records = [_untrusted.json_value(line) for line in lines]
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{path} cannot be read: {error}") from None
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise DamagedFile(f"{path}: line {number + 1} is no record: {record!r:.60}")
    return records


def _files(folder: Path) -> Iterator[Path]:
    """Files of a run, without those of runs inside its folder."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not (path / "config.json").exists():
            yield from _files(path)
        elif path.is_file() and not path.name.startswith(".") and path.name != "DONE":
            yield path


def _head(folder: Path) -> dict[str, Any]:
    """What `config.json` says: kind, config, subject and about."""
    path = folder / "config.json"
    if not path.exists():
        raise ValueError(f"{folder} is no run folder: it has no config.json")
    head = read_json(path)
    types = {"kind": str, "config": dict, "subject": dict, "about": dict}
    if not isinstance(head, dict) or not all(
        isinstance(head.get(key), kind) for key, kind in types.items()
    ):
        raise DamagedFile(f"{path} is not the config of a run")
    return {key: head[key] for key in types}


def _check_alike(folder: Path, there: Mapping, ours: Mapping) -> None:
    """A `ValueError` if a folder's run is of another kind, subject or config."""
    if there["kind"] != ours["kind"]:
        raise ValueError(
            f"{folder} holds a run of {there['kind']}, not of {ours['kind']}; "
            "choose another folder"
        )
    for part in ("subject", "config"):
        a, b = there[part], ours[part]
        differ = sorted(key for key in {*a, *b} if a.get(key) != b.get(key))
        if differ:
            raise ValueError(
                f"{folder} holds a run of another {part} ({', '.join(differ)} differ); "
                "choose another folder or remove it"
            )


def _is_complete(folder: Path) -> bool:
    """Whether `DONE` is there, and every file that it lists, undamaged."""
    try:
        files = read_json(folder / "DONE")["files"].items()
        return all(
            (folder / name).exists() and _checksum(folder / name) == checksum
            for name, checksum in files
        )
    except (DamagedFile, KeyError, TypeError, AttributeError):
        return False


def _checksum(path: Path) -> int | None:
    """The CRC-32 of arrays and records; other files may be edited."""
    if path.suffix not in (".npz", ".jsonl"):
        return None
    total = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 24):
            total = zlib.crc32(block, total)
    return total


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _short(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return re.sub(r"[^\w.,:=+-]+", "-", text)


def _commit() -> str | None:
    """The git commit of the code that runs, with a + if it was changed since."""
    here, tracked = Path(__file__).parents[1], "__init__.py"

    def ask(*words):
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10
        ).stdout.strip()

    try:
        if not ask("ls-files", tracked):  # installed in somebody else's checkout
            return None
        changed = ask("status", "--porcelain", "-uno", "--", ".")
        return ask("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
