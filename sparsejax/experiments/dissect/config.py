"""Does pruning change what units stand for? Dissects the networks of a lottery run.

Residual networks, on scenes that they have not seen:
    sparsejax lottery --dataset=scenes --seeds=0:3 \\
        --arms=rewind,finetune,random_layerwise
    sparsejax dissect --run=results/runs/lottery/NAME

The quick form, one seed and shorter trainings:
    sparsejax lottery --dataset=scenes --epochs=3 --num_train_images=2000
    sparsejax dissect --run=results/runs/lottery/NAME --num_scenes=500

On labelled images in the Broden format:
    sparsejax dissect --run=RUN --broden=FOLDER --image_size=224

Any run will do whose networks have activations with places and whose images are squares
of 16, 20, 24, ... pixels, gray or in color: scenes are drawn like them. A run leaves a
folder inside the lottery run: scores of all units (seed_N/ARM_LEVEL.npz), metrics.jsonl
(a line for each network), units.csv, figures, table.md and index.html. Started again
after a kill, it goes on with the network it was at.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments.lottery import DISSECTED

SUBJECT = ("run",)
CHOICES = {"union": ("unit", "image", "none")}
WITHIN = {
    "image_size": "[0, 2^16]",
    "num_scenes": f"[1, {DISSECTED}]",
    "quantile": "(0, 1)",
    "threshold": "[0, 1]",
    "normalized_threshold": "[0, 1]",
    "rotations": "[0, 1000]",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run.

    Attributes:
        node: Activation to dissect; by default the last that has places, the output of
            the last block.
        broden: Folder of labelled images in the Broden format; by default scenes that
            the networks were not trained on.
        image_size: Height and width to resample Broden's images to; 0 leaves them.
        num_scenes: Number of scenes to dissect on.
        quantile: Share of a unit's values that count as active.
        threshold: Score above which a unit is a detector.
        normalized_threshold: Score, over the best possible one, above which a unit is a
            detector whatever the size of the concept.
        union: Pixels that count against a unit: those where it is active ("unit"), in
            images that have the concept ("image"), or none ("none").
        rotations: Number of random rotations of the features, as a control.
    """

    node: str = ""
    broden: str = ""
    image_size: int = 0
    num_scenes: int = 1000
    quantile: float = 0.01
    threshold: float = 0.05
    normalized_threshold: float = 0.5
    union: str = "unit"
    rotations: int = 2

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
        if self.image_size and not self.broden:
            raise ValueError("image_size is of Broden's images: pass broden, too")
