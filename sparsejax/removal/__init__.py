"""Statistics of what node removal does to a network: how losses and gradients spread.

Everything takes either a sample of masks or all of them with their probabilities
(`hypercube.probabilities`) as `weights`, so that "1,000 masks drawn" and "all 2^n
exactly" go through the same formulas. Statistics are NumPy's, in float64; standard
deviations are of the population (divided by the total weight, as `np.std`).

The questions and the figures are those of Hobson, "Neural Networks, More than you
wanted to Show", section 1.
"""

from sparsejax.removal._densities import kde
from sparsejax.removal._maps import HeatMaps, heat_maps
from sparsejax.removal._statistics import (
    LogNormal,
    Moments,
    PathStatistics,
    States,
    by_state,
    fit_log_normal,
    log_gradients,
    moments,
    path_statistics,
)

__all__ = [
    "PathStatistics",
    "HeatMaps",
    "LogNormal",
    "Moments",
    "States",
    "by_state",
    "kde",
    "fit_log_normal",
    "path_statistics",
    "heat_maps",
    "log_gradients",
    "moments",
]


def __dir__() -> list[str]:
    return list(__all__)
