"""Weights made visible: pages of units, and whether sparse weights are easier to read.

Levels of a lottery run, of any kind of network; or of residual networks:
    sparsejax lottery --dataset=digits
    sparsejax lottery --dataset=scenes --arms=rewind,random_layerwise
    sparsejax weights --run=results/runs/lottery/NAME

A convnet's lottery tickets, and random tickets to compare:
    sparsejax lottery --dataset=mnist --data_dir=DIR --model=convnet \\
        --fraction=0.4 --rounds=6
    sparsejax weights --run=results/runs/lottery/NAME

ResNet-20 on CIFAR-10, two units of one layer:
    sparsejax weights --data_dir=DIR --nodes=layer3_1 --units=3,17

A run leaves a folder with its config, metrics.jsonl (a line for each network and pair
of layers), a figure of readability against density, index.html and, for networks of
three densities, pages of the chosen layers and units. An interrupted run resumes when
started again.
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
        levels: Levels whose first-seed ticket gets pages; by default those with close
            to 100%, 20% and 5% of the weights.
        nodes: Names of the layers that get pages; by default the last three hidden
            ones.
        units: Indices of the units of these layers that get pages, in the order of the
            grid of units by inputs; by default all, the largest in the grid.
        strongest: Number of strongest connections shown for each unit.
        places: Number of units of every layer, those with the largest weights, whose
            kernel is shown as a picture for each position.
        steps: Number of steps of gradient ascent for each picture.
    """

    levels: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    units: tuple[int, ...] = ()
    strongest: int = 6
    places: int = 2
    steps: int = 128

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
