"""A function of every subset of n nodes, and everything that follows from it exactly.

`values[m]` is the value of subset m: bit i of m is set where node i is kept, the order
of `masks.subsets`. With all 2^n of them at hand nothing about random removal has to be
sampled: means and distributions at any keep probability, covariances along random
paths, importance and interaction indices, and the best subset of every size are sums.
All in float64, in NumPy, a fraction of a second for n = 20.

    values = evaluate(loss_of_mask, 12)
    shapley(values), best(values)

Where values are losses, a circuit is a subset that is good enough: `minimal` finds all
of them of which no part is, `worst` and `over_supersets` say what is left of one among
other nodes, `completeness`, `minimality`, `cpr` and `gates` are the field's measures.

    circuits = minimal(values, target=0.05)
    worst(values)[circuits], over_supersets(values, 0.5)[circuits]

For a masked last hidden layer `evaluate_readout` gives losses, accuracies and gradients
of all subsets at once; for too many nodes there are `estimate_shapley` and
`estimate_mean`.

With f(m) = sum_S F(S) (-1)^|S & m| (Walsh), most of them are sums over the spectrum F.
Importance of single nodes can mislead where interactions are strong: compare keeping
the top k by `shapley` with `best`.

References: Grabisch and Roubens, "An axiomatic approach to the concept of interaction
among players in cooperative games", 1999; Marichal and Mathonet, "Weighted Banzhaf
power and interaction indexes through weighted approximations of games", 2011; Stadler
and Happel, "Random field models for fitness landscapes", 1999.
"""

from sparsejax.hypercube._circuits import (
    best_worst,
    minimal,
    monotone_share,
    near,
    necessary,
    over_supersets,
    worst,
)
from sparsejax.hypercube._estimate import Estimate, estimate_mean, estimate_shapley
from sparsejax.hypercube._exact import (
    Best,
    banzhaf,
    best,
    cdf,
    interactions,
    local_minima,
    mean,
    moebius,
    path_covariance,
    probabilities,
    shapley,
    subset_sizes,
    walsh,
)
from sparsejax.hypercube._gates import Gates, gates
from sparsejax.hypercube._metrics import (
    Gap,
    cmd,
    completeness,
    cpr,
    faithfulness,
    minimality,
)
from sparsejax.hypercube._readout import Readout, evaluate_readout
from sparsejax.hypercube._values import evaluate

__all__ = [
    "Best",
    "Estimate",
    "Gap",
    "Gates",
    "Readout",
    "banzhaf",
    "best",
    "best_worst",
    "cdf",
    "cmd",
    "completeness",
    "cpr",
    "estimate_mean",
    "estimate_shapley",
    "evaluate",
    "evaluate_readout",
    "faithfulness",
    "gates",
    "interactions",
    "local_minima",
    "mean",
    "minimal",
    "minimality",
    "moebius",
    "monotone_share",
    "near",
    "necessary",
    "over_supersets",
    "path_covariance",
    "probabilities",
    "shapley",
    "subset_sizes",
    "walsh",
    "worst",
]


def __dir__() -> list[str]:
    return list(__all__)
