"""The end of a run: `DONE` says which files it has, and all that tells they are whole.

{"files": {"seed_00.npz": {"size": 1234, "crc32": 567}, ...},
 "inside": ["flowgraph/default-44136fa3"],   runs inside that are part of it
 "head": {...},                              what config.json says
 "crc32": ...}                               of all this
"""

import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sparsejax.runs import _locks, _metrics
from sparsejax.runs._files import (
    AnyPath,
    DamagedFile,
    checksum,
    read_json,
    write_json,
    write_text,
)

NAME = "DONE"
LOG = "errors.log"


def finish(
    folder: AnyPath, *, files: Iterable[str] = (), inside: Iterable[str] = ()
) -> None:
    """Mark a run as complete, with sizes and checksums of its files.

    Args:
        folder: of the run.
        files: some that must be there, as "level_01/rewind.npz".
        inside: folders of runs inside that are part of it.

    Raises:
        runs.FolderGone: if the folder, its `config.json` or one of `files` is gone.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(f"{folder}/config.json", {"kind": "demo"})
        ...     write_text(f"{folder}/level_01/notes.txt", "whole")
        ...     finish(folder, files=["level_01/notes.txt"])
        ...     sorted(read_json(f"{folder}/DONE")["files"])
        ['config.json', 'level_01/notes.txt']
    """
    folder = Path(folder)
    missing = [n for n in ("config.json", *files) if not (folder / n).exists()]
    if missing:
        raise _locks.FolderGone(
            f"{folder / missing[0]} was deleted while the run was filling its folder; "
            "start the run again"
        )
    covered = {
        path.relative_to(folder).as_posix(): _told(path) for path in _files(folder)
    }
    head = read_json(folder / "config.json")
    content = {"files": covered, "inside": sorted(inside), "head": head}
    write_json(folder / NAME, {**content, "crc32": _sum(content)})


def damaged(folder: Path) -> list[str] | None:
    """Names of a finished run's files that are missing or not as they were written.

    Runs inside count as files. `None` is of a run that is not finished, or whose `DONE`
    is damaged itself.
    """
    done = _read(folder)
    if done is None:
        return None
    wrong = [
        name for name, told in done["files"].items() if not _whole(folder / name, told)
    ]
    return wrong + [name for name in done["inside"] if damaged(folder / name) != []]


def head(folder: Path) -> dict[str, Any] | None:
    """What the `config.json` of a finished run says, or said when it ended."""
    done = _read(folder)
    return None if done is None else done["head"]


def mend(folder: Path) -> bool:
    """Write `config.json` of a finished run again if it is damaged; whether it was."""
    done = _read(folder)
    path = folder / "config.json"
    told = None if done is None else done["files"].get(path.name)
    if done is None or told is None or _whole(path, told):
        return False
    write_text(path, json.dumps(done["head"], indent=2) + "\n")
    return True


def reopen(folder: Path, names: Collection[str]) -> None:
    """Remove damaged files of a finished run, and `DONE`: the run is to go on.

    Damaged records stay, since their checksums tell which of them are whole.
    """
    spared = {"config.json", _metrics.NAME}
    if _metrics.NAME in names:
        spared.add(_metrics.SUMS)
    for name in names:
        if name not in spared and (folder / name).is_file():
            (folder / name).unlink()
    (folder / NAME).unlink(missing_ok=True)


def _read(folder: Path) -> dict[str, Any] | None:
    """What `DONE` says, if it says what `finish` wrote."""
    try:
        done = read_json(folder / NAME)
        total = done.pop("crc32")
        return done if total == _sum(done) else None
    except (DamagedFile, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _files(folder: Path) -> Iterator[Path]:
    """Files of a run, without those of runs inside its folder."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not (path / "config.json").exists():
            yield from _files(path)
        elif path.is_file() and path.name[0] != "." and path.name not in (NAME, LOG):
            yield path


def _told(path: Path) -> dict[str, int]:
    return {"size": path.stat().st_size, "crc32": checksum(path)}


def _whole(path: Path, told: Mapping[str, int]) -> bool:
    try:
        return path.stat().st_size == told["size"] and checksum(path) == told["crc32"]
    except OSError:
        return False


def _sum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
