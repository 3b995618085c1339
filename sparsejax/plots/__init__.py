"""Figures, one function each: arrays in, a matplotlib `Figure` out."""

from sparsejax.plots.pruning import against_density as against_density
from sparsejax.plots.pruning import filters as filters
from sparsejax.plots.pruning import idle_units as idle_units
from sparsejax.plots.pruning import weights_per_layer as weights_per_layer
from sparsejax.plots.style import save as save
