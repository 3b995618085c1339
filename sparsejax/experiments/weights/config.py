"""Weights made visible: pages of units, and whether sparse weights are easier to read.

Levels of a run of residual networks, with its random tickets:
    sparsejax lottery --dataset=scenes --arms=rewind,random_layerwise
    sparsejax weights --run=results/runs/lottery/NAME

A convnet's lottery tickets, and random tickets to compare:
    sparsejax lottery --dataset=mnist --data_dir=DIR --model=convnet \\
        --fraction=0.4 --rounds=6
    sparsejax weights --run=results/runs/lottery/NAME

ResNet-20 on CIFAR-10, two units of one layer:
    sparsejax weights --data_dir=DIR --nodes=layer3_1 --units=3,17

A run leaves a folder with its config, metrics.jsonl (a line for each network and pair
of layers), a figure of how easy they are to read against what is left, index.html and,
for networks of three densities, a page for every layer and unit. Started again after a
kill, it goes on with the network or the pictures it was at.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study.config import COUNTS, WHOLE

SUBJECT = ("run", "model", "checkpoint")
CHOICES: dict[str, tuple[str, ...]] = {}
WITHIN = {
    "levels": WHOLE,
    "units": WHOLE,
    "strongest": COUNTS,
    "places": WHOLE,
    "steps": COUNTS,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run.

    Attributes:
        levels: Levels whose first network gets pages; by default those nearest to all,
            20% and 5% of weights.
        nodes: Layers that get pages; by default the last three hidden ones.
        units: Units of these layers that get pages, in this order in a grid of units by
            inputs; by default all, with the largest in the grid.
        strongest: Number of connections shown of each unit.
        places: Number of units of every layer whose kernel is shown place by place in
            pictures: those with the largest weights.
        steps: Number of steps of gradient ascent for pictures of units.
    """

    levels: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    units: tuple[int, ...] = ()
    strongest: int = 6
    places: int = 2
    steps: int = 128

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
