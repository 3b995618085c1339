"""A circle classifier of twenty nodes under all 2^20 of its node masks.

The tables and figures of Hobson, "Neural Networks, More than you wanted to Show",
sampled as there and computed exactly, for ten networks:
    sparsejax circle_removal

The circle that Hobson's text describes, half of the square:
    sparsejax circle_removal --variant=half

A quick look:
    sparsejax circle_removal --num_nodes=12 --seeds=0:3

A run leaves a folder with its config, metrics.jsonl (a line for each network),
seed_NN.npz (parameters, test set, the loss of every subset), figures, table.md,
index.html and nodes.html, in which the first network is taken apart by hand. An
interrupted run resumes when started again.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study.config import COUNTS, POSITIVE, SEEDS, WHOLE
from sparsejax.experiments._study.shares import Shares

SUBJECT = ()
CHOICES = {"variant": ("published", "half")}
WITHIN = {
    "seeds": SEEDS,
    "num_nodes": "[1, 22]",
    "keep_probs": "(0, 1)",
    "num_masks": "[2, 2^31)",
    "num_paths": "[2, 2^31)",
    "bandwidth": "[0.0001, inf)",
    "num_points": COUNTS,
    "epochs": WHOLE,
    "batch_size": COUNTS,
    "learning_rate": POSITIVE,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run.

    Attributes:
        variant: Circle to classify: "published" (62.67% of the square inside, as in
            Hobson's code) or "half" (half of the square, as in the text).
        seeds: Seeds of the networks, each with its own training and test points; 0:10
            is 0,1,...,9. Figures of one network show the first.
        num_nodes: Number of hidden units; all 2^n subsets are evaluated.
        keep_probs: Probabilities that a node is kept.
        num_masks: Number of masks drawn for each keep probability, from NumPy's stream
            of seed 17 as in Hobson's code.
        num_paths: Number of sampled paths over the hypercube.
        bandwidth: Width of the Gaussian kernel that smooths densities.
        num_points: Number of training points, and of test points.
        epochs: Number of passes over the training points.
        batch_size: Number of points in a training step.
        learning_rate: Learning rate of Adam.
    """

    variant: str = "published"
    seeds: tuple[int, ...] = tuple(range(10))
    num_nodes: int = 20
    keep_probs: tuple[float, ...] = (0.25, 0.5, 0.75)
    num_masks: int = 1000
    num_paths: int = 1000
    bandwidth: float = 0.03
    num_points: int = 1000
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.01

    def __post_init__(self):
        if isinstance(self.num_nodes, int) and self.num_nodes > 22:
            raise ValueError(
                f"num_nodes must be in {WITHIN['num_nodes']}, got {self.num_nodes}; "
                "`sparsejax node_sweep` samples larger networks"
            )
        config_.check(self, WITHIN, CHOICES)
        if self.batch_size > self.num_points:
            raise ValueError(
                f"batch_size must be in [1, num_points = {self.num_points}], got "
                f"{self.batch_size}"
            )


def memory(config: Config) -> dict[str, float]:
    """Bytes of a network's points, and of the losses of all its subsets."""
    paths = config.num_masks + config.num_paths
    return {
        "num_points": 12.0 * config.num_points,
        "num_nodes": 16.0 * 2**config.num_nodes,
        "num_masks or num_paths": 1.0 * config.num_nodes * paths,
    }


def shares(config: Config) -> Shares:
    """How a run is divided: by seeds, each of which has a file."""
    rest = "params/*", "x", "y", "losses"
    return Shares("seeds", config.seeds, ("seed_*.npz",), rest=rest)


def disk(config: Config) -> float:
    """Bytes of the losses of all subsets, of every seed."""
    return 3.0 * 2**config.num_nodes * len(config.seeds)
