"""Small sets that pass a test, with what is known of their being minimal.

`valid` takes a set of units (booleans) and says True or False; every answer may cost a
proof, so that all are remembered by the caller. Nothing here knows of networks.
"""

import itertools as it
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from sparsejax._highs import smallest_hitting

MOST = 1024  # sets that are looked through one by one
Valid = Callable[[np.ndarray], bool]


def without(kept: np.ndarray, units: int | np.ndarray) -> np.ndarray:
    """A set less some units."""
    smaller = kept.copy()
    smaller[units] = False
    return smaller


def quasi(valid: Valid, order: np.ndarray) -> np.ndarray:
    """A valid set that lacks the first units in an order, by bisection.

    Some unit is essential: without the next one the set is not valid.
    """
    whole = np.ones(len(order), bool)
    fine, fails = 0, len(order) + 1
    while fails - fine > 1:
        middle = (fine + fails) // 2
        if valid(without(whole, order[:middle])):
            fine = middle
        else:
            fails = middle
    return without(whole, order[:fine])


def local(valid: Valid, kept: np.ndarray, order: np.ndarray) -> np.ndarray:
    """A valid set from which no single unit can go, of a valid one."""
    failed = 0
    for unit in it.cycle(order[kept[order]].tolist()):
        if failed >= kept.sum():
            return kept
        if not kept[unit]:
            continue
        smaller = without(kept, unit)
        failed += 1
        if valid(smaller):
            kept, failed = smaller, 0
    return kept


def subset(
    valid: Valid, kept: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, bool]:
    """A valid set without valid proper subsets, and whether all were looked at."""
    kept = local(valid, kept, order)
    while True:
        units = np.flatnonzero(kept)
        if 2 ** len(units) > MOST:
            return kept, False
        sizes = range(len(units) - 1)  # those that lack one unit have been tried
        smaller = next((s for s in _subsets(kept, units, sizes) if valid(s)), None)
        if smaller is None:
            return kept, True
        kept = smaller


def cardinal(
    valid: Valid, order: np.ndarray, proofs: int
) -> tuple[np.ndarray | None, bool]:
    """A smallest valid set, and whether that is proved without monotonicity.

    Few units: all sets, the small ones first. Many: a set that hits all cuts, each of
    which some valid set must hit, is valid or gives another cut. That the cuts must be
    hit rests on the test being monotone: what contains a valid set is valid.

    Args:
        valid: the test.
        order: the units.
        proofs: how many different sets may be tested.

    Returns:
        None for the set where `proofs` tests were not enough.
    """
    try:
        return _smallest(_limited(valid, proofs), order)
    except _Spent:
        return None, False


class _Spent(Exception):
    """As many sets were tested as may be."""


def _limited(valid: Valid, proofs: int) -> Valid:
    """A test that gives up after so many different sets."""
    tested: set[bytes] = set()

    def ask(kept: np.ndarray) -> bool:
        tested.add(kept.tobytes())
        if len(tested) > proofs:
            raise _Spent
        return bool(valid(kept))

    return ask


def _smallest(valid: Valid, order: np.ndarray) -> tuple[np.ndarray, bool]:
    units = np.arange(len(order))
    whole = np.ones(len(order), bool)
    if 2 ** len(units) <= MOST:
        sizes = range(len(units) + 1)
        return next(s for s in _subsets(whole, units, sizes) if valid(s)), True
    cuts: list[np.ndarray] = []
    while True:
        smallest = smallest_hitting(cuts, len(order))
        if valid(smallest):
            return smallest, False
        failing = smallest
        for unit in order[::-1].tolist():
            if failing[unit]:
                continue
            larger = failing.copy()
            larger[unit] = True
            if not valid(larger):
                failing = larger
        cuts.append(~failing)


def _subsets(
    kept: np.ndarray, units: np.ndarray, sizes: Iterable[int]
) -> Iterable[np.ndarray]:
    for size in sizes:
        for chosen in it.combinations(units.tolist(), size):
            smaller = np.zeros_like(kept)
            smaller[list(chosen)] = True
            yield smaller


def contradictions(sets: Sequence[tuple[np.ndarray, bool]]) -> int:
    """How many pairs of a valid set and one that is not, which contains it."""
    if not sets:
        return 0
    member = np.stack([kept for kept, _ in sets])
    valid = np.array([answer for _, answer in sets])
    inside = ~((member[valid][:, None] & ~member[~valid][None]).any(axis=2))
    return int(inside.sum())
