"""Exact sums over the values of all subsets, in float64 and in NumPy."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from sparsejax import checks, pages, trees
from sparsejax.hypercube import _memory as memory


class Best(NamedTuple):
    """The lowest value among the subsets of every size.

    Attributes:
        values: shape (n + 1,), by size.
        subsets: their numbers, shape (n + 1,); of equal ones the first.
    """

    values: Float[np.ndarray, " sizes"]
    subsets: Int[np.ndarray, " sizes"]

    @pages.display
    def _repr_html_(self) -> str:
        n = len(self.subsets) - 1
        rows = [
            (size, value, ", ".join(str(i) for i in range(n) if subset >> i & 1))
            for size, (value, subset) in enumerate(
                zip(self.values.tolist(), self.subsets.tolist(), strict=True)
            )
        ]
        header = ("nodes", "lowest value", "which")
        title = "The best subset of every size"
        return pages.output(pages.listing(rows, header, title=title, most=n + 1))


def subset_sizes(n: int) -> Int[np.ndarray, " subsets"]:
    """The number of nodes in every subset.

    Example:
        >>> subset_sizes(2).tolist()
        [0, 1, 1, 2]
    """
    return np.bitwise_count(np.arange(1 << n, dtype=np.uint32)).astype(np.int64)


def walsh(values: ArrayLike) -> Float[np.ndarray, " subsets"]:
    """The Walsh spectrum: spectrum[S] = 2^-n sum_m values[m] (-1)^|S & m|.

    Its own inverse but for the factor 2^-n. `spectrum[0]` is the mean over all subsets,
    and the squares of all others add up to the variance.

    Example:
        >>> walsh(np.array([1.0, 3.0])).tolist()
        [2.0, -1.0]
    """
    table, n = table_of(values)
    return _pairs(table, n, lambda a, b: (a + b, a - b)) / len(table)


def probabilities(n: int, keep_prob: float) -> Float[np.ndarray, " subsets"]:
    """The probability of every subset if each node is kept with a probability.

    With the values, the exact distribution: `np.histogram(values, weights=...)`.

    Example:
        >>> probabilities(2, 0.75).tolist()  # of none, node 0, node 1, both
        [0.0625, 0.1875, 0.1875, 0.5625]
    """
    if not isinstance(n, int | np.integer) or n < 0:
        raise ValueError(f"n must be a number of nodes, an integer, got {n!r}")
    if np.ndim(keep_prob) or not 0 <= keep_prob <= 1:
        raise ValueError(f"keep_prob must be one number in [0, 1], got {keep_prob}")
    k = np.arange(n + 1)
    return (keep_prob**k * (1 - keep_prob) ** (n - k))[subset_sizes(n)]


def keep_probs(keep_prob: ArrayLike | Iterable) -> Float[np.ndarray, "..."]:
    """One probability or several of any shape; what can be read once is read here."""
    read = isinstance(keep_prob, Iterator)
    p = np.asarray(checks.several(keep_prob) if read else keep_prob, np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"keep_prob must be in [0, 1], got {p}")
    return p


def mean(
    values: ArrayLike, keep_prob: ArrayLike | Iterable
) -> Float[np.ndarray, "..."]:
    """The exact mean if every node is kept with a probability.

    Args:
        values: of all subsets.
        keep_prob: one probability or an array of any shape.

    Example:
        >>> values = np.array([0.0, 1.0, 1.0, 8.0])
        >>> mean(values, [0.0, 0.5, 1.0]).tolist()
        [0.0, 2.5, 8.0]
    """
    table, n = table_of(values)
    p = keep_probs(keep_prob)
    totals = np.bincount(subset_sizes(n), weights=table, minlength=n + 1)
    k = np.arange(n + 1)
    terms = totals * p[..., None] ** k * (1 - p[..., None]) ** (n - k)
    return np.asarray(terms.sum(axis=-1))


def cdf(
    values: ArrayLike, value: ArrayLike | Sequence[float], keep_prob: float = 0.5
) -> Float[np.ndarray, "..."]:
    """The exact probability of a value up to the given one.

    Args:
        values: of all subsets.
        value: one value or an array of any shape.
        keep_prob: the probability that a node is kept.

    Example:
        >>> values = np.array([0.0, 1.0, 1.0, 8.0])
        >>> cdf(values, np.array([-1.0, 0.0, 1.0, 9.0])).tolist()
        [0.0, 0.25, 0.75, 1.0]
    """
    table, n = table_of(values)
    value = np.asarray(value)
    if np.isnan(value).any():
        raise ValueError(
            f"{np.isnan(value).sum()} of {value.size} values asked are NaN"
        )
    order = np.argsort(table)
    below = np.concatenate([[0.0], np.cumsum(probabilities(n, keep_prob)[order])])
    upto = np.searchsorted(table[order], value, side="right")
    return np.asarray(below[upto])


def path_covariance(values: ArrayLike) -> Float[np.ndarray, "steps steps"]:
    """Covariances along a path that flips every node once, in random order.

    From a uniformly random start; entry (s, t) is of the values after s and t flips,
    and depends on k = |s - t| alone: sum_d W_d K_d(k) / C(n, d), with W_d the power of
    the spectrum at degree d > 0 and K_d the Krawtchouk polynomials.

    Returns:
        Shape (n + 1, n + 1).

    Example:
        >>> path_covariance(np.array([0.0, 1.0, 2.0, 3.0])).tolist()
        [[1.25, 0.0, -1.25], [0.0, 1.25, 0.0], [-1.25, 0.0, 1.25]]
    """
    table, n = table_of(values)
    power = np.bincount(subset_sizes(n), weights=walsh(table) ** 2, minlength=n + 1)
    lags = [
        sum(power[d] * _krawtchouk(d, k, n) / math.comb(n, d) for d in range(1, n + 1))
        for k in range(n + 1)
    ]
    steps = np.arange(n + 1)
    return np.array(lags)[np.abs(steps[:, None] - steps)]


def shapley(values: ArrayLike) -> Float[np.ndarray, " n"]:
    """The Shapley value of every node: its mean effect when nodes join in random order.

    They add up to the value of all nodes less that of none.

    Example:
        >>> shapley(np.array([0.0, 1.0, 2.0, 9.0])).tolist()  # 3 apart, 6 more together
        [4.0, 5.0]
    """
    table, n = table_of(values)
    size = subset_sizes(n)
    spectrum = walsh(table) / np.maximum(size, 1)
    spectrum[size % 2 == 0] = 0
    return np.array([-2 * _with(spectrum, i).sum() for i in range(n)])


def banzhaf(values: ArrayLike, keep_prob: float = 0.5) -> Float[np.ndarray, " n"]:
    """The mean effect of every node if the others are kept with a probability.

    Its integral over `keep_prob` is the Shapley value, its sum over nodes the
    derivative of `mean` with respect to `keep_prob`.

    Example:
        >>> values = np.array([0.0, 1.0, 2.0, 9.0])
        >>> banzhaf(values, 0.0).tolist()  # each alone
        [1.0, 2.0]
        >>> banzhaf(values, 1.0).tolist()  # each last
        [7.0, 8.0]
    """
    table, n = table_of(values)
    chance = probabilities(n - 1, keep_prob)

    def effect(i):
        return (_with(table, i) - _without(table, i)).reshape(-1)

    return np.array([effect(i) @ chance for i in range(n)])


def moebius(values: ArrayLike) -> Float[np.ndarray, " subsets"]:
    """What every subset adds to its parts: values[m] is its sum over the parts of m.

    Example:
        >>> moebius(np.array([5.0, 1.0, 2.0, 9.0])).tolist()
        [5.0, -4.0, -3.0, 11.0]
    """
    table, n = table_of(values)
    return _pairs(table, n, lambda a, b: (a, b - a))


def interactions(
    values: ArrayLike, index: str = "sii", order: int = 2
) -> Float[np.ndarray, "..."]:
    """How much nodes do together beyond what they do apart.

    Args:
        values: of all subsets.
        index: "sii" (Shapley interaction index) or "banzhaf".
        order: number of nodes that interact; for more than 4 the result must fit into
            memory.

    Returns:
        Shape (n,) * order, symmetric; 0 where a node is repeated (everywhere, if there
        are fewer nodes than `order`).

    Example:
        >>> interactions(np.array([0.0, 1.0, 2.0, 9.0])).tolist()  # 6 beyond 1 + 2
        [[0.0, 6.0], [6.0, 0.0]]
    """
    table, n = table_of(values)
    if index not in ("sii", "banzhaf"):
        known = trees.listed(("sii", "banzhaf"))
        raise ValueError(f"unknown index {index!r}; there are {known}")
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    if order > 4:  # while it is made there are about `order` integers an entry
        needed = 8 * (order + 4) * n**order
        less = "ask for a lower order, or take single sets from moebius(values)"
        memory.check(needed, f"interactions of {order} of {n} nodes", less)
    spectrum, size = walsh(table), subset_sizes(n)
    if index == "sii":
        extra = size - order
        spectrum /= np.maximum(extra + 1, 1)
        spectrum[(extra < 0) | (extra % 2 == 1)] = 0
        spectrum = _pairs(spectrum, n, lambda a, b: (a + b, b))  # over all supersets
    which = np.indices((n,) * order)
    found = (-2.0) ** order * spectrum[np.bitwise_or.reduce(1 << which)]
    different = np.bitwise_count(np.bitwise_or.reduce(1 << which)) == order
    return np.where(different, found, 0.0)


def best(values: ArrayLike) -> Best:
    """The subset of every size with the lowest value.

    Example:
        >>> best(np.array([5.0, 1.0, 3.0, 2.0]))._asdict()
        {'values': array([5., 1., 2.]), 'subsets': array([0, 1, 3])}
    """
    table, n = table_of(values)
    order = np.lexsort((table, subset_sizes(n)))
    starts = np.concatenate([[0], np.cumsum([math.comb(n, k) for k in range(n)])])
    return Best(table[order[starts]], order[starts])


def local_minima(values: ArrayLike) -> Int[np.ndarray, " minima"]:
    """The subsets whose value no single flip lowers: dead nodes hide none.

    Example:
        >>> local_minima(np.array([0.0, 3.0, 2.0, 1.0])).tolist()  # none, and both
        [0, 3]
    """
    table, n = table_of(values)
    lowest = np.ones(len(table), bool)
    for i in range(n):
        lowest &= table <= table[np.arange(len(table)) ^ (1 << i)]
    return np.flatnonzero(lowest)


def table_of(values: ArrayLike | Any) -> tuple[Float[np.ndarray, " subsets"], int]:
    """The values in float64, and n."""
    if np.iscomplexobj(values):
        raise ValueError("values are complex; expected real numbers")
    if np.asarray(values).dtype.kind not in "biufV":
        raise ValueError(
            f"values must be one array, got {checks.described(values)}; take a tree's "
            "arrays one by one, as in jax.tree.map(shapley, values)"
        )
    table = np.array(values, np.float64)
    n = table.size.bit_length() - 1
    if table.ndim != 1 or table.size != 1 << n or n < 1:
        raise ValueError(
            f"values are those of all 2^n subsets of n >= 1 nodes, shape (2^n,); got "
            f"shape {table.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(table))
    if len(bad):
        subset = [i for i in range(n) if bad[0] >> i & 1]
        raise ValueError(
            f"{len(bad)} of {len(table)} values are not finite; the first is "
            f"{table[bad[0]]}, of the nodes {subset} (subset {bad[0]})"
        )
    return table, n


def _pairs(table: np.ndarray, n: int, step: Callable) -> np.ndarray:
    """For every node, `step` of the values without and with it, in their places."""
    for i in range(n):
        view = table.reshape(-1, 2, 1 << i)
        table = np.stack(step(view[:, 0], view[:, 1]), axis=1).reshape(-1)
    return table


def _without(table: np.ndarray, node: int) -> np.ndarray:
    return table.reshape(-1, 2, 1 << node)[:, 0]


def _with(table: np.ndarray, node: int) -> np.ndarray:
    return table.reshape(-1, 2, 1 << node)[:, 1]


def _krawtchouk(d: int, k: int, n: int) -> int:
    """The sum of (-1)^|S & A| over the sets S of d nodes, for a set A of k."""
    return sum(
        (-1) ** j * math.comb(k, j) * math.comb(n - k, d - j) for j in range(d + 1)
    )
