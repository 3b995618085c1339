"""Train first or prune first: three orders of training and pruning, many seeds.

The source's spiral, 2-50-50-1, half of the nodes, at learning rates 0.1 and 0.01:
    sparsejax prune_order

Single weights instead of nodes:
    sparsejax prune_order --remove=weights

Whether MNIST says the same, with nodes or with --remove=weights:
    sparsejax prune_order --dataset=mnist --data_dir=DIR --seeds=0:5

A quick look:
    sparsejax prune_order --seeds=0:3

Every run leaves a folder below --out: config, metrics.jsonl, the networks, figures, an
animation (spiral), tables and index.html. Started again after a kill, it goes on where
it was.
"""

import dataclasses
from fractions import Fraction
from typing import NamedTuple

from sparsejax._words import listed
from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study.config import COUNTS, POSITIVE, SEEDS, WHOLE, WIDTHS

SUBJECT = ()
CHOICES = {
    "dataset": ("spiral", "digits", "mnist", "fashion_mnist"),
    "remove": ("nodes", "weights"),
    "means": ("at_once", "sequential"),
}
WITHIN = {
    "widths": WIDTHS,
    "seeds": SEEDS,
    "fraction": "[0, 1)",
    "learning_rates": POSITIVE,
    "steps": COUNTS,
    "finetune_steps": WHOLE,
    "batch_size": WHOLE,
    "num_points": "[2, 2^31)",
    "num_test_points": "[2, 2^31)",
    "turns": "(-inf, inf)",
    "noise": "[0, inf)",
    "data_seed": SEEDS,
    "num_frames": "[0, 1000]",
}
SELECTIONS = {"nodes": ("random", "std"), "weights": ("random", "magnitude")}
ORDERS = ("trained", "train_prune", "prune_train", "tuned")
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
    """Choices of a run.

    Attributes:
        dataset: Points or images to classify: "spiral" (two arms in the plane),
            "digits" (embedded), "mnist" or "fashion_mnist".
        widths: Numbers of hidden units of the layers; by default (50, 50), for images
            (32, 32).
        seeds: Seeds of the networks, which train together; 0:20 is 0,1,...,19.
        remove: Parts that are removed: "nodes" (hidden units, whose mean the bias of
            the next layer takes over) or "weights" (single entries of kernels).
        fraction: Part of the units, or of the weights, of every layer that is removed.
        selections: Ways to choose these: "random" ones, the nodes with the smallest
            deviation over the training data ("std"), the weights with the smallest
            "magnitude"; by default both that there are. All but random ones are chosen
            in the trained network, also where they are removed before training.
        means: Means of the removed nodes (after relu, over the training data; of the
            initial network for what is pruned first): "at_once" from the network as it
            is, as the formula reads, or "sequential": of each layer after the layers
            before it are pruned.
        learning_rates: Learning rates of Adam; everything is done at each. By default
            0.1 and 0.01, for images 0.01 and 0.001.
        steps: Number of steps of a training; by default 1000, for rates below 0.03
            2000; three epochs of mnist and fashion_mnist (1400), 40 of digits (880).
        finetune_steps: Number of steps of training after pruning; by default as many as
            `steps`.
        batch_size: Number of examples in a step, 0 for all of them; by default 0, for
            images 128 (digits: 64).
        num_points: Number of training points of the spiral.
        num_test_points: Number of test points of the spiral.
        turns: Number of turns of the spiral.
        noise: Standard deviation of the spiral's points, in units of its radius.
        data_seed: Seed of the spiral's points and of the order of the data, both shared
            by all networks.
        num_frames: Number of pictures of the animation of the first network, none for 0
            (spiral).
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
    num_points: int = 500
    num_test_points: int = 2000
    turns: float = 1.5
    noise: float = 0.02
    data_seed: int = 0
    num_frames: int = 40

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
        known = SELECTIONS[self.remove]
        if unknown := [name for name in self.selections if name not in known]:
            raise ValueError(
                f"{self.remove} cannot be selected by {listed(unknown)}; "
                f"there are {listed(known)}"
            )
        _check_fraction(self)


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


def frames(config: Config) -> int:
    """Pictures of the animation, which the spiral alone has."""
    return config.num_frames if config.dataset == "spiral" else 0


def _check_fraction(config: Config) -> None:
    """Whether something is left of every layer."""
    outputs = 1 if config.dataset == "spiral" else 10
    sizes = widths(config)
    if config.remove == "weights":  # of the first kernel more is left than of others
        ends = zip(sizes, (*sizes[1:], outputs), strict=True)
        sizes = [before * after for before, after in ends]
    fraction = Fraction(str(config.fraction))
    if any(round(size * fraction) == size for size in sizes):
        raise ValueError(
            f"fraction {config.fraction} would leave nothing of a layer of "
            f"{min(sizes)} {config.remove}"
        )


def environment(config: Config) -> dict[str, str]:
    """Variables of the process that suit a run, to be set before JAX is used."""
    return config_.ONE_THREAD
