"""Statistics of what node removal does to a network: how losses and gradients spread.

Everything takes either a sample of masks or all of them with their probabilities
(`hypercube.probabilities`) as `weights`, so that "1,000 masks drawn" and "all 2^n
exactly" go through the same formulas. Statistics are NumPy's, in float64; standard
deviations are of the population (divided by the total weight, as `np.std`).

The questions and the figures are those of Hobson, "Neural Networks, More than you
wanted to Show", section 1.
"""

from sparsejax.removal.densities import kde as kde
from sparsejax.removal.maps import HeatMaps as HeatMaps
from sparsejax.removal.maps import heat_maps as heat_maps
from sparsejax.removal.statistics import LogNormal as LogNormal
from sparsejax.removal.statistics import Moments as Moments
from sparsejax.removal.statistics import PathStatistics as PathStatistics
from sparsejax.removal.statistics import States as States
from sparsejax.removal.statistics import by_state as by_state
from sparsejax.removal.statistics import fit_log_normal as fit_log_normal
from sparsejax.removal.statistics import log_gradients as log_gradients
from sparsejax.removal.statistics import moments as moments
from sparsejax.removal.statistics import path_statistics as path_statistics
