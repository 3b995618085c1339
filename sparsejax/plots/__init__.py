"""Figures that several experiments draw, one function each, and their style.

Arrays in, a matplotlib `Figure` out; `save` writes an SVG that follows a page's theme.
"""

from sparsejax.plots._curves import Curve as Curve
from sparsejax.plots._curves import densities as densities
from sparsejax.plots._density import against_density as against_density
from sparsejax.plots._density import counts_against_density as counts_against_density
from sparsejax.plots.style import save as save

__all__ = ["Curve", "against_density", "counts_against_density", "densities", "save"]


def __dir__() -> list[str]:
    return list(__all__)
