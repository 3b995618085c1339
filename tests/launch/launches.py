"""Launchers in turn in one of two processes, the first doing each again by itself.

Run by `test_launch_processes.py` with a file of lists of flags, a folder for what is
made, a port and the number of the process; RUN among the flags is the lottery's folder.
A line on stdout ends each launcher, with its CPU-seconds.
"""

import contextlib
import importlib
import json
import sys
import time
from pathlib import Path

from sparsejax import _launch, _processes


@contextlib.contextmanager
def alone(name):
    """No other process, one device, and arrays without figures of them."""
    report = importlib.import_module(f"sparsejax.experiments.{name}.report")
    kept = report.write, _launch._all_devices, [*_processes._watcher]
    report.write = lambda *args, **options: None
    _launch._all_devices = lambda log: contextlib.nullcontext()
    _processes._watcher.clear()
    yield
    report.write, _launch._all_devices, _processes._watcher[:] = kept


def launch(name, flags, out):
    began = time.process_time()
    spec = importlib.import_module(f"sparsejax.experiments.{name}.config")
    _launch.called(name, spec, ["sparsejax", *flags, f"--out={out}/{name}"], "")
    print(f"# {name}: {time.process_time() - began:.1f} s", flush=True)


def main(file, out, port, number):
    with _processes.ending():
        _processes.join(False, f"127.0.0.1:{port}", 2, int(number))
        for name, *flags in json.loads(Path(file).read_text()):
            for run in Path(out, "two", "lottery").glob("*"):  # the first launcher's
                flags = [flag.replace("RUN", str(run)) for flag in flags]
            launch(name, flags, f"{out}/two")
            if _processes.is_first():
                with alone(name):
                    launch(name, flags, f"{out}/one")


if __name__ == "__main__":
    main(*sys.argv[1:])
