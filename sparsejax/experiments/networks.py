"""Networks out of run folders, ready to be looked at."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax import data, runs, trees
from sparsejax.experiments import lottery_config


class Network(NamedTuple):
    """A pruned network and what it was tested on.

    Attributes:
        title: what it is, in a few words.
        fn: the function of one input.
        params: its parameters, removed weights zero.
        mask: a tree like `Masks.weights`.
        x: test inputs, shape (n, *shape).
        y: their labels, shape (n,).
        domain: lowest and highest value of an input.
        image: (height, width, channels) of an input that is a picture.
    """

    title: str
    fn: Callable[[Array], Array]
    params: PyTree
    mask: PyTree
    x: Float[np.ndarray, "n ..."]
    y: np.ndarray
    domain: tuple[float, float]
    image: tuple[int, ...] | None


def load(
    folder: Path,
    *,
    seed: int | None = None,
    level: int | None = None,
    data_dir: str | Path | None = None,
) -> Network:
    """A network of a lottery run.

    Args:
        folder: the run's.
        seed: which network; by default the first.
        level: which level; by default the last that is there.
        data_dir: folder of the data set's files.

    Raises:
        ValueError: if the folder is no such run, or has no such seed or level.
    """
    config = _config(folder)
    seeds = list(config.seeds)
    seed = seeds[0] if seed is None else seed
    if seed not in seeds:
        raise ValueError(
            f"{folder} has no seed {seed}; there are {trees.listed(seeds)}"
        )
    levels = sorted(
        int(p.parent.name[6:]) for p in folder.glob("level_*/checkpoint.npz")
    )
    if not levels:
        raise ValueError(f"{folder} has no finished level yet")
    level = levels[-1] if level is None else level
    if level not in levels:
        raise ValueError(
            f"{folder} has no level {level}; there are {levels[0]} to {levels[-1]}"
        )
    arrays = runs.read_arrays(folder / f"level_{level:02d}" / "checkpoint.npz")
    one = {key: array[seeds.index(seed)] for key, array in arrays.items()
           if key.startswith(("params/", "mask/"))}  # fmt: skip
    return lottery(
        config, _tree(one, "params"), _tree(one, "mask"), data_dir, seed, level
    )


def lottery(config, params, mask, data_dir, seed: int, level: int) -> Network:
    """A network of a lottery run, from its parameters and masks."""
    test = data.load(config.dataset, data_dir).test
    x = np.asarray(test.x)
    apply = lottery_config.model(config).apply
    return Network(
        title=f"{config.dataset}, {config.model}, seed {seed}, level {level}",
        fn=lambda x: apply(params, x),
        params=params,
        mask=mask,
        x=x.reshape(len(x), -1) if config.model == "mlp" else x,
        y=np.asarray(test.y),
        domain=(0.0, 1.0),
        image=x.shape[1:],
    )


def _config(folder: Path) -> lottery_config.Config:
    path = folder / "config.json"
    if not path.exists():
        raise ValueError(f"{folder} is no run folder: it has no config.json")
    whole = runs.read_json(path)
    fields: dict[str, Any] = whole.get("config", {}) if isinstance(whole, dict) else {}
    known = {field.name for field in dataclasses.fields(lottery_config.Config)}
    if (
        not isinstance(fields, dict)
        or not {"dataset", "rounds"} <= fields.keys() <= known
    ):
        raise ValueError(
            f"{folder} is not a run of lottery_ticket: see its config.json"
        )
    lists = {k: tuple(v) for k, v in fields.items() if isinstance(v, list)}
    return lottery_config.Config(**{**fields, **lists})


def _tree(arrays: dict[str, Any], root: str) -> PyTree:
    """Nested dicts from arrays under their paths."""
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        first, *folders, last = path.split("/")
        place = tree
        for name in folders if first == root else ():
            place = place.setdefault(name, {})
        if first == root:
            place[last] = jnp.asarray(array)
    return tree
