"""Relevance: what every input, bias, unit and weight has to do with an output."""

from sparsejax.relevance._averages import (
    Attribution,
    expected_gradients,
    integrated_gradients,
    smoothgrad,
)
from sparsejax.relevance._explain import Relevance, derivative, explain
from sparsejax.relevance._gradients import (
    deconvnet,
    deeplift,
    grad_cam,
    gradient,
    gradient_x_input,
    guided_backprop,
)
from sparsejax.relevance._metrics import (
    Curve,
    deletion,
    insertion,
    localization,
    localization_auc,
    pointing_game,
    rank_correlation,
)
from sparsejax.relevance._occlusion import occlusion
from sparsejax.relevance._penalties import (
    outside_share,
    outside_squared,
    outside_target,
    rrr,
)
from sparsejax.relevance._randomization import Randomization, randomization_check
from sparsejax.relevance._rules import (
    Group,
    Kernel,
    LayerRule,
    Part,
    Rules,
    alpha_beta,
    epsilon,
    flat,
    gamma,
    w_square,
    z_box,
    z_plus,
)

__all__ = [
    "Attribution",
    "Curve",
    "Group",
    "Kernel",
    "LayerRule",
    "Part",
    "Randomization",
    "Relevance",
    "Rules",
    "alpha_beta",
    "deconvnet",
    "deeplift",
    "deletion",
    "derivative",
    "epsilon",
    "expected_gradients",
    "explain",
    "flat",
    "gamma",
    "grad_cam",
    "gradient",
    "gradient_x_input",
    "guided_backprop",
    "insertion",
    "integrated_gradients",
    "localization",
    "localization_auc",
    "occlusion",
    "outside_share",
    "outside_squared",
    "outside_target",
    "pointing_game",
    "randomization_check",
    "rank_correlation",
    "rrr",
    "smoothgrad",
    "w_square",
    "z_box",
    "z_plus",
]


def __dir__() -> list[str]:
    return list(__all__)
