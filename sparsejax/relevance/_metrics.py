"""How good is an explanation? Measures that need no opinion of how it should look.

`deletion` and `insertion` ask the function: does the output fall, or rise, when what
is most relevant goes, or comes, first? The others compare with a region where the
answer is known to lie: `pointing_game`, `localization`, `localization_auc`.
`rank_correlation` compares two explanations. Whether an explanation is complete its own
`residual()` or `gap()` tells, and `randomization_check` whether it has to do with the
parameters at all.

All for one example, with `vmap` outside. A map of relevance may have fewer axes than x:
then each of its places stands for all that is at the place, such as colours.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from sparsejax.relevance import _batches as batches
from sparsejax.relevance import _starts as starts
from sparsejax.relevance import _targets as targets


class Curve(NamedTuple):
    """The output while inputs go or come.

    Attributes:
        fraction: of the places that have gone or come, from 0 to 1.
        output: what is explained, at each fraction.
    """

    fraction: Float[Array, " points"]
    output: Float[Array, " points"]

    def area(self) -> Float[Array, "..."]:
        """Under the curve: the mean output (trapezoid rule)."""
        return jnp.trapezoid(self.output, self.fraction)


def deletion(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    relevance: Float[ArrayLike, "..."],
    *,
    target: Any = None,
    at: str | None = None,
    baseline: float | int | Float[ArrayLike, "..."] = 0.0,
    steps: int = 20,
    batch_size: int | None = None,
) -> Curve:
    """The output while places are replaced, the most relevant first.

    Ties go by the lowest index first. A good explanation has a small area.

    Args:
        fn: any JAX function `fn(params, x)`, in evaluation mode.
        params: its parameters.
        x: one example.
        relevance: of x's shape, or of its first axes.
        target: what to watch, as in `explain`; for probabilities a function,
            `lambda out: jax.nn.softmax(out)[3]`.
        at: a named activation in place of x, as in `explain`.
        baseline: what replaces: a number, or an array that broadcasts to x.
        steps: points of the curve after the first.
        batch_size: points at a time; by default all, or what is reasonable.

    Raises:
        ValueError: for shapes or a target that do not fit; and, outside `jit`, for
            what is not finite.

    Example:
        >>> fn = lambda params, x: jnp.sum(params * x)
        >>> weights, ones = jnp.array([1.0, 3.0, 2.0]), jnp.ones(3)
        >>> deletion(fn, weights, ones, weights, steps=3).output.tolist()
        [6.0, 3.0, 1.0, 0.0]

    Reference: Samek et al., "Evaluating the visualization of what a deep neural network
    has learned", 2017 (arXiv 1509.06321); Petsiuk et al., "RISE: Randomized Input
    Sampling for Explanation of Black-box Models", 2018 (arXiv 1806.07421).
    """
    fn, x = starts.begin(fn, params, x, at)
    ends = x, targets.filling("baseline", baseline, x)
    return _curve(fn, params, ends, relevance, target, steps, batch_size)


def insertion(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    relevance: Float[ArrayLike, "..."],
    *,
    target: Any = None,
    at: str | None = None,
    baseline: float | int | Float[ArrayLike, "..."] = 0.0,
    steps: int = 20,
    batch_size: int | None = None,
) -> Curve:
    """The output while places of x are put into the baseline, the most relevant first.

    A good explanation has a large area. All else is as in `deletion`.

    Example:
        >>> fn = lambda params, x: jnp.sum(params * x)
        >>> weights, ones = jnp.array([1.0, 3.0, 2.0]), jnp.ones(3)
        >>> insertion(fn, weights, ones, weights, steps=3).output.tolist()
        [0.0, 3.0, 5.0, 6.0]
    """
    fn, x = starts.begin(fn, params, x, at)
    ends = targets.filling("baseline", baseline, x), x
    return _curve(fn, params, ends, relevance, target, steps, batch_size)


def pointing_game(
    relevance: Float[ArrayLike, "..."], region: Bool[ArrayLike, "..."]
) -> Float[Array, ""]:
    """1 if the largest relevance (the first of them) lies in the region, else 0.

    Give it `abs(relevance)` if what speaks against the output counts too.

    Args:
        relevance: a map.
        region: of its shape, or of its first axes.

    Example:
        >>> pointing_game(jnp.array([1.0, 3.0]), jnp.array([False, True])).item()
        1.0

    Reference: Zhang et al., "Top-down Neural Attention by Excitation Backprop", 2016
    (arXiv 1608.00507).
    """
    scores, inside = _scores(relevance, region)
    return inside[jnp.argmax(scores)].astype(scores.dtype)


def localization(
    relevance: Float[ArrayLike, "..."], region: Bool[ArrayLike, "..."]
) -> Float[Array, ""]:
    """The share of the positive relevance that lies in the region.

    NaN where there is none, inside `jit`; outside that is refused.

    Example:
        >>> relevance = jnp.array([1.0, 3.0, -5.0])
        >>> localization(relevance, jnp.array([False, True, True])).item()
        0.75

    Reference: Kohlbrenner et al., "Towards Best Practice in Explaining Neural Network
    Decisions with LRP", 2020 (arXiv 1910.09840).
    """
    scores, inside = _scores(relevance, region)
    positive = jnp.maximum(scores, 0)
    total = positive.sum()
    if not isinstance(total, Tracer) and not total:
        raise ValueError("no relevance is positive, so that no share of it is anywhere")
    return jnp.where(inside, positive, 0).sum() / total


def localization_auc(
    relevance: Float[ArrayLike, "..."], region: Bool[ArrayLike, "..."]
) -> Float[Array, ""]:
    """The chance that a place inside the region is more relevant than one outside.

    The area under the ROC curve, ties counted half. NaN for a region of nothing or of
    everything, inside `jit`; outside that is refused.

    Example:
        >>> relevance = jnp.array([1.0, 3.0, 1.0])
        >>> localization_auc(relevance, jnp.array([True, True, False])).item()
        0.75

    Reference: Fawcett, "An introduction to ROC analysis", 2006.
    """
    scores, inside = _scores(relevance, region)
    count = inside.sum()
    if not isinstance(count, Tracer) and count in (0, inside.size):
        raise ValueError(
            f"the region has {count} of {inside.size} places; it takes some inside and "
            "some outside"
        )
    outside = jnp.cumsum(~inside[jnp.argsort(scores)])
    outside = jnp.concatenate([jnp.zeros_like(outside[:1]), outside])
    below, upto = _below(scores)
    wins = 0.5 * (outside[below] + outside[upto]).astype(scores.dtype)
    share = wins / outside[-1].astype(scores.dtype)
    return jnp.where(inside, share, 0).sum() / count.astype(scores.dtype)


def rank_correlation(
    a: Float[ArrayLike, "..."], b: Float[ArrayLike, "..."]
) -> Float[Array, ""]:
    """Spearman's correlation of two maps; equal values share their mean rank.

    NaN where all values of a map are equal.

    Example:
        >>> a, b = jnp.array([1.0, 2.0, 9.0]), jnp.array([1.0, 4.0, 5.0])
        >>> rank_correlation(a, b).item()
        1.0
    """
    a, b = targets.score(a, "a"), targets.score(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"maps have shapes {a.shape} and {b.shape}")
    targets.check_finite({"a": a, "b": b})
    a, b = (_centered_ranks(v.ravel()) for v in (a, b))
    return jnp.sum(a * b) / jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))


def _curve(fn, params, ends, relevance, target, steps, batch_size) -> Curve:
    """The output on the way from one end to the other."""
    batches.check_count("steps", steps)
    before, after = ends
    scores = targets.score(relevance, "relevance")
    if scores.shape != before.shape[: scores.ndim]:
        raise ValueError(
            f"relevance has shape {scores.shape}, which is neither x's shape "
            f"{before.shape} nor that of its first axes"
        )
    order = jnp.argsort(-scores.ravel())
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(order.size))
    rank = rank.reshape(scores.shape + (1,) * (before.ndim - scores.ndim))
    counts = np.rint(np.linspace(0, order.size, steps + 1)).astype(int)
    run = targets.number(fn, target)

    def at(count):
        return run(params, jnp.where(rank < count, after, before))

    outputs = batches.over(
        at, jnp.asarray(counts, rank.dtype), size=before.size, batch_size=batch_size
    )
    targets.check_finite({"x": jnp.stack(ends), "relevance": scores, "output": outputs})
    return Curve(jnp.asarray(counts / order.size, before.dtype), outputs)


def _scores(relevance, region) -> tuple[Array, Array]:
    """A map and a region, flat."""
    scores, inside = targets.score(relevance, "relevance"), targets.region(region)
    if inside.shape != scores.shape[: inside.ndim]:
        raise ValueError(
            f"region has shape {inside.shape}, which is neither the relevance's shape "
            f"{scores.shape} nor that of its first axes"
        )
    targets.check_finite({"relevance": scores})
    inside = inside.reshape(inside.shape + (1,) * (scores.ndim - inside.ndim))
    return scores.ravel(), jnp.broadcast_to(inside, scores.shape).ravel()


def _below(values: Array) -> tuple[Array, Array]:
    """How many values are less than each, and how many are not more."""
    in_order = jnp.sort(values)

    def find(side):
        return jnp.searchsorted(in_order, values, side, method="sort")

    return find("left"), find("right")


def _centered_ranks(values: Array) -> Array:
    """Ranks less their mean, over half their number; whole numbers until the end."""
    below, upto = _below(values)
    return (below + upto - values.size).astype(values.dtype) / values.size
