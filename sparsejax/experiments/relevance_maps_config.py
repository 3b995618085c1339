"""What a run of explanations does: its config, its methods, and their names."""

import dataclasses
from typing import Any

from sparsejax.experiments import fields
from sparsejax.experiments.networks import Network

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
CHOICES = {"baseline": ("mean", "zero")}
MOST = 30  # samples in a grid
WITHIN = {
    "seed": fields.SEEDS,
    "level": fields.WHOLE,
    "levels": fields.WHOLE,
    "samples": fields.WHOLE,
    "epsilon": "[0, inf)",
    "gamma": "[0, inf)",
    "count": fields.COUNTS,
    "draw_seed": fields.SEEDS,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to explain, and how.

    Attributes:
        seed: which network of the run; by default the first.
        level: which level of the run; by default the last.
        levels: further levels, such as 0,5 or 0:3, whose maps are shown beside: what
            pruning changes.
        samples: positions in the test set of the images to show, such as 3,17 or 0:10;
            by default the first of each class.
        methods: of gradient, gradient_x_input, lrp_0, blame_the_bias, lrp_epsilon,
            gamma, alpha_beta, z_plus, composite, deeplift, integrated_gradients,
            expected_gradients, smoothgrad, guided_backprop, deconvnet, grad_cam (of
            convolutions) and occlusion; by default all but those that are others under
            a second name.
        target: which output is explained: the "label" of an image, the one that is
            "predicted", or the same for all, by its number.
        baseline: what methods that need one compare with, and what takes the place of
            what is deleted: the "mean" training image or "zero".
        epsilon: of LRP-ε and of the composite's last layer.
        gamma: of LRP-γ and of the composite's middle layers.
        count: test images, drawn once, that all averages are over.
        draw_seed: of this draw and of what is random in methods.
    """

    seed: int | None = None
    level: int | None = None
    levels: tuple[int, ...] = ()
    samples: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    target: str = "label"
    baseline: str = "mean"
    epsilon: float = 0.25
    gamma: float = 0.25
    count: int = 200
    draw_seed: int = 0


def check(config: Config) -> None:
    """Raise a `ValueError` for what no network could be explained by."""
    fields.check(config, WITHIN, {**CHOICES, "methods": tuple(LABELS)})
    if len(config.samples) > MOST:
        raise ValueError(
            f"{len(config.samples)} samples are too many to show, at most {MOST}"
        )
    if config.target not in ("label", "predicted") and not config.target.isdecimal():
        raise ValueError(
            f"target is {config.target!r}; it can be label, predicted or the number of "
            "an output"
        )


def check_network(config: Config, network: Network, outputs: int, places: bool) -> None:
    """Raise a `ValueError` for what this network cannot be explained by.

    Args:
        config: what to do.
        network: of which.
        outputs: how many it has.
        places: whether an activation has places, as of convolutions.
    """
    total = len(network.x)
    outside = [i for i in config.samples if not 0 <= i < total]
    if outside:
        raise ValueError(
            f"samples {_listed(outside)} are none of the {total:,} test images, 0 to "
            f"{total - 1}"
        )
    if not 1 <= config.count <= total:
        raise ValueError(f"count must be 1 to {total} test images, got {config.count}")
    if config.target.isdecimal() and int(config.target) >= outputs:
        raise ValueError(
            f"target {config.target} is no output of this network, which has {outputs}"
        )
    if "grad_cam" in config.methods and not places:
        raise ValueError(
            f"grad_cam needs a convolution, and there is none here ({network.title}); "
            "leave it out, or take a run with --model=convnet"
        )


def methods(config: Config, places: bool) -> tuple[str, ...]:
    """The chosen methods, or the usual ones."""
    left_out = _REPEATED if places else (*_REPEATED, "grad_cam")
    return config.methods or tuple(name for name in LABELS if name not in left_out)


def _listed(values: Any) -> str:
    return ", ".join(map(str, values))
