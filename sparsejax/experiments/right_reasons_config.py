"""What a run on training on relevance does: its config, its stages, and their names."""

import dataclasses

from sparsejax import relevance
from sparsejax.experiments import fields

# penalty(fn, params, x, region, label), all one example's
PENALTIES = {
    "squared": lambda fn, params, x, region, label: relevance.outside_squared(
        fn, params, x, region
    ),
    "share": lambda fn, params, x, region, label: relevance.outside_share(
        fn, params, x, region, target=label
    ),
    "target": lambda fn, params, x, region, label: relevance.outside_target(
        fn, params, x, region, target=label
    ),
    "rrr": lambda fn, params, x, region, label: relevance.rrr(fn, params, x, region),
}
LABELS = {
    "none": "cross entropy alone",
    "oracle": "oracle: textures shuffled",
    "squared": "R², all centred logits",
    "share": "share of |R|, label's logit",
    "target": "R², label's logit",
    "rrr": "gradient² of Σ log p (RRR)",
}
SHORT = {
    "none": "cross entropy",
    "oracle": "oracle",
    "squared": "all logits squared",
    "share": "share of |R|",
    "target": "label's logit squared",
    "rrr": "RRR",
}
CHOICES = {"losses": tuple(LABELS)}
WITHIN = {
    "strengths": fields.POSITIVE,
    "seeds": fields.SEEDS,
    "jitter": "[0, 4]",
    "contrast": "[0, 1]",
    "widths": fields.WIDTHS,
    "steps": fields.COUNTS,
    "batch_size": "[1, 1437]",
    "learning_rate": fields.POSITIVE,
    "data_seed": fields.SEEDS,
}
Stage = tuple[str, float]  # a loss and its strength, 0 where there is no penalty


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run.

    Attributes:
        losses: what is trained on: cross entropy alone ("none"); the same where
            textures say nothing ("oracle"); or cross entropy and a penalty on what lies
            outside of the digit's box: relevance squared of all centred logits
            ("squared"), the share of |relevance| of the label's logit ("share"), its
            relevance squared ("target"), the squared gradient of the sum of log
            probabilities ("rrr").
        strengths: factors of the penalties; every one is trained at each.
        seeds: a network each, trained together; launchers read 0:3 as 0,1,2.
        jitter: digits are moved by up to so many pixels, 0 to 4.
        contrast: of the textures, in [0, 1].
        widths: hidden units of every layer.
        steps: of training.
        batch_size: examples a step.
        learning_rate: of Adam.
        data_seed: of the places, of the textures that are not the label's, and of the
            order of the data; all shared by networks.
    """

    losses: tuple[str, ...] = tuple(LABELS)
    strengths: tuple[float, ...] = (1.0, 10.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    jitter: int = 0
    contrast: float = 1.0
    widths: tuple[int, ...] = (64, 64)
    steps: int = 1500
    batch_size: int = 32
    learning_rate: float = 0.003
    data_seed: int = 0


def stages(config: Config) -> list[Stage]:
    """Losses and strengths, in the order they are trained."""
    return [
        (loss, strength)
        for loss in config.losses
        for strength in (config.strengths if loss in PENALTIES else (0.0,))
    ]


def label(stage: Stage) -> str:
    """A stage in words."""
    loss, strength = stage
    return f"{LABELS[loss]}, ×{strength:g}" if strength else LABELS[loss]


def check(config: Config) -> None:
    """Raise a `ValueError` for a config that cannot be run."""
    fields.check(config, WITHIN, CHOICES)
