"""Finished levels of a lottery run, read: which there are, and each network."""

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import PyTree

from sparsejax import models, trees
from sparsejax.experiments._study import config as config_
from sparsejax.experiments.lottery import build, checkpoints
from sparsejax.experiments.lottery.config import ARMS, Config, resolve

_LIKE = {"arm": str, "level": int, "seed": int, "density": (int, float)}


class Run(NamedTuple):
    """A lottery run, finished or not.

    Attributes:
        folder: where it lies.
        config: its config, with everything filled in.
        records: lines of `metrics.jsonl`.
        levels: the finished levels of every arm that has any, "rewind" first. Dense
            networks are at level 0 of "rewind" alone.
    """

    folder: Path
    config: Config
    records: list[dict[str, Any]]
    levels: dict[str, tuple[int, ...]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in the order of the arrays."""
        return self.config.seeds

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that have a finished level."""
        return tuple(self.levels)


def read(folder: str | Path) -> Run:
    """A lottery run.

    Args:
        folder: the run's.

    Raises:
        ValueError: if it is none, or has no finished level.

    Example:
        >>> run = read("results/runs/lottery/default-44136fa3")  # doctest: +SKIP
        >>> params, mask = network(run, level=12, seed=3)  # doctest: +SKIP
    """
    folder = Path(folder)
    config = read_config(folder)
    records = config_.records(folder, _LIKE)
    levels = {arm: checkpoints.levels(folder, arm) for arm in ARMS}
    levels = {arm: there for arm, there in levels.items() if there}
    if "rewind" not in levels:
        raise ValueError(f"{folder} has no finished level yet")
    return Run(folder, resolve(config), records, levels)


def read_config(folder: str | Path) -> Config:
    """The config of a lottery run, as it was given.

    Raises:
        ValueError: if the folder is none.
    """
    return config_.read(folder, "lottery", Config)


def network(
    run: Run, arm: str = "rewind", level: int | None = None, seed: int | None = None
) -> tuple[PyTree, PyTree]:
    """Parameters, removed weights zero, and mask of one network.

    Args:
        run: from `read`.
        arm: how it was made, one of `ARMS`.
        level: number of prunings; by default the last that is there.
        seed: of its first parameters; by default the first.

    Raises:
        ValueError: if the run has no such arm, level or seed.
    """
    if arm not in run.levels:
        raise ValueError(
            f"{run.folder} has no arm {arm!r}; there are {trees.listed(run.levels)}"
        )
    at = run.seeds.index(_seed(run, seed))
    there = run.levels[arm]
    level = there[-1] if level is None else level
    if level not in there:
        of = "" if arm == "rewind" else f" of {arm}"
        raise ValueError(
            f"{run.folder} has no level {level}{of}; there are {there[0]} to "
            f"{there[-1]}"
        )
    return checkpoints.read_network(run.folder, level, arm, at, len(run.seeds))


def untrained(
    run: Run, shape: tuple[int, ...], seed: int | None = None
) -> tuple[PyTree, PyTree]:
    """Parameters of a network before its first training, and a mask that keeps all.

    Args:
        run: from `read`.
        shape: of one input.
        seed: of the parameters; by default the first.
    """
    _, mask = network(run, level=0, seed=seed)
    at = run.seeds.index(_seed(run, seed))
    return model(run).init(build.keys(run.config)[0][at], jnp.zeros(shape)), mask


def model(run: Run) -> models.Model:
    """The network of a run; it takes images in [0, 1], flat ones if it is an MLP."""
    params, _ = network(run, level=0)
    return build.model(run.config, build.outputs(params))


def _seed(run: Run, seed: int | None) -> int:
    seed = run.seeds[0] if seed is None else seed
    if seed not in run.seeds:
        raise ValueError(
            f"{run.folder} has no seed {seed}; there are {trees.listed(run.seeds)}"
        )
    return seed
