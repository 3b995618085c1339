"""Voss et al. (2021): looking at weights, as far as the document has the article."""

import numpy as np

from sparsejax.experiments.reproduce.claim import Claim, Results, Values

TITLE = "Voss et al., “Visualizing Weights” (2021), abridged"
_SIZE, _SPARSE = "Dimensionality and Scale", 0.07
_NORMAL = 0.444  # of normal weights, the largest, that hold 90% of their squared norm


def _factors(field: str) -> Values:
    return lambda results: [row[field] for row in results.records("factors")]


def _over_shuffled(form: str) -> Values:
    """What factors explain, over what they do of the same weights in random places."""
    return lambda results: [
        row[form] / row[f"{form}_shuffled"] for row in results.records("factors")
    ]


def _means(results: Results, field: str, apart: int) -> dict[tuple[int, int], float]:
    """Means over pairs of layers, not from the input, by seed and level of tickets."""
    groups: dict[tuple[int, int], list[float]] = {}
    for row in results.records("weights"):
        inside = row["source"] != "input" and row["apart"] == apart and row["alive"]
        if row["arm"] == "rewind" and inside:
            share = row[field] / (row["channels"] if field == "inputs" else 1)
            groups.setdefault((row["seed"], row["level"]), []).append(share)
    return {where: float(np.mean(values)) for where, values in groups.items()}


def _sparse_over_dense(field: str, apart: int) -> Values:
    """A measure at about 6% of the weights over that of the dense network."""

    def get(results):
        levels = {
            r["level"] for r in results.records("weights")
            if r["arm"] == "rewind" and r["density"] <= _SPARSE
        }  # fmt: skip
        means = _means(results, field, apart)
        seeds = dict.fromkeys(seed for seed, _ in means)
        return [means[seed, min(levels)] / means[seed, 0] for seed in seeds]

    return get


CLAIMS = [
    Claim(
        "NMF figure", "One simple trick", "units' input weights in three one-sided "
        "NMF factors", "figure", ("weights",),
        said="Of ResNet-8's last stage; InceptionV1 is not at hand.",
        figures={"pages of units": "weights/index.html"},
    ),
    Claim(
        "NMF of units", _SIZE, "a very small number of components explains much: share "
        "of a unit's squared norm in three, over that of shuffled weights", "“often”",
        ("factors",), _over_shuffled("unit"), (1.1, 10.0),
        said="Convolutions of ResNet-20, mean over units; a tenth more than chance "
        "counts, since three factors explain most of random weights, too.",
        shown="{:.2f}",
    ),
    Claim(
        "NMF of a layer", _SIZE, "a small number of factors explains a whole set of "
        "neurons: share of a layer's squared norm in three", "“sometimes”",
        ("factors",),
        lambda results: [max(_factors("group")(results))], (0.5, 1.0), shown="{:.0%}",
        said="Of the layer of ResNet-20 that three explain best; half and more counts.",
    ),
    Claim(
        "NMF of a layer, chance", _SIZE, "the same over that of shuffled weights", "",
        ("factors",), _over_shuffled("group"), (1.1, 10.0), shown="{:.2f}",
        said="A control of ours, for every layer.", aside=True,
    ),
    Claim(
        "long tail", _SIZE, "a long tail of small weights: share of the weights that "
        "hold 90% of the squared norm", "text", ("factors",), _factors("tail"),
        (0.0, _NORMAL), shown="{:.0%}",
        said="Of normally distributed weights it is 44%; fewer is a longer tail.",
    ),
    Claim(
        "sparse, inputs", _SIZE, "sparse networks make it better: inputs that hold 90% "
        "of a unit's norm, over the dense network's", "“some hope”", ("weights",),
        _sparse_over_dense("inputs", 1), (0.0, 0.8), shown="{:.2f}",
        said="At 6.25% of the weights, ResNet-8 on scenes; a fifth fewer counts as "
        "better.",
        figures={"readability": "weights/fig_readability.svg"},
    ),
    Claim(
        "sparse, cancelled", "Indirect interactions", "the same of how much paths "
        "through two layers cancel (expanded weights)", "", ("weights",),
        _sparse_over_dense("cancellation", 2), (0.0, 0.8), shown="{:.2f}",
        said="A measure of ours on the expanded weights.", aside=True,
    ),
    Claim(
        "expanded", "Indirect interactions", "expanded weights two layers apart",
        "named, not drawn in this abridgment", ("weights",),
        figures={"pages of units": "weights/index.html"},
    ),
    Claim(
        "InceptionV1", "One simple trick", "ten neurons of mixed4d_5x5", "figure",
        unchecked="Needs InceptionV1, which is not at hand.",
    ),
]  # fmt: skip
