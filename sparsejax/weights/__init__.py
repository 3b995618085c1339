"""Weights made visible: what they do together, and how easy they are to read."""

from sparsejax.weights.averaged import Gradients, gradients
from sparsejax.weights.connections import (
    Connections,
    Directions,
    banding,
    directions,
    strongest,
)
from sparsejax.weights.expanded import Expanded, expand
from sparsejax.weights.factors import Factors, factor
from sparsejax.weights.statistics import Statistics, by_layer, statistics

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
