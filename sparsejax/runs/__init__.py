"""Run folders: one experiment, one folder, complete or resumable.

    <root>/<fields that differ from the defaults>-<hash>/
        config.json     kind, config, subject (what was looked at), and about:
                        versions, device, commit, start
        metrics.jsonl   one JSON object a line
        *.npz           arrays under their paths
        DONE            written last, with checksums of arrays and records

The name depends on the config's non-default fields alone, so that new fields with
defaults leave old names as they were. Every file is written beside its place and
renamed into it: a killed run leaves no half file. Nothing is ever unpickled.

    run = runs.read(folder)   # run.config, run.records, run.arrays("seed_00")
"""

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
from sparsejax.runs._folders import (
    Run,
    as_line,
    file_name,
    finish,
    name,
    read,
    read_metrics,
    start,
    write_metrics,
)

__all__ = [
    "AnyPath",
    "DamagedFile",
    "Run",
    "as_line",
    "atomic",
    "cached",
    "file_name",
    "finish",
    "name",
    "read",
    "read_arrays",
    "read_json",
    "read_metrics",
    "start",
    "write_arrays",
    "write_json",
    "write_metrics",
    "write_text",
]


def __dir__() -> list[str]:
    return list(__all__)
