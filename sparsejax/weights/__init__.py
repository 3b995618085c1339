"""Weights made visible: what they do together, and how easy they are to read."""

from sparsejax.weights._averaged import Gradients, gradients
from sparsejax.weights._connections import (
    Connections,
    Directions,
    banding,
    directions,
    strongest,
)
from sparsejax.weights._expanded import Expanded, expand
from sparsejax.weights._factors import Factors, factor
from sparsejax.weights._statistics import Statistics, by_layer, statistics

__all__ = [
    "Connections",
    "Directions",
    "Expanded",
    "Factors",
    "Gradients",
    "Statistics",
    "banding",
    "by_layer",
    "directions",
    "expand",
    "factor",
    "gradients",
    "statistics",
    "strongest",
]


def __dir__() -> list[str]:
    return list(__all__)
