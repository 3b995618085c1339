"""Right for the right reasons: digits on textures, trained on where relevance lies.

Six losses, three networks each, in about a minute on one core:
    sparsejax right_reasons

Digits that move by a pixel on weaker textures, which is harder:
    sparsejax right_reasons --jitter=1 --contrast=0.5

One penalty at more strengths, and no penalty:
    sparsejax right_reasons --losses=none,squared --strengths=0.01,0.1,1,10,100

A run leaves a folder with its config, metrics.jsonl, the networks, figures, a table and
index.html. An interrupted run resumes when started again.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study import needs
from sparsejax.experiments._study.config import COUNTS, POSITIVE, SEEDS, WIDTHS
from sparsejax.experiments._study.shares import Shares

SUBJECT = ()
PENALTIES = ("squared", "share", "target", "rrr")
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
    "strengths": POSITIVE,
    "seeds": SEEDS,
    "jitter": "[0, 4]",
    "contrast": "[0, 1]",
    "widths": WIDTHS,
    "steps": COUNTS,
    "batch_size": "[1, 1437]",
    "learning_rate": POSITIVE,
    "data_seed": SEEDS,
}
Stage = tuple[str, float]  # a loss and its strength, 0 where there is no penalty


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run.

    Attributes:
        losses: Losses to train with: cross entropy ("none"), cross entropy on shuffled
            textures ("oracle"), or cross entropy and a penalty on what lies outside the
            digit's box: the squared relevance for all centered logits ("squared"), the
            share of the label logit's |relevance| ("share"), that logit's squared
            relevance ("target"), or the squared gradient of the sum of the log
            probabilities ("rrr").
        strengths: Factors of the penalties; each penalty is trained with every factor.
        seeds: Seeds of the networks, which train together; 0:3 is 0,1,2.
        jitter: Largest shift of a digit, in pixels, 0 to 4.
        contrast: Contrast of the textures, in [0, 1].
        widths: Numbers of hidden units.
        steps: Number of training steps.
        batch_size: Number of examples in a step.
        learning_rate: Learning rate of Adam.
        data_seed: Seed of the digits' positions, of the textures that are not the
            label's, and of the data order, which the networks share.
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

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)


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


def shares(config: Config) -> Shares:
    """How a run is divided: by seeds, over which arrays have an axis."""
    return Shares("seeds", config.seeds, ("*.npz",), stacked=True)


def environment(config: Config) -> dict[str, str]:
    """Variables of the process that suit a run, to be set before JAX is used."""
    return config_.ONE_THREAD


def memory(config: Config) -> dict[str, float]:
    """Bytes of the networks of all seeds in training."""
    each = needs.weights(config.widths, 64, 10)
    return {"widths or seeds": 4 * each * len(config.seeds)}


def disk(config: Config) -> float:
    """Bytes of the networks of all seeds, under one loss at least."""
    return 0.8 * needs.weights(config.widths, 64, 10) * len(config.seeds)
