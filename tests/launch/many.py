"""A launcher with many lists of flags, one after the other in one process.

Reads its name and the lists, as JSON, from its arguments; prints, as JSON, the line in
which each ended, None where one ended well, and the traceback of what is no such line.
"""

import contextlib
import importlib
import json
import runpy
import sys
import traceback
from pathlib import Path

LAUNCH = Path(__file__).parents[2] / "launch"
sys.path.insert(0, str(LAUNCH))

import common  # noqa: E402
from absl import flags  # noqa: E402

from sparsejax import _launch  # noqa: E402
from sparsejax.experiments import EXPERIMENTS  # noqa: E402


def ended(main, arguments):
    flags.FLAGS.unparse_flags()
    try:
        common.called(main, common.parsed(["launcher", *arguments]))
    except SystemExit as end:
        return end.code
    except Exception:
        return traceback.format_exc()


def ended_in_harness(name, arguments):
    spec = importlib.import_module(f"sparsejax.experiments.{name}.config")
    argv = ["sparsejax", *arguments]
    try:
        _launch._end_in_a_line(lambda: _launch.called(name, spec, argv, "sparsejax"))
    except SystemExit as end:
        return end.code
    except Exception:
        return traceback.format_exc()


def main(name, cases):
    if name in EXPERIMENTS:
        with contextlib.redirect_stdout(sys.stderr):
            ends = [ended_in_harness(name, arguments) for arguments in cases]
        print(json.dumps(ends))
        return
    mains = []
    common.run = mains.append
    with contextlib.redirect_stdout(sys.stderr):
        runpy.run_path(str(LAUNCH / f"{name}.py"), run_name="__main__")
        found = [ended(mains[0], arguments) for arguments in cases]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
