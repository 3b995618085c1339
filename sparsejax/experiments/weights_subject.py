"""The networks of a run, or of a file, whose weights are to be looked at."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import PyTree

from sparsejax.experiments import lottery, networks

ARMS = ("rewind", "finetune", "random_layerwise")  # those that are looked at
TICKETS, _, RANDOM = ARMS


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
    """Networks of a lottery run.

    Args:
        root: folder of the run.
        control: folder of a lottery run that removed weights at random.
        data_dir: folder of the data set's files.

    Raises:
        ValueError: for a folder that is no run, and a control of other networks.
    """
    config = lottery.read_config(root)
    if config.score == "random":
        raise ValueError(f"{root} has random tickets: give it as control")
    if control is not None:
        _check_control(config, root, control)
    run = lottery.read(root)
    places = {arm: (run, arm) for arm in ARMS}
    if control is not None:
        places[RANDOM] = lottery.read(control), TICKETS
    found = [
        {"arm": arm, **{k: record[k] for k in ("seed", "level", "density")}}
        for arm, (place, source) in places.items()
        for record in place.records
        if record["arm"] == source and (arm == TICKETS or record["level"])
    ]
    if not found:
        raise ValueError(f"{root} has no finished level yet")

    def params(network):
        place, source = places[network["arm"]]
        return lottery.network(place, source, network["level"], network["seed"])[0]

    shape = lottery.input_shape(run, data_dir)
    title = f"{run.config.model} on {Path(run.config.dataset).name}"
    return Subject(title, lottery.model(run).apply, shape, found, params)


def of_file(
    model: str, data_dir: str | Path | None, checkpoint: str | Path | None
) -> Subject:
    """A residual network from a file of its parameters."""
    fn, params = networks.residual(model, data_dir, checkpoint)
    size = (32, 32, 3) if model in networks.SMALL else (224, 224, 3)
    one = {"seed": 0, "arm": TICKETS, "level": 0, "density": 1.0}
    return Subject(model, fn, size, [one], lambda network: params)


def _check_control(config, root, control) -> None:
    """Whether a run is another one but for its score."""
    other = lottery.read_config(control)
    free = ("score", "arms", "barrier", "allow_empty")
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
