"""Whether a table over all subsets fits into memory, before it is computed."""

import re
from pathlib import Path

_ROOT = Path("/")
# Limit and use of a container, of version 2 and 1 of control groups.
_GROUPS = (
    ("memory.max", "memory.current", "memory.stat"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
    ),
)
_SAMPLE = "estimate_shapley, estimate_mean, or sweep.evaluate of random masks"


def check(
    needed: int, what: str, instead: str = f"return less from fn, or sample: {_SAMPLE}"
) -> None:
    """Raise a `ValueError` that says what to do if this many bytes are not there."""
    have = available()
    if have is not None and needed > have:
        raise ValueError(
            f"{what} need {needed / 1e9:,.1f} GB, and {have / 1e9:,.1f} GB of memory "
            f"are available; {instead}"
        )


def available() -> int | None:
    """Bytes of memory that a program may still take; None if nothing says so."""
    free = []
    try:
        text = (_ROOT / "proc/meminfo").read_text("ascii")
        free += [1024 * int(kb) for kb in re.findall(r"MemAvailable:\s+(\d+) kB", text)]
    except OSError:  # not Linux
        pass
    for names in _GROUPS:
        try:
            limit, used, about = (
                (_ROOT / "sys/fs/cgroup" / name).read_text("ascii") for name in names
            )
            # files that were read count as used, but make way
            files = re.findall(r"^inactive_file (\d+)", about, re.MULTILINE)
            free.append(int(limit) - int(used) + sum(map(int, files)))
        except (OSError, ValueError):  # no such group, or no limit
            pass
    return min(free, default=None)
