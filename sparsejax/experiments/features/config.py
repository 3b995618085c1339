"""Feature visualization: pictures of what every unit of a network responds to.

The last ticket of a lottery run, of any kind of network; or that of level 8:
    sparsejax lottery --dataset=digits
    sparsejax features --run=results/runs/lottery/NAME
    sparsejax features --run=results/runs/lottery/NAME --level=8

ResNet-20 on CIFAR-10, the last block of each stage and the classes:
    sparsejax features --data_dir=DIR

Every channel of one layer, four different pictures of each:
    sparsejax features --data_dir=DIR --nodes=layer3_2 --num_pictures=4

A run leaves a folder with its config, NODE_START.npz (images, values and numbers of a
block of units), metrics.jsonl (a line for each unit), a sheet of every layer and
index.html. An interrupted run resumes when started again.
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
        nodes: Names of activations, or "logits"; by default all with --run, else the
            last of each stage and the logits.
        units: Indices of the units of each node; by default all.
        objective: Activation to maximize: the mean over positions ("channel") or the
            one at the center ("neuron").
        num_pictures: Number of pictures of each unit, made to differ by `diversity`.
        diversity: Weight of the diversity between the pictures of a unit.
        steps: Number of steps of gradient ascent.
        image_size: Height and width of the pictures; 0 for the network's input size.
        learning_rate: Learning rate of Adam.
        parametrization: Parametrization of a picture: "fourier" (smooth) or "pixels".
        seed: Seed of the initial noise and of the random shifts.
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


def memory(config: Config) -> dict[str, float]:
    """Bytes of a unit's pictures, their gradients and two moments of these."""
    size = 3 * 4.0 * config.image_size**2
    return {"num_pictures or image_size": 4 * size * config.num_pictures}
