r"""Node masks on a network: what is left when units are removed, and which to keep.

Handwritten digits (embedded), an MLP of 32 and 32 hidden units, some seconds:
    sparsejax node_sweep

All subsets of one layer, exactly:
    sparsejax node_sweep --nodes=hidden_1 --widths=32,16 --distribution=subsets

Exactly half of the units, and exactly 16 of them:
    sparsejax node_sweep --distribution=fixed_size --subset_sizes=0.5,16

Channels of a convolutional network on MNIST (20 minutes on two cores):
    sparsejax node_sweep --dataset=mnist --data_dir=DIR --model=convnet \
        --num_test_images=200 --num_masks=500

The last network of a lottery run:
    sparsejax node_sweep --run=results/runs/lottery/NAME

A run leaves a folder with its config, network.npz (the parameters), metrics.jsonl (a
line for each distribution), keep_P.npz (masks with loss, accuracy and gradient),
units.npz (scores of units), kept.npz (networks of the best units), figures, table.md
and index.html. An interrupted run resumes when started again.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study import needs
from sparsejax.experiments._study.config import COUNTS, SEEDS, WHOLE, WIDTHS
from sparsejax.experiments._study.shares import Shares

SUBJECT = ("run", "arm", "run_seed", "level")
CHOICES = {
    "dataset": ("digits", "mnist", "fashion_mnist", "circle", "circle_published"),
    "model": ("mlp", "convnet"),
    "distribution": ("bernoulli", "fixed_size", "subsets"),
}
WITHIN = {
    "widths": WIDTHS,
    "epochs": COUNTS,
    "network_seed": SEEDS,
    "num_units": COUNTS,
    "keep_probs": "[0, 1]",
    "subset_sizes": "[0, 2^31)",
    "num_masks": "[2, 2^31)",
    "num_test_images": WHOLE,
    "num_permutations": WHOLE,
    "seed": SEEDS,
    "batch_size": COUNTS,
}
NETWORK = ("dataset", "model", "widths", "epochs", "network_seed")


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run.

    Attributes:
        dataset: Data to train a network on, without --run: "digits" (from
            scikit-learn), "mnist", "fashion_mnist", "circle" (two inputs; half of the
            square inside) or "circle_published" (62.67% inside).
        model: Network to train, without --run: "mlp" or "convnet".
        widths: Numbers of hidden units, or channels of the convolutions; by default
            32,32 (mlp), 6,6,6 (convnet) and 20 (circles).
        epochs: Number of passes over the training data; by default 3 (digits: 40,
            circles: 20).
        network_seed: Seed of the network's training, and of the circle's points.
        nodes: Names of the activations whose units are removed, such as hidden_0; by
            default all.
        num_units: Number of units of `nodes` to sweep, those whose activation varies
            most; the others stay on. By default all.
        distribution: Masks to draw: "bernoulli" (every unit kept with a probability),
            "fixed_size" (a fixed number of units kept) or "subsets" (all 2^n).
        keep_probs: Probabilities that a unit is kept: one sweep for each (bernoulli),
            or those at which the exact distribution is shown (subsets).
        subset_sizes: Numbers of units kept or, below 1, fractions of all: one sweep for
            each (fixed_size); by default the fractions keep_probs.
        num_masks: Number of masks of each sweep.
        num_test_images: Number of test images (or points), drawn once, that every mask
            is evaluated on; 0 for all.
        gradients: Gradients of the loss with respect to the mask, stored as well.
        num_permutations: Number of permutations that Shapley values are estimated from;
            0 for none.
        seed: Seed of the masks, the permutations and the choice of test images.
        batch_size: Number of masks evaluated at once; by default what fits in memory.
            Affects speed only.
    """

    dataset: str = "digits"
    model: str = "mlp"
    widths: tuple[int, ...] = ()
    epochs: int | None = None
    network_seed: int = 0
    nodes: tuple[str, ...] = ()
    num_units: int | None = None
    distribution: str = "bernoulli"
    keep_probs: tuple[float, ...] = (0.25, 0.5, 0.75, 0.9)
    subset_sizes: tuple[float, ...] = ()
    num_masks: int = 2000
    num_test_images: int = 1000
    gradients: bool = True
    num_permutations: int = 200
    seed: int = 0
    batch_size: int | None = None

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
        if self.dataset.startswith("circle") and self.model != "mlp":
            raise ValueError(
                f"{self.dataset} has points, not images: model must be mlp"
            )
        if self.subset_sizes and self.distribution != "fixed_size":
            raise ValueError("subset_sizes needs distribution=fixed_size")
        if self.num_permutations == 1:
            raise ValueError(
                "num_permutations must be 0, or 2 or more for an error estimate"
            )


def shares(config: Config) -> Shares:
    """How a run is divided: by sweeps, each of which has a file.

    Raises:
        ValueError: for the one sweep of all subsets.
    """
    if config.distribution == "subsets":
        raise ValueError("the one sweep of distribution=subsets cannot be divided")
    field = "subset_sizes" if config.subset_sizes else "keep_probs"
    files = "network.npz", "keep_*.npz", "size_*.npz"
    return Shares(field, getattr(config, field), files)


def memory(config: Config) -> dict[str, float]:
    """Bytes of a network that is trained here, and of what sweeps find."""
    sweeps = len(config.subset_sizes or config.keep_probs)
    units = config.num_units or sum(config.widths) or 1
    each = 8.0 + units * (5 if config.gradients else 1)
    drawn = 0 if config.distribution == "subsets" else config.num_masks
    layers = needs.weights if config.model == "mlp" else needs.convolutions
    return {
        "widths": 3 * layers(config.widths),  # and momentum, gradients
        "num_masks or num_units": each * drawn * sweeps,
    }


def disk(config: Config) -> float:
    """Bytes of the losses under all masks."""
    drawn = 0 if config.distribution == "subsets" else config.num_masks
    return 3.0 * drawn * len(config.subset_sizes or config.keep_probs)
