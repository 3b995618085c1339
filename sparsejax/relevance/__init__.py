"""Relevance: what every input, bias, unit and weight has to do with an output."""

from sparsejax.relevance.explain import Relevance, derivative, explain
from sparsejax.relevance.rules import (
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
    "Group",
    "Kernel",
    "LayerRule",
    "Part",
    "Relevance",
    "Rules",
    "alpha_beta",
    "derivative",
    "epsilon",
    "explain",
    "flat",
    "gamma",
    "w_square",
    "z_box",
    "z_plus",
]
