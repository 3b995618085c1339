"""Levels of a lottery run on disk: written whole, read again, gone on with.

    <folder>/rewind.npz           the state that every round rewinds to
    <folder>/level_03/ARM.npz     mask/..., params/...; of arms that prune by
                                  themselves also opt_state/..., step, key

Every array has a leading axis over seeds.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sparsejax import runs, train, trees


def path(folder: Path, level: int, arm: str) -> Path:
    """The file of an arm at a level."""
    return folder / f"level_{level:02d}" / f"{arm}.npz"


def levels(folder: Path, arm: str) -> tuple[int, ...]:
    """The levels of an arm that are there."""
    names = (file.parent.name for file in folder.glob(f"level_*/{arm}.npz"))
    numbers = (name.removeprefix("level_") for name in names)
    return tuple(sorted(int(number) for number in numbers if number.isdecimal()))


def save_rewind(folder: Path, state: train.State) -> None:
    """Write the state that rounds rewind to."""
    runs.write_arrays(folder / "rewind.npz", trees.to_arrays(state._asdict()))


def save_state(
    folder: Path, level: int, arm: str, state: train.State, mask: PyTree
) -> None:
    """Write all of an arm that prunes on from here."""
    arrays = trees.to_arrays({"mask": mask, **state._asdict()})
    runs.write_arrays(path(folder, level, arm), _small(arrays))


def save_network(
    folder: Path, level: int, arm: str, params: PyTree, mask: PyTree
) -> None:
    """Write the networks of an arm that ends here."""
    arrays = trees.to_arrays({"mask": mask, "params": params})
    runs.write_arrays(path(folder, level, arm), _small(arrays))


def read_rewind(folder: Path, like: train.State) -> train.State:
    """The state that rounds rewind to.

    Args:
        folder: of the run.
        like: a state of the same form.

    Raises:
        ValueError: if it cannot be read, or is of another form.
    """
    arrays = runs.read_arrays(folder / "rewind.npz", sealed=True)
    return train.State(**trees.from_arrays(arrays, like._asdict()))


def read_state(
    folder: Path, level: int, arm: str, like: train.State, mask: PyTree
) -> tuple[train.State, PyTree]:
    """State and mask of an arm at a level.

    Args:
        folder: of the run.
        level: number of prunings.
        arm: one that prunes by itself.
        like: a state of the same form.
        mask: a mask of the same form.

    Raises:
        ValueError: if they cannot be read, or are of another form.
    """
    form = {"mask": jax.tree.map(lambda m: m.astype(bool), mask), **like._asdict()}
    arrays = runs.read_arrays(path(folder, level, arm), sealed=True)
    saved = trees.from_arrays(arrays, form)
    kept = jax.tree.map(lambda m, one: m.astype(one.dtype), saved.pop("mask"), mask)
    return train.State(**saved), kept


def read_network(
    folder: Path, level: int, arm: str, at: int, seeds: int, *, sealed: bool = False
) -> tuple[PyTree, PyTree]:
    """Parameters and mask of one network.

    Args:
        folder: of the run.
        level: number of prunings.
        arm: its name.
        at: position of the seed.
        seeds: number of seeds.
        sealed: whether the file's checksum must be there.

    Raises:
        runs.DamagedFile: if they are not there.
    """
    file = path(folder, level, arm)
    there = runs.read_arrays(file, sealed=sealed)
    arrays = {k: v for k, v in there.items() if k.startswith(("params/", "mask/"))}
    wrong = [key for key, array in arrays.items() if array.shape[:1] != (seeds,)]
    if wrong or {key.partition("/")[0] for key in arrays} != {"params", "mask"}:
        raise runs.DamagedFile(f"{file} holds no networks of {seeds} seeds")
    one = trees.nested({key: jnp.asarray(array[at]) for key, array in arrays.items()})
    return one["params"], one["mask"]


def _small(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    def small(key, array):
        return array.astype(bool) if key.startswith("mask/") else array

    return {key: small(key, array) for key, array in arrays.items()}
