"""Records of a run, and how much better one way of pruning is than another."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsejax.experiments._study import records as records_
from sparsejax.experiments.spade.measure import ARMS, METHODS, STAGES

Records = Sequence[Mapping[str, Any]]
COLUMNS = {
    "agreement": "agrees with dense", "pointing": "pointing game",
    "insertion": "insertion", "deletion": "deletion",
    **{f"auc, {name}": f"AUC, {name}" for name in METHODS},
}  # fmt: skip
_DRAWS = 10_000  # of the bootstrap


def records(seed: int, arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """A record for each arm: means over images, and the paired gain over dense."""
    rows = []
    for arm in ARMS:

        def of(name, arm=arm):
            return arrays[f"measures/{arm}/{name}"]

        gain = of("auc") - arrays["measures/dense/auc"]
        rows.append({
            "seed": seed, "arm": arm, "images": len(gain),
            "test_accuracy": float(arrays["accuracy"]),
            "success": float(arrays["success"]),
            "densities": dict(zip(STAGES, arrays["density"].tolist(), strict=True)),
            **{name: float(of(name).mean()) for name in ("auc", *COLUMNS)},
            "gain": gain.tolist(),
        })  # fmt: skip
    return rows


def gains(
    records: Records, arm: str, over: str = "dense"
) -> tuple[float, float, float]:
    """Mean gain in AUC over another arm, and its 95% interval, in points.

    Images are paired; seeds are drawn with replacement, then images within each.
    """

    def of(arm):
        return [100 * np.asarray(r["gain"]) for r in records if r["arm"] == arm]

    groups = [a - b for a, b in zip(of(arm), of(over), strict=True)]
    rng = np.random.default_rng(0)

    def draw(n, shape):
        return rng.integers(0, n, (_DRAWS, *shape))

    # (draws, slots, seeds): what every slot would be, were it of that seed
    each = [g[draw(len(g), (len(groups), len(g)))].mean(-1) for g in groups]
    slots = draw(len(groups), (len(groups),))[..., None]
    means = np.take_along_axis(np.stack(each, -1), slots, -1).mean((1, 2))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.mean([g.mean() for g in groups])), float(low), float(high)


def mean(records: Records, arm: str, name: str) -> float:
    """Mean of a field over the seeds of an arm."""
    return records_.mean((r for r in records if r["arm"] == arm), name)


def told(interval: tuple[float, float, float]) -> str:
    """A mean and its interval in words.

    Example:
        >>> told((1.04, -0.5, 2.0))
        '+1.0 (-0.5 to +2.0)'
    """
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*interval)
