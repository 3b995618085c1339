"""The tables of claims, a module for each text of the five documents."""

from sparsejax.experiments.reproduce.claim import Claim
from sparsejax.experiments.reproduce.sources import (
    bias,
    dissection,
    node_removal,
    order,
    single_samples,
    sparsity,
    weights,
)

# Title of each text, and what it claims.
SOURCES: dict[str, tuple[Claim, ...]] = {
    module.TITLE: tuple(module.CLAIMS)
    for module in (
        sparsity,
        node_removal,
        bias,
        order,
        single_samples,
        dissection,
        weights,
    )
}
