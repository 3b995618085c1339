"""Soltani Moakhar et al. (2024): pruning a network for one sample, the project page."""

import numpy as np

from sparsejax.experiments import spade
from sparsejax.experiments.reproduce.claim import Claim, Results, Values

TITLE = "Soltani Moakhar, Iofinova, Frantar, Alistarh, “SPADE” (2024), project page"
_TOY, _RESULTS = "Why SPADE works", "SPADE Results"


def _inside(arm: str, disc: str) -> Values:
    """Share of the points found that lie in a disc, a network each."""

    def get(results):
        points = results.arrays("spade", "toy")[f"points/{arm}"]
        return spade.inside(points, disc).mean(axis=1).tolist()

    return get


def _both(results: Results) -> list[bool]:
    shares = zip(_inside("dense", "large")(results), _inside("dense", "small")(results),
                 strict=True)  # fmt: skip
    return [large > 0.1 and small > 0.1 for large, small in shares]


def _gained(results: Results) -> list[float]:
    """Points of AUC that SPADE gains, a network each."""
    rows = [r for r in results.records("spade") if r["arm"] == "spade"]
    return [100 * float(np.mean(r["gain"])) for r in rows]


def _ahead(results: Results) -> list[bool]:
    """Whether SPADE's maps are better than those of controls that look elsewhere."""
    rows = results.records("spade")
    auc = {(r["seed"], r["arm"]): r["auc"] for r in rows}
    return [
        auc[seed, "spade"] > max(auc[seed, name] for name in
                                 ("other", "dataset", "magnitude"))
        for seed in dict.fromkeys(r["seed"] for r in rows)
    ]  # fmt: skip


def _amount(arm: str) -> Values:
    """How much of the patch is in a class's pictures, mean of each class."""

    def get(results):
        arrays = results.arrays("spade", "pictures")
        if f"amount/{arm}" not in arrays:
            return []
        return arrays[f"amount/{arm}"].mean(axis=1).tolist()

    return get


def _more(one: str, other: str) -> Values:
    return lambda results: [
        a > b for a, b in zip(_amount(one)(results), _amount(other)(results),
                              strict=True)
    ]  # fmt: skip


CLAIMS = [
    Claim(
        "toy, dense", _TOY, "points that drive a unit lie in both of its regions",
        "figure", ("spade",), _both, said="At least a tenth of them in each.",
        figures={"toy": "spade/fig_toy.svg"},
    ),
    Claim(
        "toy, large", _TOY, "pruned for a sample of the larger region: in that one",
        "figure, scenario 1", ("spade",), _inside("large", "large"), (0.95, 1.0),
        shown="{:.0%}", said="At least 95% of the points count.",
    ),
    Claim(
        "toy, small", _TOY, "pruned for a sample of the smaller region: in that one",
        "figure, scenario 2", ("spade",), _inside("small", "small"), (0.95, 1.0),
        shown="{:.0%}", said="At least 95% of the points count.",
    ),
    Claim(
        "saliency", _RESULTS, "saliency maps are better: points of AUC gained over the "
        "dense network", "“more detail”", ("spade",), _gained, (0.0, 100.0),
        shown="{:+.1f}",
        said="Against the place of a planted patch, ResNet-20 on CIFAR-10; the "
        "source's ResNet-50 and ImageNet are not at hand.",
        figures={"AUC": "spade/fig_auc.svg", "maps": "spade/fig_maps.svg"},
    ),
    Claim(
        "saliency, controls", _RESULTS, "and than those of networks pruned as much for "
        "something else", "", ("spade",), _ahead, said="A control of ours.", aside=True,
    ),
    Claim(
        "backdoor, patch", _RESULTS, "pruned for an image with the patch, a class's "
        "picture has more of the patch than for one without", "text", ("spade",),
        _more("patched", "clean"), said="Of four classes.",
        figures={"pictures": "spade/fig_causes.svg"},
    ),
    Claim(
        "backdoor, dense", _RESULTS, "the dense network's picture does not show the "
        "patch: less than for an image with it", "text", ("spade",),
        _more("patched", "dense"),
        said="In some classes ours shows it as clearly.",
    ),
    Claim(
        "feature visualization", _RESULTS, "pictures of ResNet-50's units, per sample",
        "figure", unchecked="Needs ResNet-50 and ImageNet, which are not at hand.",
    ),
]  # fmt: skip
