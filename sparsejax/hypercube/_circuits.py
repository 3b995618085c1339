"""Which subsets are enough: of all of them, by passes over the nodes.

Values are losses here, lower is better, and a circuit is a subset whose value is low
enough. One low value proves little: the same nodes among others may be far off, other
subsets may be as good, and smaller ones may do. With all values at hand each of these
is exact, in n passes over the table.

References: Wang et al., "Interpretability in the wild", 2022 (arXiv:2211.00593);
Gao et al., "Weight-sparse transformers have interpretable circuits", 2025
(arXiv:2511.13653).
"""

from collections.abc import Callable
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from sparsejax import checks
from sparsejax.hypercube._exact import Best, best, subset_sizes, table_of


def worst(values: ArrayLike) -> Float[np.ndarray, " subsets"]:
    """The highest value among each subset and its supersets: max over T >= S of v(T).

    How far off a circuit is if other nodes may be switched on, by one choice of them
    for the whole data set.

    Args:
        values: of all subsets, shape (2^n,).

    Example:
        >>> worst(np.array([3.0, 1.0, 2.0, 0.0])).tolist()
        [3.0, 1.0, 2.0, 0.0]
        >>> worst(np.array([0.0, 1.0, 2.0, 0.5])).tolist()
        [2.0, 1.0, 2.0, 0.5]
    """
    table, n = table_of(values)

    def step(without, with_it):
        np.maximum(without, with_it, out=without)

    return _passes(table, n, step)


def over_supersets(
    values: ArrayLike, keep_prob: ArrayLike
) -> Float[np.ndarray, " subsets"]:
    """The mean value of each subset with any of the other nodes, by chance.

    sum over T >= S of q^|T - S| (1 - q)^(n - |T|) v(T): a circuit that computes what
    it seems to stays low, one that was fitted to be low alone does not. Set it beside
    the same of the whole network's task and of controls.

    Args:
        values: of all subsets, shape (2^n,).
        keep_prob: probability q that each node outside the subset is kept.

    Raises:
        ValueError: if `keep_prob` is not one number in [0, 1].

    Example:
        >>> over_supersets(np.array([0.0, 1.0, 2.0, 3.0]), 0.5).tolist()
        [1.5, 2.0, 2.5, 3.0]
    """
    table, n = table_of(values)
    q = np.asarray(keep_prob)
    if q.ndim or not 0 <= q <= 1:
        raise ValueError(f"keep_prob must be one number in [0, 1], got {keep_prob}")

    def step(without, with_it):
        without *= 1 - q
        without += q * with_it

    return _passes(table, n, step)


def best_worst(values: ArrayLike) -> Best:
    """The subset of every size whose worst superset is lowest: `best(worst(values))`.

    Args:
        values: of all subsets, shape (2^n,).

    Example:
        >>> best_worst(np.array([3.0, 0.0, 2.0, 1.0]))
        Best(values=array([3., 1., 1.]), subsets=array([0, 1, 3]))
    """
    return best(worst(values))


def minimal(values: ArrayLike, target: ArrayLike) -> Int[np.ndarray, " circuits"]:
    """All subsets up to the target of which no proper subset is.

    Not only the smallest: of an OR of two circuits both are minimal, and a larger one
    that needs other nodes is too.

    Args:
        values: of all subsets, shape (2^n,).
        target: highest value of a circuit.

    Returns:
        Numbers of the subsets by size, then number; none if no value is that low.

    Raises:
        ValueError: if the target is not a number.

    Example:
        >>> minimal(np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), 0.5).tolist()
        [2, 5]
    """
    table, n = table_of(values)
    valid = table <= _number(target, "target")

    def reach(without, with_it):
        with_it |= without

    below = _passes(valid.copy(), n, reach)  # whether any subset of it is valid
    subsets = valid
    for i in range(n):
        own, within = (array.reshape(-1, 2, 1 << i) for array in (subsets, below))
        own[:, 1] &= ~within[:, 0]
    numbers = np.flatnonzero(subsets)
    return numbers[np.argsort(subset_sizes(n)[numbers], kind="stable")]


def necessary(values: ArrayLike, target: ArrayLike) -> Int[np.ndarray, " nodes"]:
    """The nodes that every subset up to the target keeps.

    Args:
        values: of all subsets, shape (2^n,).
        target: highest value of a circuit.

    Returns:
        Numbers of nodes; none also where no value is that low.

    Raises:
        ValueError: if the target is not a number.

    Example:
        >>> necessary(np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]), 0.5).tolist()
        [1]
    """
    table, n = table_of(values)
    valid = np.flatnonzero(table <= _number(target, "target"))
    common = np.bitwise_and.reduce(valid) if len(valid) else 0
    return np.flatnonzero(common >> np.arange(n) & 1)


def near(
    values: ArrayLike, size: SupportsIndex, slack: ArrayLike
) -> Int[np.ndarray, " circuits"]:
    """All subsets of a size whose value is close to the best of them.

    Where there are several, one is not "the" circuit: `bits.all(0)` are the nodes that
    all of them keep and `bits.mean(0)` how often each is kept, of `bits =
    subsets[:, None] >> np.arange(n) & 1`.

    Args:
        values: of all subsets, shape (2^n,).
        size: number of nodes.
        slack: largest distance from the best value.

    Returns:
        Numbers of the subsets, by value; of equal ones by number.

    Raises:
        ValueError: if the size is not from 0 to n, or the slack below 0.

    Example:
        >>> near(np.array([9.0, 2.0, 1.0, 0.0, 1.5, 0.0, 0.0, 0.0]), 1, 0.6).tolist()
        [2, 4]
    """
    table, n = table_of(values)
    size = checks.integer(size, "size", 0)
    if size > n:
        raise ValueError(f"size is {size}; expected at most the number of nodes, {n}")
    if not _number(slack, "slack") >= 0:
        raise ValueError(f"slack is {slack}; expected at least 0")
    subsets = np.flatnonzero(subset_sizes(n) == size)
    own = table[subsets]
    order = np.argsort(own, kind="stable")
    return subsets[order][own[order] <= own.min() + slack]


def monotone_share(values: ArrayLike, *, tolerance: ArrayLike = 0.0) -> float:
    """The share of n 2^(n-1) single additions of a node that do not raise the value.

    1 for a monotone function. Below, searches that rely on a circuit's supersets being
    circuits prove nothing.

    Args:
        values: of all subsets, shape (2^n,).
        tolerance: largest rise that does not count, such as that of rounding.

    Raises:
        ValueError: if the tolerance is not a number from 0.

    Example:
        >>> monotone_share(np.array([3.0, 1.0, 2.0, 1.5]))
        0.75
    """
    table, n = table_of(values)
    if not _number(tolerance, "tolerance") >= 0:
        raise ValueError(f"tolerance is {tolerance}; expected at least 0")
    count = 0
    for i in range(n):
        view = table.reshape(-1, 2, 1 << i)
        count += np.count_nonzero(view[:, 1] - view[:, 0] <= tolerance)
    return float(count / (n << (n - 1)))


def _passes(table: np.ndarray, n: int, step: Callable) -> np.ndarray:
    """For every node, `step` changes the values without it or with it in place."""
    for i in range(n):
        view = table.reshape(-1, 2, 1 << i)
        step(view[:, 0], view[:, 1])
    return table


def _number(value: Any, name: str) -> float:
    """One real number; infinite ones are fine."""
    if np.ndim(value) or np.asarray(value).dtype.kind not in "iuf" or value != value:
        raise ValueError(f"{name} is {value!r}; expected one number")
    return float(value)
