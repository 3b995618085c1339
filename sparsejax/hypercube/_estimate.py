"""Estimates from samples, for more nodes than all subsets can be evaluated of.

Both come with standard errors and confidence intervals. Their coverage was measured
against exact values for 20 nodes, with 100 and 1000 orders or samples
(benchmarks/hypercube_indices.py). Few groups of orders, or few samples of a size, cover
less often than they say where rare subsets differ much from the others: an error is
known only from what was drawn, and 0 if that is all the same.

References: Castro, Gomez and Tejada, "Polynomial calculation of the Shapley value based
on sampling", 2009; Mitchell, Cooper, Frank and Holmes, "Sampling permutations for
Shapley value estimation", 2022; Williams, "Experimental designs balanced for the
estimation of residual effects of treatments", 1949.
"""

import itertools as it
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key
from scipy import special

from sparsejax import checks, masks, pages, sweep, trees
from sparsejax.hypercube._exact import keep_probs

_METHODS = ("antithetic", "permutation", "stratified")


class Estimate(NamedTuple):
    """An estimate and how far it may be off.

    Attributes:
        values: the estimates.
        errors: their standard errors.
        low: lower ends of the confidence intervals.
        high: upper ends.
        evaluations: subsets that were evaluated.
    """

    values: Float[np.ndarray, "..."]
    errors: Float[np.ndarray, "..."]
    low: Float[np.ndarray, "..."]
    high: Float[np.ndarray, "..."]
    evaluations: int

    @pages.display
    def _repr_html_(self) -> str:
        fields = self.values, self.errors, self.low, self.high
        values, errors, low, high = (np.ravel(field) for field in fields)
        scale = np.abs(values).max(initial=0)
        rows = [
            (i, *numbers, pages.bar(numbers[0], scale))
            for i, numbers in enumerate(zip(values, errors, low, high, strict=True))
        ]
        header = ("", "estimate", "standard error", "from", "to", "")
        title = f"Estimates from {pages.counted(self.evaluations, 'subset')}"
        return pages.output(pages.listing(rows, header, title=title, most=32))


def estimate_shapley(
    fn: Callable[[Float[Array, " n"]], Float[Array, ""]],
    n: int,
    *,
    key: Key[Array, ""] | Any,
    permutations: int = 1000,
    method: str = "antithetic",
    confidence: float = 0.95,
    batch_size: int | None = None,
    progress: bool = True,
) -> Estimate:
    """Shapley values from random orders in which the nodes join.

    Orders are drawn in groups, so that errors within a group cancel. The means of
    groups are independent, which gives errors and Student's intervals. The estimates
    add up to the value of all nodes less that of none, exactly.

    Args:
        fn: function of a node vector (float32, 1 where a node is kept) to a scalar.
        n: number of nodes.
        key: a key.
        permutations: number of orders, rounded up to whole groups, ten at least.
        method: what a group is. "antithetic": an order and its reverse, in which all
            interactions of pairs cancel. "permutation": one order. "stratified": n
            orders, a balanced Latin square: every node stands once in every place and,
            if n is even, once right after every other. (The n shifts of one order would
            do worse than single orders: the same nodes go before again and again.)
        confidence: chance that an interval contains the Shapley value, for each node.
        batch_size: as in `sweep.evaluate`.
        progress: show a bar.

    Returns:
        An `Estimate` with arrays of shape (n,), from n - 1 evaluations an order and 2.

    Raises:
        ValueError: if an argument is out of range, or `fn` returns no scalar.

    Example:
        >>> fn = lambda m: m[0] + 2 * m[1] + 6 * m[0] * m[1]
        >>> estimate = estimate_shapley(
        ...     fn, 2, key=jax.random.key(0), permutations=10, progress=False
        ... )
        >>> estimate.values.tolist(), estimate.errors.tolist()
        ([4.0, 5.0], [0.0, 0.0])
    """
    checks.one_key(key)
    if method not in _METHODS:
        known = trees.listed(_METHODS)
        raise ValueError(f"unknown method {method!r}; there are {known}")
    if n < 1 or permutations < 1:
        raise ValueError(
            f"got {n} nodes and {permutations} permutations; expected at least 1 each"
        )
    _check(fn, n, confidence)
    size = {"antithetic": 2, "permutation": 1, "stratified": n}[method]
    groups = max(10, -(-permutations // size))

    def draw(group):
        return jax.random.permutation(jax.random.fold_in(key, group), n)

    first = np.asarray(jax.vmap(draw)(jnp.arange(groups, dtype=jnp.int32)))
    if method == "stratified":
        steps = np.arange(n)
        zigzag = np.where(steps % 2, steps // 2 + 1, -(steps // 2)) % n
        places = np.argsort(zigzag)[(first[:, None] + steps[:, None]) % n]
    else:
        places = np.stack([first, n - 1 - first][:size], axis=1)
    places = places.reshape(-1, n)  # of every node in every order
    held = jnp.asarray(places, jnp.int32)

    def make(index):  # none and all, then the n - 1 subsets between, order by order
        order, joined = jnp.divmod(index - 2, jnp.int32(max(n - 1, 1)))
        between = held[order] <= joined
        return jnp.where(index < 2, index == 1, between).astype(jnp.float32)

    count = 2 + len(places) * (n - 1)
    values = _evaluate(fn, make, count, batch_size, progress)
    walks = np.empty((len(places), n + 1))
    walks[:, 0], walks[:, n] = values[:2]
    walks[:, 1:n] = values[2:].reshape(len(places), n - 1)
    effects = np.take_along_axis(np.diff(walks), places, axis=1)
    means = effects.reshape(groups, size, n).mean(axis=1)
    errors = means.std(axis=0, ddof=1) / np.sqrt(groups)
    return _estimate(means.mean(axis=0), errors, groups - 1, confidence, count)


def estimate_mean(
    fn: Callable[[Float[Array, " n"]], Float[Array, ""]],
    n: int,
    keep_prob: ArrayLike | Iterable,
    *,
    key: Key[Array, ""] | Any,
    samples: int,
    confidence: float = 0.95,
    batch_size: int | None = None,
    progress: bool = True,
) -> Estimate:
    """The mean if every node is kept with a probability, from samples of every size.

    A mean over subsets of k nodes does not depend on `keep_prob`, its chance does: one
    sample serves all probabilities, and how many nodes are kept adds no variance. The
    samples go to the sizes in proportion to their chance, averaged over the
    probabilities, but two at least to each; none to sizes whose chance is below 1e-12
    at every probability. Sizes that have no more subsets than they would get samples
    are evaluated as a whole, and add no error.

    Args:
        fn: function of a node vector (float32, 1 where a node is kept) to a scalar.
        n: number of nodes.
        keep_prob: one probability or an array of any shape.
        key: a key.
        samples: number of evaluations, at least 2 n; fewer are made where sizes are
            evaluated as a whole or left out.
        confidence: chance that an interval contains the mean, for each probability.
        batch_size: as in `sweep.evaluate`.
        progress: show a bar.

    Returns:
        An `Estimate` with arrays of the shape of `keep_prob`; intervals are Student's,
        their degrees of freedom after Welch and Satterthwaite.

    Raises:
        ValueError: if an argument is out of range, or `fn` returns no scalar.

    Example:
        >>> estimate = estimate_mean(
        ...     lambda m: m.sum(), 8, [0.25, 0.5], key=jax.random.key(0), samples=16,
        ...     progress=False,
        ... )
        >>> estimate.values.round(3).tolist(), estimate.errors.round(3).tolist()
        ([2.0, 4.0], [0.0, 0.0])
    """
    checks.one_key(key)
    p = keep_probs(keep_prob)
    if not p.size:
        raise ValueError("keep_prob must be in [0, 1], got none")
    if n < 1 or samples < 2 * n:
        raise ValueError(
            f"got {n} nodes and {samples} samples; expected a node or more, and at "
            "least two samples a node"
        )
    _check(fn, n, confidence)
    chances = _binomial(n, p.reshape(-1, 1))
    ways = [math.comb(n, k) for k in range(n + 1)]
    needed = chances.max(axis=0) >= 1e-12
    least = needed * np.array([min(w, 2) for w in ways])
    share = np.cumsum(chances.mean(axis=0) * (least > 1))
    extra = np.round((samples - least.sum()) * share / max(share[-1], 1e-12))
    wanted = least + np.diff(extra, prepend=0)
    counts = np.array([min(w, int(c)) for w, c in zip(ways, wanted, strict=True)])
    whole = np.array([w == c for w, c in zip(ways, counts, strict=True)])

    order = np.argsort(~whole, kind="stable")  # sizes evaluated as a whole come first
    every = [c for k in order[: whole.sum()] for c in it.combinations(range(n), k)]
    held = np.zeros((len(every) + 1, n), np.float32)
    for row, nodes in zip(held, every, strict=False):
        row[list(nodes)] = 1
    held, ones = jnp.asarray(held), jnp.ones(n, jnp.float32)
    size = jnp.asarray(np.repeat(order, counts[order]), jnp.int32)

    def make(index):
        drawn = masks.fixed_size(jax.random.fold_in(key, index), ones, size[index])
        known = held[jnp.minimum(index, len(every))]
        return jnp.where(index < len(every), known, drawn)

    values = _evaluate(fn, make, len(size), batch_size, progress)
    means, spread = np.zeros(n + 1), np.zeros(n + 1)
    ends = np.cumsum(counts[order])
    for k, part in zip(order, np.split(values, ends[:-1]), strict=True):
        if len(part):
            means[k] = part.mean()
            spread[k] = 0.0 if whole[k] else part.var(ddof=1)
    variances = chances**2 * spread / np.maximum(counts, 1)
    total = variances.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = total**2 / (variances**2 / np.maximum(counts - 1, 1)).sum(axis=-1)
    freedom = np.where(total > 0, freedom, 1.0)
    found = (chances * means).sum(axis=-1), np.sqrt(total), freedom
    means, errors, freedom = (a.reshape(p.shape) for a in found)
    return _estimate(means, errors, freedom, confidence, len(size))


def _check(fn, n, confidence) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    shape = sweep.result_shapes(fn, jax.ShapeDtypeStruct((n,), jnp.float32))
    if getattr(shape, "shape", None) != ():
        raise ValueError(f"fn must return a scalar, got {shape}")


def _binomial(n: int, p: np.ndarray) -> np.ndarray:
    """The chances of 0 to n nodes; in logarithms, as n may be large."""
    k = np.arange(n + 1)
    ways = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return np.exp(ways + special.xlogy(k, p) + special.xlog1py(n - k, -p))


def _evaluate(fn, make, count, batch_size, progress) -> Float[np.ndarray, " subsets"]:
    values = sweep.evaluate(
        fn, make, count=count, batch_size=batch_size, progress=progress
    )
    return values.astype(np.float64)


def _estimate(values, errors, freedom, confidence, evaluations) -> Estimate:
    half = special.stdtrit(freedom, (1 + confidence) / 2) * errors
    return Estimate(values, errors, values - half, values + half, evaluations)
