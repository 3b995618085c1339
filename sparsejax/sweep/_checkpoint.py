"""The checkpoint of a sweep: what it is of, and its finished parts."""

import hashlib
import json
import re
import zlib
from pathlib import Path

import jax
import numpy as np

from sparsejax import interpret, runs, trees

_PART = re.compile(r"masks_\d{10}\.npz")


def sizes(folder, about, batch_size) -> tuple[int | None, int | None]:
    """Sizes of batches and parts of a checkpoint that is to go on; else as given."""
    path = folder / "sweep.json"
    if not path.exists():
        there = list(folder.iterdir()) if folder.exists() else []
        if any(p.name[0] != "." and not _PART.fullmatch(p.name) for p in there):
            raise ValueError(
                f"{folder} has files but no sweep.json: it is not a sweep "
                "checkpoint; choose another folder"
            )
        found = None
    else:
        found = _read_record(path)
    if found is None:  # missing or damaged: whose parts these are can't be told
        for file in list(folder.iterdir()) if folder.exists() else []:
            if _PART.fullmatch(file.name) or file == path:
                file.unlink()
        return batch_size, None
    wanted = {**about, "batch_size": batch_size or found.get("batch_size")}
    wanted["part"] = found.get("part")
    differ = [key for key in wanted if found.get(key, "missing") != wanted[key]]
    if differ:
        raise ValueError(
            f"{folder} holds the checkpoint of another sweep ({', '.join(differ)} "
            "differ); choose another folder or remove it"
        )
    return wanted["batch_size"], wanted["part"]


def write(folder: Path, about) -> None:
    """Write what a checkpoint is of, with a checksum."""
    runs.write_json(folder / "sweep.json", {**about, "crc32": _sum(about)})


def _read_record(path: Path):
    """What `write` wrote, or `None` if it is damaged."""
    try:
        found = runs.read_json(path)
        return found if found.pop("crc32") == _sum(found) else None
    except (runs.DamagedFile, AttributeError, KeyError, TypeError):
        return None


def _sum(about) -> int:
    return zlib.crc32(json.dumps(about, sort_keys=True).encode())


def compare(found, part, folder) -> None:
    """Refuse a part that the same program fills otherwise, beyond rounding."""
    for new, old in zip(jax.tree.leaves(found), jax.tree.leaves(part), strict=True):
        new, old = new[: len(old)].astype(complex), old.astype(complex)
        scale = np.abs(old[np.isfinite(old)]).max(initial=0.0)
        if not np.allclose(new, old, rtol=0, atol=1e-3 * scale, equal_nan=True):
            raise ValueError(
                f"{folder} holds the checkpoint of another function: for the same "
                "masks it recorded other results; choose another folder or remove it"
            )


def described(masks, make, total, shapes) -> dict:
    """What a checkpoint is of: the masks, and shapes and dtypes of their results."""
    leaves = trees.by_path(shapes)
    return {
        "count": total,
        "masks": _digest(masks, make, total),
        "results": {_plain(k): f"{s.dtype}{s.shape}" for k, s in leaves.items()},
    }


def _plain(path: str) -> str:
    """A path as checkpoints record it, not to be read back: names are not escaped."""
    return "/".join(trees.names(path))


def _digest(masks, make, total) -> str:
    """A hash of stacked masks, or of 256 of those that a function makes."""
    stacked = bool(jax.tree.leaves(masks))
    index = np.linspace(0, total - 1, min(total, 256)).astype(np.int32)
    one = interpret.Compiled(make)
    hashed = hashlib.sha256()
    for tree in [masks] if stacked else (one(masks, i) for i in index):
        for name, array in trees.to_arrays(tree).items():
            hashed.update(f"{_plain(name)} {array.dtype} {array.shape}".encode())
            hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()


def fill(file: Path, part) -> bool:
    """Fill a part of the results from its file; whether that was possible."""
    if not file.exists():
        return False
    try:
        arrays = runs.read_arrays(file, sealed=True)
        for name, leaf in numbered(part).items():
            stored = arrays[name]
            if stored.shape != leaf.shape:
                return False
            leaf[...] = stored.view(leaf.dtype)  # files do not know bfloat16
    except (runs.DamagedFile, KeyError, TypeError, ValueError):
        return False  # it is made again
    return True


def numbered(tree) -> dict[str, np.ndarray]:
    """Leaves of results, by their place."""
    return {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(tree))}
