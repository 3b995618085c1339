"""How good a circuit is, by the measures of the field, without sampling.

v(S) is the value of subset S, lower is better; M is all nodes, 0 is none.

References: Wang et al., "Interpretability in the wild", 2022 (arXiv:2211.00593), for
completeness and minimality; Mueller et al., "MIB: A mechanistic interpretability
benchmark", 2025 (arXiv:2504.13151), for CPR and CMD.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from sparsejax import checks
from sparsejax.hypercube._exact import table_of


class Gap(NamedTuple):
    """The largest difference and where it is.

    Attributes:
        value: the difference.
        subset: number of the subset of nodes that makes it.
    """

    value: float
    subset: int


def faithfulness(values: ArrayLike) -> Float[np.ndarray, " subsets"]:
    """How much of the whole network's gain each subset has.

    f(S) = (v(0) - v(S)) / (v(0) - v(M)): 0 without nodes, 1 with all of them; above 1
    for subsets that are better than the whole.

    Args:
        values: of all subsets, shape (2^n,).

    Raises:
        ValueError: if all nodes are as good as none.

    Example:
        >>> faithfulness(np.array([4.0, 1.0, 3.0, 2.0])).tolist()
        [0.0, 1.5, 0.5, 1.0]
    """
    table, _ = table_of(values)
    if table[0] == table[-1]:
        raise ValueError(
            f"the value of all nodes is that of none, {table[0]}: faithfulness would "
            "divide by their difference"
        )
    return (table[0] - table) / (table[0] - table[-1])


def cpr(
    values: ArrayLike,
    subsets: ArrayLike | Iterable,
    *,
    points: ArrayLike | Iterable | None = None,
) -> float:
    """Area under the faithfulness of the circuits of all sizes; higher is better.

    CPR = integral of f(C_k) over the share k / n of kept nodes, by trapezoids over all
    sizes. What the best subsets reach, `cpr(values, best(values).subsets)`, is the
    ceiling.

    Args:
        values: of all subsets, shape (2^n,).
        subsets: number of the circuit of every size, 0 to n nodes.
        points: shares p of nodes to take in place of all, ascending; their circuits
            have int(p n) nodes. MIB takes .001, .002, .005, .01, .02, .05, .1, .2, .5
            and 1.

    Raises:
        ValueError: if the circuits do not have 0 to n nodes, or a share is not in
            [0, 1] or not above the one before.

    Example:
        >>> cpr(np.array([4.0, 1.0, 3.0, 2.0]), [0, 2, 3])
        0.5
    """
    shares, f = _curve(values, subsets, points)
    return float(np.trapezoid(f, shares))


def cmd(
    values: ArrayLike,
    subsets: ArrayLike | Iterable,
    *,
    points: ArrayLike | Iterable | None = None,
) -> float:
    """Area between the faithfulness of the circuits and 1; lower is better.

    CMD = integral of |1 - f(C_k)|: circuits that are better than the whole network do
    not do what it does. CPR + CMD is at least the range of shares, 1.

    Args:
        values: of all subsets, shape (2^n,).
        subsets: as in `cpr`.
        points: as in `cpr`.

    Raises:
        ValueError: as `cpr`.

    Example:
        >>> cmd(np.array([4.0, 1.0, 3.0, 2.0]), [0, 1, 3])
        0.5
    """
    shares, f = _curve(values, subsets, points)
    return float(np.trapezoid(np.abs(1 - f), shares))


def completeness(values: ArrayLike, subset: SupportsIndex) -> Gap:
    """How differently a circuit and the whole network take the loss of its nodes.

    max over K within C of |v(C - K) - v(M - K)|, 0 for a complete circuit: whatever the
    network has in its place, a backup too, the circuit has. Exact, of 2^|C| sets K;
    where it is sampled it is a lower bound.

    Args:
        values: of all subsets, shape (2^n,).
        subset: number of the circuit C.

    Returns:
        The largest difference, and the set K that makes it.

    Raises:
        ValueError: if there is no such subset.

    Example:
        >>> completeness(np.array([5.0, 0.0, 0.0, 0.0]), 1)
        Gap(value=5.0, subset=1)
    """
    table, _, subset = of_subset(values, subset)
    removed = _within(subset)
    gaps = np.abs(table[subset ^ removed] - table[(len(table) - 1) ^ removed])
    at = int(gaps.argmax())
    return Gap(float(gaps[at]), int(removed[at]))


def minimality(values: ArrayLike, subset: SupportsIndex) -> Float[np.ndarray, " nodes"]:
    """How much each node of a circuit matters to what is left of it.

    max over K within C - j of |v(C - K - j) - v(C - K)|, for every node j. A circuit is
    minimal if all of them are above a threshold; a node at 0 is not part of it.

    Args:
        values: of all subsets, shape (2^n,).
        subset: number of the circuit C.

    Returns:
        One difference for each node of the circuit, in their order.

    Raises:
        ValueError: if there is no such subset.

    Example:
        >>> minimality(np.array([5.0, 0.0, 5.0, 0.0]), 3).tolist()
        [5.0, 0.0]
    """
    table, n, subset = of_subset(values, subset)
    kept = _within(subset)

    def largest(bit):
        own = kept[kept & bit > 0]
        return np.abs(table[own ^ bit] - table[own]).max()

    bits = [1 << i for i in range(n) if subset >> i & 1]
    return np.array([largest(bit) for bit in bits], np.float64)


def _curve(values, subsets, points) -> tuple[np.ndarray, np.ndarray]:
    """Shares of nodes and the faithfulness of their circuits."""
    f = faithfulness(values)
    n = len(f).bit_length() - 1
    numbers = np.asarray(checks.several(subsets))
    if numbers.shape != (n + 1,) or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"subsets are {checks.described(numbers)}; expected {n + 1} integers, a "
            f"circuit of every size from 0 to {n} nodes"
        )
    for size, number in enumerate(numbers.tolist()):
        if not 0 <= number < len(f) or number.bit_count() != size:
            raise ValueError(
                f"subset {number} at {size} is not one of {size} of {n} nodes"
            )
    if points is None:
        return np.arange(n + 1) / n, f[numbers]
    shares = np.asarray(checks.several(points), np.float64)
    rising = shares.ndim == 1 and len(shares) > 1 and (np.diff(shares) > 0).all()
    if not rising or not 0 <= shares[0] <= shares[-1] <= 1:
        raise ValueError(f"points are {points}; expected rising shares in [0, 1]")
    return shares, f[numbers[(shares * n).astype(int)]]


def of_subset(values: ArrayLike, subset: Any) -> tuple[np.ndarray, int, int]:
    """The table, the number of nodes, and a subset of them."""
    table, n = table_of(values)
    number = checks.integer(subset, "subset", 0)
    if number >= len(table):
        raise ValueError(
            f"subset is {number}; expected at most {len(table) - 1}, all of {n} nodes"
        )
    return table, n, number


def _within(subset: int) -> Int[np.ndarray, " parts"]:
    """All subsets of a subset."""
    parts = np.zeros(1, np.int64)
    for i in range(subset.bit_length()):
        if subset >> i & 1:
            parts = np.concatenate([parts, parts | 1 << i])
    return parts
