"""Does pruning change what units stand for? Dissects the networks of a lottery run.

Residual networks, on held-out scenes:
    sparsejax lottery --dataset=scenes --seeds=0:3 \\
        --arms=rewind,finetune,random_layerwise
    sparsejax dissect --run=results/runs/lottery/NAME

The quick form, one seed and shorter trainings:
    sparsejax lottery --dataset=scenes --epochs=3 --num_train_images=2000
    sparsejax dissect --run=results/runs/lottery/NAME --num_scenes=500

On labeled images in the Broden format:
    sparsejax dissect --run=RUN --broden=FOLDER --image_size=224

Any run of convolutional networks will do whose images are squares of 16, 20, 24, ...
pixels, gray or in color: scenes are generated like them. A run leaves a folder inside
the lottery run: scores of all units (seed_N/ARM_LEVEL.npz), metrics.jsonl (a line for
each network), units.csv, figures, table.md and index.html. An interrupted run resumes
when started again.
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
        node: Activation to dissect; by default the last feature map, of a residual
            network the output of the last block.
        broden: Folder of labeled images in the Broden format; by default scenes that
            the networks were not trained on.
        image_size: Height and width to resize Broden's images to; 0 keeps their size.
        num_scenes: Number of scenes to dissect on.
        quantile: Fraction of a unit's values that count as active.
        threshold: Intersection over union (IoU) above which a unit is a detector.
        normalized_threshold: IoU, over the best that a mask of `quantile` of all pixels
            can have with the concept, above which a unit is a detector.
        union: Masks of a unit that count in the union with a concept: those that touch
            a pixel labeled in its category ("unit"), those in images that have such a
            label ("image"), or all of them ("none").
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
            raise ValueError("image_size needs broden, whose images it resizes")
