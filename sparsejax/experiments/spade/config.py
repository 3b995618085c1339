"""Does pruning a network for one sample make explanations of it better?

ResNet-20 on CIFAR-10 images with planted patches, three seeds with controls:
    sparsejax spade --data_dir=DIR

One seed, fewer images:
    sparsejax spade --data_dir=DIR --seeds=0 --num_test_images=10 \\
        --num_calibration_images=8

DIR holds CIFAR-10 in any of the forms in docs/data.md, and
resnet_cifar10/resnet20_cifar10.safetensors, or give --checkpoint. A run leaves a folder
with its config, metrics.jsonl (a line for each seed and arm), networks, all measures,
figures, a table and index.html. An interrupted run resumes when started again.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study import needs
from sparsejax.experiments._study.config import COUNTS, POSITIVE, SEEDS, WHOLE, WIDTHS
from sparsejax.experiments._study.shares import Shares

BATCH_SIZE = 64
NUM_TESTED = 1000  # images, drawn for each seed, that all else is taken from
SUBJECT = ("model", "checkpoint")
CHOICES = {"dataset": ("cifar10", "mnist"), "tune": ("auc", "faithfulness")}
WITHIN = {
    "widths": WIDTHS,
    "num_blocks": "[1, 100]",
    "seeds": SEEDS,
    "num_train_images": f"[{BATCH_SIZE}, 2^31)",
    "epochs": WHOLE,
    "share": "(0, 1]",
    "learning_rate": POSITIVE,
    "num_test_images": "[2, 2^31)",  # a control is pruned for another image
    "num_calibration_images": COUNTS,
    "num_variations": COUNTS,
    "densities": "(0, 1]",
    "num_pictures": WHOLE,
    "picture_steps": COUNTS,
    "num_planes": COUNTS,
    "plane_epochs": COUNTS,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to train, to prune and to measure.

    Attributes:
        dataset: Images to explain: "cifar10", on which a pretrained residual network is
            fine-tuned, or "mnist", on which one is trained from scratch.
        widths: Numbers of channels of the three stages (mnist).
        num_blocks: Number of blocks in each stage (mnist); 3 makes a ResNet-20.
        seeds: Seeds of the trained networks, their data, patches and variations.
        num_train_images: Number of training images.
        epochs: Number of passes over the training images; 0 leaves the network as it
            is.
        share: Fraction of the training images that get a patch.
        learning_rate: Learning rate of SGD with momentum, decayed to 0 by a cosine.
        num_test_images: Number of patched test images to measure, for each seed.
        num_calibration_images: Number of other patched test images, on which the
            densities of the stages are chosen.
        num_variations: Number of variations of each image that pruning is based on.
        densities: Densities to choose from for each stage, besides 1.
        tune: Score that chooses the densities: "auc" (needs the patch's position) or
            "faithfulness" (insertion minus deletion; needs none).
        num_pictures: Number of images of each patched class, and of others with its
            patch, for which the first seed's network is pruned before it is asked to
            picture the class; 0 for none.
        picture_steps: Number of steps of gradient ascent for each picture.
        num_planes: Number of toy networks on points of the plane, each pruned for
            either of two discs.
        plane_epochs: Number of passes over the toy networks' training points.
    """

    dataset: str = "cifar10"
    widths: tuple[int, ...] = (8, 16, 32)
    num_blocks: int = 3
    seeds: tuple[int, ...] = (0, 1, 2)
    num_train_images: int = 7000
    epochs: int = 3
    share: float = 0.2
    learning_rate: float = 0.01
    num_test_images: int = 30
    num_calibration_images: int = 16
    num_variations: int = 64
    densities: tuple[float, ...] = (0.5, 0.2, 0.1)
    tune: str = "auc"
    num_pictures: int = 2
    picture_steps: int = 160
    num_planes: int = 8
    plane_epochs: int = 40

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
        if len(self.widths) != 3:
            raise ValueError(f"widths must have three entries, got {self.widths}")
        built = self.widths, self.num_blocks
        if self.dataset != "mnist" and built != (Config.widths, Config.num_blocks):
            raise ValueError(
                f"widths and num_blocks need dataset=mnist, got dataset={self.dataset}"
            )
        if self.num_test_images + self.num_calibration_images > NUM_TESTED:
            raise ValueError(
                "num_test_images + num_calibration_images must be at most "
                f"{NUM_TESTED}, got {self.num_test_images} + "
                f"{self.num_calibration_images}"
            )


def check_source(config: Config, source: Mapping[str, Any]) -> None:
    """Raise a `ValueError` for a network that does not go with a config."""
    given = [key for key in SUBJECT if source.get(key) is not None]
    if given and config.dataset != "cifar10":
        raise ValueError(
            f"--{given[0]} needs dataset=cifar10, got dataset={config.dataset}"
        )


def shares(config: Config) -> Shares:
    """How a run is divided: by seeds, each of which has files."""
    files = "seed_*.npz", "network_*.npz", "pictures.npz", "toy.npz"
    return Shares("seeds", config.seeds, files)


def memory(config: Config) -> dict[str, float]:
    """Bytes of images that a network is trained on, and of variations of one."""
    return {
        "num_train_images": 1.0 * 28**2 * config.num_train_images,
        "num_variations": 4.0 * 28**2 * config.num_variations,
        "widths": 3 * needs.convolutions(config.widths),
    }
