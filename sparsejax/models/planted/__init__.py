"""Tiny networks whose circuits are known, with weights by formula.

What a finder of circuits should find, and what it should not: every network also has
decoys, nodes that do something and belong to no circuit. The circuits are those under
zero ablation, of all that a subset of nodes can be: no proper subset of one has an
`error` of 0, and a set without an error contains one of them. (A superset of one need
not be without errors: of two units that cancel a decoy is one.) The weights are exact
in float64, and made in the default dtype.

    network = planted.gates()
    outputs = network.model.apply(network.params, network.x)

References: Lindner et al., "Tracr", 2023 (arXiv:2301.05062) and Gupta et al.,
"InterpBench", 2024 (arXiv:2407.14494) compile and train such networks; Olsson et al.,
"In-context learning and induction heads", 2022; Nanda et al., "Progress measures for
grokking via mechanistic interpretability", 2023.
"""

from sparsejax.models.planted._attention import brackets, induction
from sparsejax.models.planted._network import Planted, error
from sparsejax.models.planted._units import adder, addition, gates, threshold

__all__ = [
    "Planted",
    "adder",
    "addition",
    "brackets",
    "error",
    "gates",
    "induction",
    "threshold",
]


def __dir__() -> list[str]:
    return list(__all__)
