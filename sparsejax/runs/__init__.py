"""Run folders: one experiment, one folder, complete or resumable.

    <root>/<fields that differ from the defaults>-<hash>/
        config.json     kind, config, subject (what was looked at), and about:
                        versions, device, commit, start
        metrics.jsonl   one JSON object a line; metrics.crc32: a checksum for each
        *.npz           arrays under their paths, with a checksum at the end
        DONE            written last: sizes and checksums of all files
        errors.log      tracebacks of what has failed

The name depends on the config's non-default fields alone, so that new fields with
defaults leave old names as they were. Every file is written beside its place, synced
to the disk and renamed: a killed run leaves no half file, nor does a power cut. A run
is complete only while all files are as they were written. One process at a time fills
a folder (`lock`). Nothing is ever unpickled.

    run = runs.read(folder)   # run.config, run.records, run.arrays("seed_00")
"""

from sparsejax.runs._done import LOG, finish
from sparsejax.runs._files import (
    AnyPath,
    DamagedFile,
    atomic,
    cached,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    write_text,
)
from sparsejax.runs._folders import Run, check_start, is_complete, lock, read, start
from sparsejax.runs._locks import FolderGone, InUse, Lock
from sparsejax.runs._metrics import (
    as_line,
    read_metrics,
    read_whole_metrics,
    write_metrics,
)
from sparsejax.runs._names import file_name, name

__all__ = [
    "LOG",
    "AnyPath",
    "DamagedFile",
    "FolderGone",
    "InUse",
    "Lock",
    "Run",
    "as_line",
    "atomic",
    "cached",
    "check_start",
    "file_name",
    "finish",
    "is_complete",
    "lock",
    "name",
    "read",
    "read_arrays",
    "read_json",
    "read_metrics",
    "read_whole_metrics",
    "start",
    "write_arrays",
    "write_json",
    "write_metrics",
    "write_text",
]


def __dir__() -> list[str]:
    return list(__all__)
