"""Run folders: entered, one process at a time, and read back."""

import dataclasses
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparsejax import pages
from sparsejax.runs import _done, _locks
from sparsejax.runs._files import (
    AnyPath,
    DamagedFile,
    read_arrays,
    read_json,
    remove_temporaries,
    write_json,
)
from sparsejax.runs._metrics import read_metrics


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

    @pages.display
    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for record in self.records for name in record))
        rows = [[_cell(record.get(name)) for name in names] for record in self.records]
        state = "complete" if self.done else "not complete"
        title = f"{self.kind} in {self.folder}: {state}"
        return pages.output(pages.listing(rows, names, title=title))

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of one file, as `run.arrays("seed_00")`."""
        return read_arrays(self.folder / f"{name}.npz")


def _cell(value: Any) -> Any:
    """What a table can show of a record's value."""
    if value is None or isinstance(value, str | int | float):
        return value
    return json.dumps(value)[:80]


def read(folder: AnyPath) -> Run:
    """A run, complete or not, from its folder alone.

    Raises:
        ValueError: if the folder is no run's.
        DamagedFile: if a file of it cannot be read.

    Example:
        >>> import tempfile
        >>> Config = dataclasses.make_dataclass("Config", ["steps"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     complete = start(folder, Config(steps=3), kind="demo")
        ...     run = read(folder)
        >>> run.kind, run.config, run.done
        ('demo', {'steps': 3}, False)
    """
    head = _head(Path(folder))
    records = read_metrics(folder)
    return Run(Path(folder), **head, records=records, done=is_complete(folder))


def is_complete(folder: AnyPath) -> bool:
    """Whether a run is finished, and all its files are as it wrote them.

    Example:
        >>> import tempfile
        >>> Config = dataclasses.make_dataclass("Config", ["steps"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     complete = start(folder, Config(steps=3), kind="demo")
        ...     _done.finish(folder)
        ...     is_complete(folder)
        ...     Path(folder, "config.json").unlink()
        ...     is_complete(folder)
        True
        False
    """
    return _done.damaged(Path(folder)) == []


def lock(folder: AnyPath) -> _locks.Lock:
    """The right to fill a run folder, made if missing, until its `release`.

    The end of a process frees it, however it ends. What killed processes were writing
    is removed.

    Raises:
        runs.InUse: if another process, or another run in this one, has it.
        ValueError: if the folder has files that are no run's.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     held = lock(folder)
        ...     try:
        ...         lock(folder)
        ...     except _locks.InUse:
        ...         print("in use")
        ...     held.release()
        in use
    """
    folder = Path(folder)
    _check_ours(folder)
    held = _locks.Lock(folder)
    try:
        remove_temporaries(folder)
    except BaseException:
        held.release()
        raise
    return held


def check_start(
    folder: AnyPath, config: Any, *, kind: str, force: bool = False
) -> None:
    """Raise what `lock` and `start` would, but for the subject; leaves nothing.

    Args:
        folder: the folder, there or not.
        config: a dataclass instance of JSON-like fields.
        kind: name of the experiment.
        force: whether an earlier run there would be removed.

    Raises:
        ValueError: if the folder holds anything but this run, or is in use.
        OSError: if it cannot be made or written to.

    Example:
        >>> import tempfile
        >>> Config = dataclasses.make_dataclass("Config", ["steps"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     complete = start(folder, Config(steps=3), kind="demo")
        ...     check_start(folder, Config(steps=4), kind="demo")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: ... holds a run of another config (steps differ); ...
    """
    folder = Path(folder)
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not place.is_dir():
        raise NotADirectoryError(f"{place} is a file, not a folder")
    if not (folder / "config.json").exists():
        _check_ours(folder)
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(f"{place} cannot be written to")
        return
    if not force:
        there = _done.head(folder) or _head(folder)
        _check_alike(folder, {**there, "subject": {}}, _ours(config, kind, {}))
    _locks.Lock(folder).release()


def start(
    folder: AnyPath,
    config: Any,
    *,
    kind: str,
    subject: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    force: bool = False,
    log: Callable[[str], Any] = print,
) -> bool:
    """Make or enter a run folder.

    Args:
        folder: the folder; made if missing.
        config: a dataclass instance of JSON-like fields.
        kind: name of the experiment.
        subject: JSON-like, what is looked at.
        about: JSON-like, versions and the device.
        force: remove an earlier run there first.
        log: called with a line if files of a finished run are missing or damaged; these
            are removed, to be made again.

    Returns:
        Whether the run is complete already.

    Raises:
        ValueError: if the folder holds a run of another config, or other files.

    Example:
        >>> import tempfile
        >>> Config = dataclasses.make_dataclass("Config", ["steps"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     start(folder, Config(steps=3), kind="demo")  # a new run
        ...     _done.finish(folder)
        ...     start(folder, Config(steps=3), kind="demo")
        False
        True
    """
    folder = Path(folder)
    path = folder / "config.json"
    ours = _ours(config, kind, dict(subject or {}))
    _check_ours(folder)
    if force and path.exists():
        _clear(folder)
    if not force and _done.mend(folder):
        log(f"damaged: {path}; written again")
    there = path.exists()
    if there:
        _check_alike(folder, _head(folder), ours)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        about = {**(about or {}), "commit": _commit(), "started": started}
        write_json(path, {**ours, "about": about})
    if held := _locks.held(folder):
        held.begun = True
    return there and _stands(folder, log)


def _stands(folder: Path, log: Callable[[str], Any]) -> bool:
    """Whether a run is complete; where it is not any more, it is to go on."""
    wrong = _done.damaged(folder)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        names = ", ".join(wrong[:3]) + more
        log(f"damaged: {folder} is finished, but not whole: making {names} again")
        _done.reopen(folder, wrong)
    return wrong == []


def _check_ours(folder: Path) -> None:
    """A `ValueError` if a folder has files, but none of a run."""
    if not folder.exists() or (folder / "config.json").exists():
        return
    if _done.damaged(folder) is None and any(
        not p.name.startswith(".") for p in folder.iterdir()
    ):
        raise ValueError(
            f"{folder} has files but no config.json: it is not a run folder; "
            "choose another"
        )


def _clear(folder: Path) -> None:
    """Remove a run, `config.json` last: if this is cut short, it is a run's folder."""
    last = folder / "config.json"
    (folder / "DONE").unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path not in (last, folder / _locks.NAME):
            path.unlink(missing_ok=True)
    last.unlink()


def _ours(config: Any, kind: str, subject: dict[str, Any]) -> dict[str, Any]:
    """Kind, config and subject, as `config.json` has them."""
    values = {"config": dataclasses.asdict(config), "subject": subject}
    return {"kind": kind, **json.loads(json.dumps(values, default=str))}


def _head(folder: Path) -> dict[str, Any]:
    """What `config.json` says: kind, config, subject and about."""
    path = folder / "config.json"
    if not path.exists():
        raise ValueError(f"{folder} is not a run folder: it has no config.json")
    try:
        head = read_json(path)
    except DamagedFile as error:
        raise DamagedFile(f"{error}; --force (in Python, force=True) starts the run "
                          "afresh") from None  # fmt: skip
    types = {"kind": str, "config": dict, "subject": dict, "about": dict}
    if not isinstance(head, dict) or not all(
        isinstance(head.get(key), kind) for key, kind in types.items()
    ):
        raise DamagedFile(
            f"{path} is not the config of a run; --force (in Python, force=True) "
            "starts the run afresh"
        )
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
