"""What a circuit is compared with: other sets, random sets, and controls."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool

from sparsejax import checks
from sparsejax.circuits import _supersets as supersets_
from sparsejax.circuits._losses import Losses
from sparsejax.circuits._nodes import layout, members, subset
from sparsejax.circuits._ranking import Ranking
from sparsejax.circuits._supersets import Supersets
from sparsejax.circuits._verdict import Control


class Alternatives(NamedTuple):
    """Other circuits that do as well.

    Attributes:
        sets: those of the same size, near the best, this one among them if it is near.
        slack: how far above the best their losses may be.
        necessary: nodes that all of them have.
        minimal: number of sets of any size that meet the target while no part of them
            does; None without a table or a target.
        exact: whether all sets were looked at, or those of finders alone.
    """

    sets: tuple[tuple[int, ...], ...]
    slack: float
    necessary: tuple[int, ...]
    minimal: int | None
    exact: bool


class Sampling(NamedTuple):
    """How supersets are looked at."""

    chances: tuple[float, ...]
    count: int
    rng: np.random.Generator

    def above(self, losses: Losses, keep, values=None) -> Supersets:
        if values is not None:
            return supersets_.exactly(values, keep, self.chances)
        return supersets_.sampled(losses, keep, self.chances, self.count, self.rng)


def samplings(key, keep_prob, supersets) -> list[Sampling]:
    """How the circuit, random sets and controls are sampled, each by itself."""
    checks.one_key(key)
    chances = tuple(float(p) for p in checks.several(keep_prob))
    if not chances or not all(0 <= p <= 1 for p in chances):
        raise ValueError(f"keep_prob is {chances}; expected chances in [0, 1]")
    count = checks.integer(supersets, "supersets", 1)
    seeds = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))))
    return [Sampling(chances, count, rng) for rng in seeds.spawn(3)]


def of_control(losses: Losses, ranking: Ranking, keep, sampling: Sampling) -> Control:
    """A control's own circuit of the same size."""
    size = int(keep.sum())
    above = sampling.above(losses, ranking.keep[size])
    full = losses.of(np.ones_like(keep))
    return Control(float(ranking.losses[size]), full, above.means[0])


def of_random(losses: Losses, keep, sampling: Sampling) -> Control:
    """Random sets of the same size, alone and with others."""
    rng, shape = sampling.rng, (sampling.count, len(keep))
    rows = rng.random(shape).argsort(axis=1) < keep.sum()
    more = rows | (rng.random(shape) < sampling.chances[0])
    full = losses.of(np.ones_like(keep))
    return Control(float(losses(rows).mean()), full, float(losses(more).mean()))


def row_of(other, nodes, size: int) -> Bool[np.ndarray, " n"]:
    """The set of another finder, of the circuit's size if it is a ranking."""
    if isinstance(other, Ranking):
        if other.keep.shape[1] != layout(nodes).count:
            raise ValueError(
                f"a ranking among others is of {other.keep.shape[1]} nodes; expected "
                f"one of the {layout(nodes).count} nodes"
            )
        return other.keep[size]
    return subset(other, nodes)


def alternatives(losses: Losses, values, keep, rows, slack, target) -> Alternatives:
    """Sets of the same size near the best, of all sets or of those of finders."""
    if values is not None:
        sets = supersets_.near(values, keep, slack)
        count = None if target is None else supersets_.minimal_count(values, target)
    else:
        same = [row for row in rows.values() if row.sum() == keep.sum()]
        sets = np.unique(np.array([keep, *same]), axis=0)[::-1]
        costs = losses(sets)
        sets, count = sets[costs <= costs.min() + slack], None
    return Alternatives(
        tuple(members(row) for row in sets),
        slack,
        members(np.asarray(sets.all(0))),
        count,
        values is not None,
    )


def stability(keep, rows) -> float | None:
    """The mean overlap with the sets of others."""
    if not rows:
        return None
    overlaps = [
        (keep & row).sum() / max((keep | row).sum(), 1) for row in rows.values()
    ]
    return float(np.mean(overlaps))
