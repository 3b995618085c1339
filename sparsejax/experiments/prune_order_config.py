"""What a run on the order of training and pruning does: its config, and defaults."""

import dataclasses
from typing import NamedTuple

from sparsejax import data, prune, trees
from sparsejax.experiments import fields

CHOICES = {
    "dataset": ("spiral", *data.NAMES),
    "remove": ("nodes", "weights"),
    "means": ("at_once", "sequential"),
}
WITHIN = {
    "widths": fields.WIDTHS,
    "seeds": fields.SEEDS,
    "fraction": "[0, 1)",
    "learning_rates": fields.POSITIVE,
    "steps": fields.COUNTS,
    "finetune_steps": fields.WHOLE,
    "batch_size": fields.WHOLE,
    "examples": "[2, 2^31)",
    "test_examples": "[2, 2^31)",
    "turns": "(-inf, inf)",
    "noise": "[0, inf)",
    "data_seed": fields.SEEDS,
    "frames": "[0, 1000]",
}
SELECTIONS = {"nodes": ("random", "std"), "weights": ("random", "magnitude")}
# in words
LABELS = {
    "trained": "trained",
    "train_prune": "train, prune",
    "prune_train": "prune, train",
    "tuned": "train, prune, fine-tune",
}
SHORT = {
    "random": "random",
    "std": "smallest deviation",
    "magnitude": "smallest magnitude",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run.

    Attributes:
        dataset: "spiral" (two arms in the plane), "digits" (embedded), "mnist" or
            "fashion_mnist".
        widths: hidden units of every layer; by default (50, 50), for images (32, 32).
        seeds: a network each, trained together; launchers read 0:20 as 0,1,...,19.
        remove: "nodes" (hidden units, the bias of the next layer takes over their mean)
            or "weights" (single entries of kernels).
        fraction: part of the units, or of the weights, of every layer that is removed.
        selections: what is removed: "random" ones, the nodes with the smallest
            deviation over the training data ("std"), the weights with the smallest
            "magnitude"; by default both that there are. All but random ones are chosen
            in the trained network, also where they are removed before training.
        means: of the removed nodes (after relu, over the training data; of the initial
            network for what is pruned first): "at_once" from the network as it is, as
            the formula reads, or "sequential": of each layer after the layers before it
            are pruned.
        learning_rates: of Adam; everything is done at each. By default 0.1 and 0.01,
            for images 0.01 and 0.001.
        steps: of a training; by default 1000, for rates below 0.03 2000; three epochs
            of mnist and fashion_mnist (1400), 40 of digits (880).
        finetune_steps: of training after pruning; by default as many as `steps`.
        batch_size: examples a step, 0 for all of them; by default 0, for images 128
            (digits: 64).
        examples: training points of the spiral.
        test_examples: test points of the spiral.
        turns: of the spiral.
        noise: of the spiral, a standard deviation in units of its radius.
        data_seed: of the spiral's points and of the order of the data, both shared by
            all seeds.
        frames: pictures of the animation of the first network, none for 0 (spiral).
    """

    dataset: str = "spiral"
    widths: tuple[int, ...] = ()
    seeds: tuple[int, ...] = tuple(range(20))
    remove: str = "nodes"
    fraction: float = 0.5
    selections: tuple[str, ...] = ()
    means: str = "at_once"
    learning_rates: tuple[float, ...] = ()
    steps: int | None = None
    finetune_steps: int | None = None
    batch_size: int | None = None
    examples: int = 500
    test_examples: int = 2000
    turns: float = 1.5
    noise: float = 0.02
    data_seed: int = 0
    frames: int = 40


class _Usual(NamedTuple):
    widths: tuple[int, ...]
    learning_rates: tuple[float, ...]
    steps: int
    batch_size: int


_USUAL = {
    "spiral": _Usual((50, 50), (0.1, 0.01), 1000, 0),
    "digits": _Usual((32, 32), (0.01, 0.001), 880, 64),
    "mnist": _Usual((32, 32), (0.01, 0.001), 1400, 128),
    "fashion_mnist": _Usual((32, 32), (0.01, 0.001), 1400, 128),
}


def widths(config: Config) -> tuple[int, ...]:
    """Hidden units of every layer."""
    return config.widths or _USUAL[config.dataset].widths


def selections(config: Config) -> tuple[str, ...]:
    """How nodes or weights are chosen."""
    return config.selections or SELECTIONS[config.remove]


def learning_rates(config: Config) -> tuple[float, ...]:
    """Learning rates."""
    return config.learning_rates or _USUAL[config.dataset].learning_rates


def batch_size(config: Config) -> int:
    """Examples a step, 0 for all."""
    usual = _USUAL[config.dataset].batch_size
    return usual if config.batch_size is None else config.batch_size


def steps(config: Config, rate: float) -> tuple[int, int]:
    """Steps of a training, and of fine-tuning, at a learning rate."""
    slow = config.dataset == "spiral" and rate < 0.03
    usual = _USUAL[config.dataset].steps * (2 if slow else 1)
    training = usual if config.steps is None else config.steps
    tuning = training if config.finetune_steps is None else config.finetune_steps
    return training, tuning


def check(config: Config) -> None:
    """Raise a `ValueError` for a config that cannot be run."""
    fields.check(config, WITHIN, CHOICES)
    known = SELECTIONS[config.remove]
    if unknown := [name for name in config.selections if name not in known]:
        raise ValueError(
            f"{config.remove} cannot be selected by {trees.listed(unknown)}; "
            f"there are {trees.listed(known)}"
        )
    _check_fraction(config)


def _check_fraction(config) -> None:
    """Whether something is left of every layer."""
    outputs = 1 if config.dataset == "spiral" else 10
    sizes = widths(config)
    if config.remove == "weights":  # of the first kernel more is left than of others
        ends = zip(sizes, (*sizes[1:], outputs), strict=True)
        sizes = [before * after for before, after in ends]
    if not all(prune.kept_count(size, config.fraction) for size in sizes):
        raise ValueError(
            f"fraction {config.fraction} would leave nothing of a layer of "
            f"{min(sizes)} {config.remove}"
        )
