"""Levels of lottery runs on disk: written whole, read again, gone on with.

<folder>/rewind.npz                the state that every round rewinds to
<folder>/level_03/checkpoint.npz   mask/..., params/..., opt_state/..., step, key
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sparsejax import runs, train, trees
from sparsejax.prune import Ticket


def save(folder: Path, ticket: Ticket) -> None:
    """Write a level; the rewind point goes with level 0."""
    if not ticket.level:
        runs.write_arrays(folder / "rewind.npz", _arrays(ticket.start, ticket.mask))
    arrays = _arrays(ticket.trained, ticket.mask)
    runs.write_arrays(_path(folder, ticket.level), arrays)


def read_level(folder: Path, level: int) -> dict[str, np.ndarray]:
    """The arrays of one level.

    Raises:
        runs.DamagedFile: if they cannot be read.
    """
    return runs.read_arrays(_path(folder, level))


def read_params(folder: Path, level: int) -> PyTree:
    """The parameters of one level, removed weights zero."""
    arrays = read_level(folder, level)
    only = {k: v for k, v in arrays.items() if k.startswith("params/")}
    if not only:
        raise runs.DamagedFile(f"{_path(folder, level)} holds no parameters")
    return jax.tree.map(jnp.asarray, trees.nested(only)["params"])


def resume(
    folder: Path,
    state: train.State,
    mask: PyTree,
    measured: Collection[int],
    report: Callable[[str], Any],
) -> list[Ticket]:
    """The tickets of measured levels, up to the first that cannot be read.

    Args:
        folder: where levels lie.
        state: one of the same form.
        mask: likewise.
        measured: the levels whose records are there.
        report: called with a line on what is found, or damaged.
    """
    like = {"mask": jax.tree.map(lambda m: m.astype(bool), mask), **state._asdict()}

    def read(path):
        saved = trees.from_arrays(runs.read_arrays(path), like)

        def cast(saved, leaf):
            return saved.astype(leaf.dtype)

        kept = jax.tree.map(cast, saved.pop("mask"), mask)
        return train.State(**saved), kept

    tickets: list[Ticket] = []
    while (level := len(tickets)) in measured and _path(folder, level).exists():
        try:
            rewind, _ = read(folder / "rewind.npz")
            trained, kept = read(_path(folder, level))
        except ValueError as error:
            report(f"damaged: {error}; making level {level} again")
            break
        tickets.append(Ticket(level, kept, rewind, trained))
    if tickets:
        report(f"going on after level {len(tickets) - 1} in {folder}")
    return tickets


def _path(folder: Path, level: int) -> Path:
    return folder / f"level_{level:02d}" / "checkpoint.npz"


def _arrays(state: train.State, mask: PyTree) -> dict[str, np.ndarray]:
    saved = trees.to_arrays({"mask": mask, **state._asdict()})

    def small(key, array):
        return array.astype(bool) if key.startswith("mask/") else array

    return {key: small(key, array) for key, array in saved.items()}
