"""A launcher with many lists of flags, one after the other in one process.

Reads its name and the lists, as JSON, from its arguments; prints, as JSON, the line in
which each ended, None where one ended well, and the traceback of what is no such line.
"""

import contextlib
import importlib
import json
import sys
import traceback

from sparsejax import _launch


def ended(name, arguments):
    spec = importlib.import_module(f"sparsejax.experiments.{name}.config")
    argv = ["sparsejax", *arguments]
    try:
        _launch._end_in_a_line(lambda: _launch.called(name, spec, argv, "sparsejax"))
    except SystemExit as end:
        return end.code
    except Exception:
        return traceback.format_exc()


def main(name, cases):
    with contextlib.redirect_stdout(sys.stderr):
        ends = [ended(name, arguments) for arguments in cases]
    print(json.dumps(ends))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
