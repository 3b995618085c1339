"""Feature visualization: pictures of what every unit of a network responds to.

ResNet-20 on CIFAR-10, the last block of each stage and the classes:
    sparsejax features --data_dir=DIR

Every channel of one layer, four pictures of each, held apart:
    sparsejax features --data_dir=DIR --nodes=layer3_2 --num_pictures=4

A network of a lottery run, level 8:
    sparsejax features --run=results/runs/lottery/NAME --level=8

A run leaves a folder with its config, NODE_START.npz (images, values and numbers of a
block of units), metrics.jsonl (a line for each unit), a sheet of every layer and
index.html. Started again after a kill, it goes on with the block it was at.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study.config import COUNTS, POSITIVE, SEEDS, WHOLE

SUBJECT = ("run", "arm", "run_seed", "level", "model", "checkpoint")
CHOICES = {
    "objective": ("channel", "neuron"),
    "parametrization": ("fourier", "pixels"),
}
WITHIN = {
    "units": WHOLE,
    "num_pictures": COUNTS,
    "diversity": "[0, inf)",
    "steps": COUNTS,
    "image_size": "[0, 2^16]",  # 0 for the network's own
    "learning_rate": POSITIVE,
    "seed": SEEDS,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run.

    Attributes:
        nodes: Names of activations, or "logits"; by default the last of each stage of a
            residual network from a file, all of a run's network, and the logits.
        units: Numbers of the units of each node; by default all.
        objective: Activation to maximize: "channel", its mean over places, or "neuron",
            the one in the middle.
        num_pictures: Number of pictures of each unit, held apart by `diversity`.
        diversity: Weight of the differences between pictures of a unit.
        steps: Number of steps of gradient ascent.
        image_size: Height and width of pictures; 0 for those of the network's images.
        learning_rate: Learning rate of Adam.
        parametrization: Form of an image: "fourier", smooth, or "pixels".
        seed: Seed of the noise that pictures begin with, and of their shifts.
    """

    nodes: tuple[str, ...] = ()
    units: tuple[int, ...] = ()
    objective: str = "channel"
    num_pictures: int = 1
    diversity: float = 1.0
    steps: int = 256
    image_size: int = 0
    learning_rate: float = 0.05
    parametrization: str = "fourier"
    seed: int = 0

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
