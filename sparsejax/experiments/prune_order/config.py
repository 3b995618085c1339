"""Train first or prune first: three orders of training and pruning, many seeds.

The spiral of Hobson, "Train first VS prune first in neural networks": 2-50-50-1, half
of the nodes removed, at learning rates 0.1 and 0.01:
    sparsejax prune_order

Single weights instead of nodes:
    sparsejax prune_order --remove=weights

The same on MNIST, with nodes or with --remove=weights:
    sparsejax prune_order --dataset=mnist --data_dir=DIR --seeds=0:5

A quick look:
    sparsejax prune_order --seeds=0:3

A run leaves a folder with its config, metrics.jsonl, the networks, figures, an
animation (spiral), tables and index.html. An interrupted run resumes when started
again.
"""

import dataclasses
from fractions import Fraction
from typing import NamedTuple

from sparsejax._words import listed
from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study import needs
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
            "digits" (from scikit-learn), "mnist" or "fashion_mnist".
        widths: Numbers of hidden units; by default 50,50 (spiral) or 32,32 (images).
        seeds: Seeds of the networks, which train together; 0:20 is 0,1,...,19.
        remove: Parts to remove: "nodes" (hidden units, whose mean goes into the biases
            of the next layer) or "weights" (single entries of kernels).
        fraction: Fraction of the nodes, or weights, of every layer that is removed.
        selections: Ways to select what is removed: "random", smallest standard
            deviation over the training data ("std", nodes) or smallest "magnitude"
            (weights); by default random and the other one. Deviations and magnitudes
            are those of the trained network, even for pruning before training.
        means: Means that replace removed nodes (after relu, over the training data; for
            networks pruned first, before training): "at_once", all from the unpruned
            network, or "sequential", each layer's with the layers before it pruned.
        learning_rates: Learning rates of Adam; the whole experiment is run at each. By
            default 0.1 and 0.01 (images: 0.01 and 0.001).
        steps: Number of training steps; by default 1000, or 2000 at rates below 0.03
            (mnist and fashion_mnist: 1400, three epochs; digits: 880, 40 epochs).
        finetune_steps: Number of training steps after pruning; by default `steps`.
        batch_size: Number of examples in a step, 0 for all; by default 0 (mnist and
            fashion_mnist: 128, digits: 64).
        num_points: Number of training points of the spiral.
        num_test_points: Number of test points of the spiral.
        turns: Number of turns of the spiral.
        noise: Standard deviation of the noise on the spiral's points, in units of its
            radius.
        data_seed: Seed of the spiral's points and of the data order, which the networks
            share.
        num_frames: Number of frames of the first network's animation (spiral only); 0
            for none.
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


def memory(config: Config) -> dict[str, float]:
    """Bytes of the networks of all seeds in training, and of their data."""
    return {
        "widths or seeds": 4 * needs.weights(config.widths) * len(config.seeds),
        "num_points or num_test_points": 12.0
        * max(config.num_points, config.num_test_points),
    }


def disk(config: Config) -> float:
    """Bytes of the networks of all seeds after one training."""
    return 0.8 * needs.weights(config.widths) * len(config.seeds)
