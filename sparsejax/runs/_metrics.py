"""Records of runs: lines of `metrics.jsonl`, each with its checksum in `metrics.crc32`.

A line counts only if its checksum is among those. So a damaged line costs what it is
of, and no other, and lines are in the order that they were written in.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sparsejax._untrusted import json_value
from sparsejax.runs._files import AnyPath, DamagedFile, plain, write_text

Records = list[dict[str, Any]]
NAME, SUMS = "metrics.jsonl", "metrics.crc32"


def write_metrics(folder: AnyPath, records: Iterable[Mapping[str, Any]]) -> None:
    """Write all records of a run to `metrics.jsonl`, and their checksums beside it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_metrics(folder, [{"step": 1}, {"step": 2}])
        ...     print((Path(folder) / "metrics.jsonl").read_text().strip())
        {"step": 1}
        {"step": 2}
    """
    lines = [as_line(record) for record in records]
    # Checksums first: a kill in between costs only what is new or to be dropped.
    write_text(Path(folder) / SUMS, "".join(f"{_sum(line)}\n" for line in lines))
    write_text(Path(folder) / NAME, "".join(f"{line}\n" for line in lines))


def as_line(record: Mapping[str, Any]) -> str:
    """A record as its line of `metrics.jsonl`.

    Example:
        >>> as_line({"step": 3, "loss": 0.5})
        '{"step": 3, "loss": 0.5}'
    """
    return json.dumps(record, default=plain)


def read_metrics(folder: AnyPath) -> Records:
    """The records in `metrics.jsonl`, none if there is no such file.

    Raises:
        DamagedFile: if a line is not a JSON object.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_metrics(folder, [{"step": 1}, {"step": 2}])
        ...     read_metrics(folder)
        [{'step': 1}, {'step': 2}]
    """
    path = Path(folder) / NAME
    if not path.exists():
        return []
    try:
        records = [json_value(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{path} cannot be read: {error}") from None
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise DamagedFile(
                f"{path}: line {number + 1} is not a record: {record!r:.60}"
            )
    return records


def read_whole_metrics(folder: AnyPath, log: Callable[[str], Any] = print) -> Records:
    """The records in `metrics.jsonl` that are as they were written, in their order.

    Args:
        folder: of the run.
        log: called with a line if there are others.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_metrics(folder, [{"step": 1}, {"step": 2}])
        ...     path = Path(folder) / "metrics.jsonl"
        ...     _ = path.write_text(path.read_text().replace("2", "7"))  # damage
        ...     read_whole_metrics(folder, log=lambda line: None)
        [{'step': 1}]
    """
    path = Path(folder) / NAME
    try:
        lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    except OSError:
        return []
    lines = [line for line in lines if line]
    there = {_sum(line): line for line in lines}
    try:
        sums = (Path(folder) / SUMS).read_text("latin-1").split("\n")
    except FileNotFoundError:  # left behind when the folder was copied
        sums = list(there)
    except OSError:
        sums = []
    whole = [record for total in sums if (record := _record(there.get(total)))]
    if len(whole) < len(lines) or len(whole) < sum(map(bool, sums)):
        log(f"damaged: {path}: {len(whole)} of {len(lines)} records are whole; "
            "making the others again")  # fmt: skip
    return whole


def _record(line: str | None) -> dict[str, Any] | None:
    try:
        record = json_value(line or "")
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _sum(line: str) -> str:
    return f"{zlib.crc32(line.encode('utf-8', 'replace')):08x}"
