"""Launchers on a file system that fills up: one line, and resumed to the same bits.

    python tests/reliability/full_disk.py --only=lottery,right_reasons --sizes=8

Every run is begun on a tmpfs (which root alone can mount) that holds a share of its
files, some of them at each of so many sizes. Then the file system is made larger, and
the same command has to end with the files of an undisturbed run, byte for byte.
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import harness
import numpy as np
import trials


def mounted(folder, size, *, again=False):
    """A file system of a size in bytes, or the one that is there made so large."""
    options = f"{'remount,' * again}size={size}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True)


def trial(case, disk, size):
    """How many files the disk held."""
    said = disk.with_suffix(".txt")
    disk.mkdir()
    mounted(disk, size)
    try:
        out = disk / "runs"
        (disk / "runs.txt").symlink_to(said)  # what it says needs no room here
        status, lines = trials.ended(*trials.start(case.name, case.flags, out))
        trials.check_line(status, lines, "No space left on device")
        if list(out.glob("*/DONE")):
            raise trials.Failed("it is called complete")
        if left := [p for p in out.rglob(".*") if p.is_file()]:
            raise trials.Failed(f"it leaves {left}")
        files = sum(path.is_file() for path in out.rglob("*"))
        mounted(disk, 1 << 30, again=True)
        status, lines = trials.ended(*trials.start(case.name, case.flags, out))
        if status:
            raise trials.Failed(f"it ended with {status}: {lines}")
        (folder,) = out.iterdir()
        trials.check_same(case, folder)
        return files
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        disk.rmdir()


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="lottery,right_reasons", help="launchers")
    parser.add_argument("--sizes", type=int, default=8, help="file systems for each")
    options = parser.parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="full-disk-"))
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": str(work / "compiled"),
                   "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                   "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # fmt: skip
    trials.begin()
    failed = 0
    for case in harness.prepared(work, options.only.split(",")):
        page = os.sysconf("SC_PAGE_SIZE")
        whole = sum(-(-len(content) // page) * page for content in case.whole.values())
        for share in np.linspace(0.05, 0.9, options.sizes):
            size = int(share * whole) // page * page
            try:
                files = trial(case, work / "disk", size)
                print(f"{case.name}, {size:,} of {whole:,} bytes: full after {files} "
                      "files, then the same", flush=True)  # fmt: skip
            except Exception as error:
                failed += 1
                print(f"FAILED {case.name}, {size:,} bytes: {error}", flush=True)
    return harness.ended(failed, work)


if __name__ == "__main__":
    harness.script(main)
