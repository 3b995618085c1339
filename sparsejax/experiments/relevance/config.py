r"""Why a network answers as it does: maps by every method, biases, checks.

The last level of a lottery run, first seed:
    sparsejax relevance --run=results/runs/lottery/NAME

Level 12 of seed 3 of a run on MNIST, and the dense network to compare:
    sparsejax relevance --run=RUN --data_dir=DIR --run_seed=3 --level=12 --levels=0

Six test images, three methods, the evidence for output 7 in every image:
    sparsejax relevance --run=RUN --test_images=0:5,17 --target=7 \
        --methods=blame_the_bias,composite,integrated_gradients

A run leaves a folder inside the lottery run (or below --out) with its config,
metrics.jsonl (a line for each method), METHOD.npz (maps and all numbers), figures,
table.md and index.html. An interrupted run resumes when started again.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study.config import COUNTS, SEEDS, WHOLE

LABELS = {
    "gradient": "gradient",
    "gradient_x_input": "gradient × input",
    "lrp_0": "LRP-0",
    "blame_the_bias": "blame the bias",
    "lrp_epsilon": "LRP-ε",
    "gamma": "LRP-γ",
    "alpha_beta": "LRP-αβ",
    "z_plus": "z⁺",
    "composite": "composite",
    "deeplift": "DeepLIFT",
    "integrated_gradients": "integrated gradients",
    "expected_gradients": "expected gradients",
    "smoothgrad": "SmoothGrad",
    "guided_backprop": "guided backprop",
    "deconvnet": "deconvnet",
    "grad_cam": "Grad-CAM",
    "occlusion": "occlusion",
}
EXACT = ("blame_the_bias", "lrp_0")  # one explanation by two names: exact, with biases
_REPEATED = ("gradient_x_input", "lrp_0")  # on ReLU networks they are blame_the_bias
MOST = 30  # images in a grid
SUBJECT = ("run", "arm", "run_seed", "level")
CHOICES = {"methods": tuple(LABELS), "baseline": ("mean", "zero")}
WITHIN = {
    "levels": WHOLE,
    "test_images": WHOLE,
    "epsilon": "[0, inf)",
    "gamma": "[0, inf)",
    "num_test_images": COUNTS,
    "seed": SEEDS,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run.

    Attributes:
        levels: Further levels of the run, such as 0,5 or 0:3, whose maps are shown for
            comparison.
        test_images: Indices of the test images to show, such as 3,17 or 0:10; by
            default the first of each class.
        methods: Methods of explanation; by default all that apply but gradient_x_input
            and lrp_0, which on ReLU networks equal blame_the_bias.
        target: Output to explain: the image's "label" (the first of several), the
            "predicted" one, or the index of one output for all images.
        baseline: Input that methods compare with where they need one, and that replaces
            deleted pixels: the "mean" training image or "zero".
        epsilon: Epsilon of LRP-ε and of the composite's last layer.
        gamma: Gamma of LRP-γ and of the composite's middle layers.
        num_test_images: Number of test images, drawn once, that averages are taken
            over.
        seed: Seed of the images drawn and of methods that sample.
    """

    levels: tuple[int, ...] = ()
    test_images: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    target: str = "label"
    baseline: str = "mean"
    epsilon: float = 0.25
    gamma: float = 0.25
    num_test_images: int = 200
    seed: int = 0

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
        if len(self.test_images) > MOST:
            raise ValueError(
                f"at most {MOST} test_images can be shown, got {len(self.test_images)}"
            )
        if self.target not in ("label", "predicted") and not self.target.isdecimal():
            raise ValueError(
                f"target is {self.target!r}; it can be label, predicted or the number "
                "of an output"
            )


def methods(config: Config, places: bool) -> tuple[str, ...]:
    """The chosen methods, or the usual ones.

    Args:
        config: of the run.
        places: whether an activation has places, as of convolutions.
    """
    left_out = _REPEATED if places else (*_REPEATED, "grad_cam")
    return config.methods or tuple(name for name in LABELS if name not in left_out)
