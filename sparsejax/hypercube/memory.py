"""Whether a table over all subsets fits into memory, before it is computed."""

import os
import re
from pathlib import Path


def check(needed: int, what: str) -> None:
    """Raise a `ValueError` that says what to do if this many bytes are not there."""
    have = available()
    if needed > have:
        raise ValueError(
            f"{what} need {needed / 1e9:,.1f} GB, and {have / 1e9:,.1f} GB of memory "
            "are available; return less from fn, or sample: estimate_shapley, "
            "estimate_mean, or sweep.evaluate of random masks"
        )


def available() -> int:
    """Bytes of memory that a program may still take."""
    read = lambda path: Path(path).read_text("ascii")
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", read("/proc/meminfo"))
        free = int(found[1]) * 1024 if found else None
    except OSError:
        free = None
    if free is None:  # not Linux
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    group = "/sys/fs/cgroup/memory."  # the limit of a container
    try:
        limit = int(read(group + "max")) - int(read(group + "current"))
    except (OSError, ValueError):
        return free
    return min(free, limit)
