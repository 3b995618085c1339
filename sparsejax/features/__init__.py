"""Feature visualisation: pictures of what units of a network respond to."""

from sparsejax.data.augmentations import compose
from sparsejax.features._color import PHOTOGRAPHS, decorrelation
from sparsejax.features._objectives import (
    Objective,
    channel,
    direction,
    diversity,
    logit,
    neuron,
)
from sparsejax.features._parametrizations import Parametrization, fourier, pixels
from sparsejax.features._redirect import redirected
from sparsejax.features._render import Pictures, render
from sparsejax.features._transforms import (
    jitter,
    pad,
    resample,
    rotate,
    scale,
    standard,
    warp,
)

__all__ = [
    "PHOTOGRAPHS",
    "Objective",
    "Parametrization",
    "Pictures",
    "channel",
    "compose",
    "decorrelation",
    "direction",
    "diversity",
    "fourier",
    "jitter",
    "logit",
    "neuron",
    "pad",
    "pixels",
    "redirected",
    "render",
    "resample",
    "rotate",
    "scale",
    "standard",
    "warp",
]


def __dir__() -> list[str]:
    return list(__all__)
