"""Feature visualisation: pictures of what units of a network respond to."""

from sparsejax.data.augmentations import compose
from sparsejax.features.colour import PHOTOGRAPHS, decorrelation
from sparsejax.features.objectives import (
    Objective,
    channel,
    direction,
    diversity,
    logit,
    neuron,
)
from sparsejax.features.parametrisations import Parametrization, fourier, pixels
from sparsejax.features.redirect import redirected
from sparsejax.features.render import Pictures, render
from sparsejax.features.transforms import (
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
