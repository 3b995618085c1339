"""Figures, one function each: arrays in, a matplotlib `Figure` out."""

from sparsejax.plots.hypercube import by_degree as by_degree
from sparsejax.plots.hypercube import by_size as by_size
from sparsejax.plots.hypercube import pairs as pairs
from sparsejax.plots.pruning import against_density as against_density
from sparsejax.plots.pruning import filters as filters
from sparsejax.plots.pruning import idle_units as idle_units
from sparsejax.plots.pruning import weights_per_layer as weights_per_layer
from sparsejax.plots.removal import Curve as Curve
from sparsejax.plots.removal import cube as cube
from sparsejax.plots.removal import densities as densities
from sparsejax.plots.removal import densities_by_node as densities_by_node
from sparsejax.plots.removal import paths as paths
from sparsejax.plots.removal import square_maps as square_maps
from sparsejax.plots.style import save as save
from sparsejax.plots.sweeps import densities_and_points as densities_and_points
from sparsejax.plots.sweeps import kept_units as kept_units
from sparsejax.plots.sweeps import unit_scores as unit_scores
