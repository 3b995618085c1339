"""The networks of a run, or of a file, whose weights are to be looked at."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree

from sparsejax import runs
from sparsejax.experiments import checkpoints, fields, networks, residual_config

TICKETS, RANDOM = "rewind", "random"  # names of arms
_LIKE = {"seed": int, "arm": str, "level": int, "density": (int, float)}


class Subject(NamedTuple):
    """Networks of one form.

    Attributes:
        title: what they are.
        fn: `fn(params, x)`, logits.
        size: shape of x: (height, width, channels), or (inputs,).
        networks: of each its seed, arm, level and density; dense ones among the
            tickets.
        params: of one of these.
    """

    title: str
    fn: Callable
    size: tuple[int, ...]
    networks: list[dict[str, Any]]
    params: Callable[[dict[str, Any]], PyTree]


def of_run(
    root: str | Path, control: str | Path | None, data_dir: str | Path | None
) -> Subject:
    """Networks of a run of launch/train.py or of launch/lottery_ticket.py.

    Args:
        root: folder of the run.
        control: folder of a lottery run that removed weights at random.
        data_dir: folder of the data set's files.

    Raises:
        ValueError: for a folder that is no run, and a control of other networks.
    """
    root = Path(root)
    path = root / "config.json"
    whole = runs.read_json(path) if path.exists() else None
    found = whole.get("config") if isinstance(whole, dict) else None
    if "arms" not in (found if isinstance(found, dict) else {}):
        return _lottery(root, None if control is None else Path(control))
    if control is not None:
        raise ValueError(f"{root} has random tickets of its own (--arms): drop control")
    return _residual(root, data_dir)


def of_file(
    model: str, data_dir: str | Path | None, checkpoint: str | Path | None
) -> Subject:
    """A residual network from a file of its parameters."""
    fn, params = networks.residual(model, data_dir, checkpoint)
    size = (32, 32, 3) if model in networks.SMALL else (224, 224, 3)
    one = {"seed": 0, "arm": TICKETS, "level": 0, "density": 1.0}
    return Subject(model, fn, size, [one], lambda network: params)


def _residual(root: Path, data_dir) -> Subject:
    config = residual_config.read(root)
    shape = (32, 32, 3)
    if config.size:
        shape = config.size, config.size, 3
    elif config.dataset not in ("scenes", "cifar10"):
        shape = residual_config.task(config, data_dir).test[0].shape[1:]
    found = fields.records(root, _LIKE)
    if not found:
        raise ValueError(f"{root} has no finished arm yet")
    kept = ("seed", "arm", "level", "density")

    def params(network):
        where = root / f"seed_{network['seed']}" / network["arm"]
        return checkpoints.read_params(where, network["level"])

    first = [
        {k: record[k] for k in kept} for record in found
        if record["level"] or record["arm"] == TICKETS  # arms share the dense network
    ]  # fmt: skip
    outputs = residual_config.outputs(params(first[0]))
    title = f"{config.model} on {Path(config.dataset).name}"
    fn = residual_config.model(config, outputs).apply
    return Subject(title, fn, shape, first, params)


def _lottery(root: Path, control: Path | None) -> Subject:
    config = networks.read(root)
    model, shape = networks.blank(config.dataset, config.model, config.widths)
    if config.score == "random":
        raise ValueError(f"{root} has random tickets: give it as control")
    places = {TICKETS: root}
    if control is not None:
        other = networks.read(control)
        free = ("score", "controls", "barrier", "allow_empty")
        wrong = [
            field.name for field in dataclasses.fields(config)
            if field.name not in free
            and getattr(config, field.name) != getattr(other, field.name)
        ]  # fmt: skip
        if wrong or other.score != "random":
            raise ValueError(
                f"{control} is no control of {root}: it must be the same run with "
                f"--score=random, but differs in {', '.join(wrong) or 'no other way'}"
            )
        places[RANDOM] = control
    found, like = [], {k: _LIKE[k] for k in ("seed", "level", "density")}
    for arm, place in places.items():
        for record in fields.records(place, {**like, "variant": str}):
            kept = {k: record[k] for k in ("seed", "level", "density")}
            if record["variant"] == "ticket" and (arm == TICKETS or record["level"]):
                found.append({"arm": arm, **kept})
    if not found:
        raise ValueError(f"{root} has no finished level yet")

    def params(network):
        at = list(config.seeds).index(network["seed"])
        stacked = checkpoints.read_params(places[network["arm"]], network["level"])
        return jax.tree.map(lambda leaf: leaf[at], stacked)

    title = f"{config.model} on {config.dataset}"
    return Subject(title, model.apply, shape, found, params)
