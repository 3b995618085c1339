"""Memory and disk that a run needs at least, before any of it is taken.

A module of configs may have

    def memory(config) -> dict[str, float]   bytes, by the fields that they are due to
    def disk(config) -> float                bytes of the run's folder

Both count what is there at one time for certain, such as the weights of all networks
that are trained together, and nothing that depends on how they are compiled. So what is
refused could not have run; what is not may still need more.
"""

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def weights(widths: Sequence[int], inputs: int = 0, outputs: int = 0) -> float:
    """Bytes of the kernels of fully connected layers, in float32.

    Example:
        >>> weights((32, 32), inputs=64, outputs=10)
        13568.0
    """
    sizes = [inputs, *widths, outputs]
    return 4.0 * sum(a * b for a, b in zip(sizes, sizes[1:]))


def convolutions(widths: Sequence[int]) -> float:
    """Bytes of 3 x 3 kernels from every width to the next, in float32."""
    return 9 * weights(widths)


def check(spec: Any, config: Any, out: str | Path) -> None:
    """Raise a `ValueError` if a run needs more than there is.

    Args:
        spec: the experiment's module of configs.
        config: its config.
        out: folder that the run's will be in.
    """
    parts = spec.memory(config) if hasattr(spec, "memory") else {}
    needed, there = sum(parts.values()), memory()
    if needed > there:
        most = max(parts, key=lambda name: parts[name])
        raise ValueError(
            f"a run of this size needs at least {_size(needed)} of memory, more than "
            f"the {_size(there)} of this machine; take less of {most}"
        )
    needed = spec.disk(config) if hasattr(spec, "disk") else 0.0
    there = free(Path(out))
    if needed > there:
        raise ValueError(
            f"a run of this size leaves at least {_size(needed)} of files, more than "
            f"the {_size(there)} free in {out}; choose another --out"
        )


def memory() -> float:
    """Bytes of memory of this machine, or that this process may take; else infinity."""
    try:
        limits = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    except (AttributeError, ValueError, OSError):
        limits = []
    for name in _LIMITS:
        try:
            limits.append(float(Path(name).read_text()))
        except (OSError, ValueError):  # "max"
            pass
    return min(limits, default=math.inf)


def free(folder: Path) -> float:
    """Bytes free where a folder is, or will be."""
    folder = Path(os.path.abspath(folder))
    places = [place for place in (folder, *folder.parents) if place.exists()]
    try:
        return float(shutil.disk_usage(places[0]).free)
    except OSError:
        return math.inf


def _size(count: float) -> str:
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 1000:
            return f"{count:.3g} {unit}"
    return f"{count:,.0f} TB"
