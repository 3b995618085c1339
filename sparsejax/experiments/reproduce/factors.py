"""How much of a convolution's weights three one-sided non-negative factors explain."""

from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import trees, weights
from sparsejax.experiments import subjects

NUM_FACTORS = 3  # red, green and blue in the source's figure


def measure(
    folder: Path | None, data_dir: str | Path | None = None
) -> list[dict[str, Any]]:
    """A row for each convolution of ResNet-20 that reads more than three channels.

    `unit` and `group` are shares of the squared norm that three factors keep: of every
    unit's own (mean over units), and of all units' together; `unit_shuffled` and
    `group_shuffled` those of the same weights in random places. `tail` is the share of
    the weights, largest first, that hold 90% of the squared norm.

    Args:
        folder: unused.
        data_dir: folder above `resnet_cifar10`.
    """
    params = subjects.pretrained(data_dir=data_dir).params
    kernels = {
        path: np.asarray(leaf) for path, leaf in trees.by_path(params).items()
        if np.ndim(leaf) == 4 and np.shape(leaf)[2] > NUM_FACTORS
    }  # fmt: skip
    return [{"kernel": path, **_explained(w)} for path, w in kernels.items()]


def _explained(kernel: np.ndarray) -> dict[str, float]:
    shuffled = np.random.default_rng(0).permuted(kernel.ravel()).reshape(kernel.shape)
    kept = {
        f"{form}{suffix}": float(
            1 - np.mean(np.square(weights.factor(w, NUM_FACTORS, form).error))
        )
        for suffix, w in (("", kernel), ("_shuffled", shuffled))
        for form in ("unit", "group")
    }
    squares = np.sort(np.square(kernel.ravel(), dtype=np.float64))[::-1]
    total = np.cumsum(squares) / squares.sum()
    return {**kept, "tail": float((np.searchsorted(total, 0.9) + 1) / len(total))}
