"""Launchers in turn in one process, alone or one of two: less time for imports.

Run by `test_launch_processes.py` with a file of lists of flags, a folder for what
follows --out, and, for each of two processes, a port and its number. A line on stdout
says the CPU-seconds of each.
"""

import importlib
import json
import sys
import time
from pathlib import Path

from sparsejax import _launch, _processes

flags, out, *where = sys.argv[1:]
address = f"127.0.0.1:{where[0]}" if where else None
with _processes.ending():
    if where:
        _processes.join(False, address, 2, int(where[1]))
    for name, *rest in json.loads(Path(flags).read_text()):
        began = time.process_time()
        spec = importlib.import_module(f"sparsejax.experiments.{name}.config")
        _launch.called(name, spec, ["sparsejax", *rest, f"--out={out}/{name}"], "")
        print(f"# {name}: {time.process_time() - began:.1f} s", flush=True)
