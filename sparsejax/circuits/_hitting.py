"""The smallest circuit, proved: minimum hitting sets of what cannot be left out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Key

from sparsejax import checks
from sparsejax._highs import smallest_hitting
from sparsejax.circuits._losses import Losses
from sparsejax.circuits._nodes import members


class HittingSet(NamedTuple):
    """A smallest valid set.

    Attributes:
        subset: flat indices of its nodes; None if even all together are not valid.
        proved: whether no smaller set is valid, provided that a valid set stays valid
            when nodes are added.
        evaluations: sets that were asked about, those of the check included.
        monotone_share: part of the sampled supersets of valid sets that are valid; 1
            where the condition may hold. A pair that breaks it takes the proof away.
        at_least: size that a valid set has at least, under the same condition.
    """

    subset: frozenset[int] | None
    proved: bool
    evaluations: int
    monotone_share: float
    at_least: int


def hitting_set(
    valid: Callable[[Bool[np.ndarray, " n"]], bool],
    n: int,
    *,
    key: Key[Array, ""] | Any,
    limit: int = 10_000,
    samples: int = 64,
) -> HittingSet:
    """The smallest valid set, by implicit hitting sets.

    A set that fails is grown until it fails only just; one of the nodes outside it is
    in every valid set. A smallest set that hits all of these cuts is a lower bound, and
    if it is valid, the answer. Circuits of a few essential nodes take a few evaluations
    for each; "any 8 of 16" takes as many as there are such sets.

    Args:
        valid: whether a set will do, given as a vector of bool; see `passing`.
        n: number of nodes.
        key: random key: the order in which sets grow, and the sampled supersets.
        limit: evaluations after which no further cut is looked for; the smallest valid
            set so far comes back, not proved. A cut takes up to n of them, the check
            `samples` more.
        samples: supersets of valid sets that the condition is checked on.

    Returns:
        The `HittingSet`.

    Raises:
        ValueError: for a number of nodes below 1.

    Example:
        >>> both = lambda keep: bool(keep[1] and (keep[0] or keep[3]))
        >>> result = hitting_set(both, 5, key=jax.random.key(0))
        >>> len(result.subset), 1 in result.subset, result.proved
        (2, True, True)
    """
    n, limit = checks.integer(n, "n", 1), checks.integer(limit, "limit", 1)
    checks.one_key(key)
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))))
    asked = _Asked(valid)
    if not asked(np.ones(n, bool)):
        return HittingSet(None, False, asked.count, 1.0, n + 1)
    smallest = _shrunk(asked, rng.permutation(n))
    cuts: list[np.ndarray] = []
    least, proved = 0, False
    while asked.count < limit:
        candidate = smallest_hitting(cuts, n)
        least = int(candidate.sum())
        proved = least == smallest.sum()  # also where an earlier one is as small
        if proved:
            break
        if asked(candidate):
            smallest, proved = candidate, True
            break
        cuts.append(~_grown(asked, candidate, rng.permutation(n)))
    share = _monotone(asked, smallest, samples, rng)
    proved = proved and share == 1.0
    subset = frozenset(members(smallest))
    return HittingSet(subset, proved, asked.count, share, least)


def passing(losses: Callable, nodes: Any, target: float) -> Callable:
    """Whether a set meets a target, for `hitting_set`.

    Args:
        losses: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        target: loss that a circuit may have.

    Returns:
        A function of a vector of bool over the nodes.

    Example:
        >>> import jax.numpy as jnp
        >>> valid = passing(lambda m: 1 - m["h"].max(), {"h": jnp.ones(2)}, target=0.1)
        >>> bool(valid(np.array([False, True]))), bool(valid(np.array([False, False])))
        (True, False)
    """
    evaluate = Losses(losses, nodes, 1)

    def valid(keep):
        return evaluate.of(np.asarray(keep)) <= target

    return valid


class _Asked:
    """A predicate that remembers what it said."""

    def __init__(self, valid: Callable):
        self._valid, self.answers = valid, {}

    def __call__(self, keep: Bool[np.ndarray, " n"]) -> bool:
        name = keep.tobytes()
        if name not in self.answers:
            self.answers[name] = bool(self._valid(keep.copy()))
        return self.answers[name]

    @property
    def count(self) -> int:
        return len(self.answers)


def _shrunk(asked: _Asked, order: np.ndarray) -> Bool[np.ndarray, " n"]:
    """A valid set without the nodes that can go one after the other."""
    keep = np.ones(len(order), bool)
    for node in order:
        keep[node] = False
        keep[node] = not asked(keep)
    return keep


def _grown(asked: _Asked, failing, order) -> Bool[np.ndarray, " n"]:
    """A failing set with all the nodes that can be added one after the other."""
    keep = failing.copy()
    for node in order[~failing[order]]:
        keep[node] = True
        keep[node] = not asked(keep)
    return keep


def _monotone(asked: _Asked, smallest, samples: int, rng) -> float:
    """The part of supersets of valid sets that are valid, among those looked at."""
    chances = rng.random(samples)
    for chance in chances:
        asked(smallest | (rng.random(len(smallest)) < chance))
    sets = np.array([np.frombuffer(name, bool) for name in asked.answers])
    valid = np.array([*asked.answers.values()])
    good = 0
    total = 0
    minimal = sets[valid]
    minimal = minimal[np.argsort(minimal.sum(1), kind="stable")][:64]
    for below in minimal:
        above = (sets | ~below).all(1)
        good += int(valid[above].sum())
        total += int(above.sum())
    return good / total if total else 1.0
