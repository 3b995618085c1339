"""Hobson: "Train first VS prune first in neural networks"."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sparsejax.experiments.reproduce.claim import Claim, Results, Values

TITLE = "Hobson, “Train first VS prune first in neural networks”"
_RATE = 0.1  # the learning rate at which the source's figures come out
_RANDOM, _STD = "Random Pruning", "Nonrandom Pruning"
_FILES = {"surfaces": "orders/fig_surfaces.svg", "training": "orders/training.gif"}


def _rows(results: Results, selection: str) -> list[Mapping[str, Any]]:
    return [
        r for r in results.records("orders")
        if r["learning_rate"] == _RATE and r["selection"] == selection
    ]  # fmt: skip


def _accuracy(selection: str, order: str) -> Values:
    return lambda results: [
        r["test_accuracy"][order] for r in _rows(results, selection)
    ]


def _correlated(selection: str, field: str) -> Values:
    """Whether a correlation's 95% interval lies above zero."""

    def get(results):
        found = [r[field] for r in _rows(results, selection)]
        return [r is not None and r[1] > 0 for r in found]

    return get


def _moved(results: Results) -> list[float]:
    """The most frequent |change| of weights that moved at all, a network each."""
    start = results.arrays("orders", f"rate_{_RATE}")["init/dense_1/kernel"]
    arrays = results.arrays("orders", f"rate_{_RATE}_random")
    after, kept = (
        arrays[f"{name}/dense_1/kernel"] for name in ("prune_train", "kept_weights")
    )
    modes = []
    for a, b, mask in zip(start, after, kept != 0, strict=True):
        moved = np.abs(b - a)[mask].astype(np.float64)
        sizes, counts = np.unique(np.round(moved[moved > 0], 2), return_counts=True)
        modes.append(float(sizes[counts.argmax()]))
    return modes


def _field(selection: str, *path: str) -> Values:
    first, second = path
    return lambda results: [r[first][second] for r in _rows(results, selection)]


CLAIMS = [
    Claim(
        "trained", _RANDOM, "trained on the spiral: right for almost all points",
        "text", ("orders",), _accuracy("random", "trained"), (0.95, 1.0),
        shown="{:.1%}",
        said="Accuracies of 95% and more count; Adam at 0.1, which the figures need.",
        figures=_FILES,
    ),
    Claim(
        "random, trained first", _RANDOM, "random half removed after training: a large "
        "chunk is wrong", "text", ("orders",), _accuracy("random", "train_prune"),
        (0.0, 0.9), shown="{:.1%}", said="At most 90% counts.",
    ),
    Claim(
        "random, fine-tuned", _RANDOM, "and still after fine-tuning", "“The others "
        "just aren't”", ("orders",), _accuracy("random", "tuned"), (0.0, 0.9),
        shown="{:.1%}",
        said="At most 90% counts. Fine-tuned as long as they were trained, ours "
        "recover.",
    ),
    Claim(
        "random, pruned first", _RANDOM, "random half removed, then trained: functional"
        " and high scoring", "text", ("orders",), _accuracy("random", "prune_train"),
        (0.95, 1.0), shown="{:.1%}", said="Accuracies of 95% and more count.",
    ),
    Claim(
        "random, correlation", _RANDOM, "kernels of the two orders correlate",
        "“interesting correlations”", ("orders",), _correlated("random", "correlation"),
        said="95% intervals above zero.",
        figures={"kernels": "orders/fig_kernels.svg", "as image": "orders/kernels.png"},
    ),
    Claim(
        "never updated", _RANDOM, "weights that no step updated lie on the diagonal to "
        "machine precision", "figure", ("orders",),
        lambda results: [x > 0 for x in _field("random", "never_updated", "both")(
            results)],
        said="Equal to their first values to the bit, in both orders; at this rate a "
        "network may have none.",
    ),
    Claim(
        "cluster", _RANDOM, "distance of the clusters beside the diagonal", "0.59",
        ("orders",), _moved, 0.59, shown="{:.2f}",
        said="The most frequent change, to a hundredth. After one gradient Adam "
        "carries a weight 6.0055 learning rates, 0.6005.",
        figures={"moves": "orders/fig_moves.svg"},
    ),
    Claim(
        "cluster share", _RANDOM, "share of weights in the clusters", "figure",
        ("orders",), _field("random", "coasting", "prune_train"), (0.1, 0.5),
        shown="{:.0%}", said="A measure of ours; the source has a picture alone.",
        aside=True,
    ),
    Claim(
        "std, trained first", _STD, "half with the smallest deviation removed after "
        "training: indistinguishable", "text", ("orders",),
        _accuracy("std", "train_prune"), (0.95, 1.0), shown="{:.1%}",
        said="Accuracies of 95% and more count. Free at a rate of 0.1, where many "
        "units are constant, in most networks; at 0.01 it destroys them.",
    ),
    Claim(
        "std, pruned first", _STD, "the same removed first, then trained: similar",
        "figure", ("orders",), _accuracy("std", "prune_train"), (0.95, 1.0),
        shown="{:.1%}", said="Accuracies of 95% and more count.",
    ),
    Claim(
        "std, correlation", _STD, "kernels of the two orders correlate",
        "“a significant correlation”", ("orders",), _correlated("std", "correlation"),
        said="95% intervals above zero.",
    ),
    Claim(
        "std, roles", _STD, "remaining neurons end up in similar roles: updates "
        "correlate", "“often”", ("orders",),
        _correlated("std", "correlation_of_updates"),
    ),
]  # fmt: skip
