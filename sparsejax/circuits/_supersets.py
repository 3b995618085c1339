"""What becomes of a circuit when other nodes are switched on: exactly, or sampled."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from sparsejax.circuits._losses import Losses


class Supersets(NamedTuple):
    """Losses of a circuit together with others of the nodes.

    Attributes:
        keep_prob: chances that each of the others is on.
        means: mean loss at each of them.
        worst: largest loss.
        samples: number of samples at each chance; None if all supersets were looked at.
    """

    keep_prob: tuple[float, ...]
    means: tuple[float, ...]
    worst: float
    samples: int | None


def exactly(
    values: Float[np.ndarray, " subsets"],
    keep: Bool[np.ndarray, " n"],
    keep_prob: tuple[float, ...],
) -> Supersets:
    """From the losses of all subsets."""
    subset, numbers = _number(keep), np.arange(len(values))
    above = numbers & subset == subset
    others = np.bitwise_count(numbers[above]) - keep.sum()
    free = len(keep) - int(keep.sum())
    means = [
        float(values[above] @ (p**others * (1 - p) ** (free - others)))
        for p in keep_prob
    ]
    return Supersets(keep_prob, tuple(means), float(values[above].max()), None)


def sampled(
    losses: Losses,
    keep: Bool[np.ndarray, " n"],
    keep_prob: tuple[float, ...],
    samples: int,
    rng: np.random.Generator,
) -> Supersets:
    """From samples; the circuit alone and all nodes count among the worst."""
    ends = losses(np.stack([keep, np.ones_like(keep)]))
    parts = [
        losses(keep | (rng.random((samples, len(keep))) < chance))
        for chance in keep_prob
    ]
    worst = max(float(part.max()) for part in (ends, *parts))
    means = tuple(float(part.mean()) for part in parts)
    return Supersets(keep_prob, means, worst, samples)


def near(
    values: Float[np.ndarray, " subsets"], keep: Bool[np.ndarray, " n"], slack: float
) -> Bool[np.ndarray, "sets n"]:
    """The sets of the same size that are at most `slack` above the best of them."""
    n = len(keep)
    numbers = np.arange(len(values))
    same = numbers[np.bitwise_count(numbers) == keep.sum()]
    alike = same[values[same] <= values[same].min() + slack]
    return (alike[:, None] >> np.arange(n) & 1).astype(bool)


def minimal_count(values: Float[np.ndarray, " subsets"], target: float) -> int:
    """The number of sets that meet a target while no proper subset of them does."""
    meets = values <= target
    below = meets.copy()  # of the set or of any subset
    n = len(values).bit_length() - 1
    for i in range(n):
        view = below.reshape(-1, 2, 1 << i)
        view[:, 1] |= view[:, 0]
    smaller = np.zeros_like(meets)
    for i in range(n):  # of the set without one node
        smaller.reshape(-1, 2, 1 << i)[:, 1] |= below.reshape(-1, 2, 1 << i)[:, 0]
    return int((meets & ~smaller).sum())


def _number(keep: Bool[np.ndarray, " n"]) -> int:
    return int((1 << np.flatnonzero(keep)).sum())
