"""What every finder returns: the set that it would keep, at every size."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool, Float

from sparsejax import checks, pages
from sparsejax.circuits._losses import Losses, check_finite


class Runs(NamedTuple):
    """The single runs of a finder that learns masks.

    Attributes:
        penalties: price of a node, shape (runs,).
        scores: what each run learned, shape (runs, n).
        keep: the set that each run ended with, shape (runs, n).
        losses: true loss of that set, shape (runs,).
        ranked: true loss of its k best nodes, shape (runs, n + 1).
    """

    penalties: Float[np.ndarray, " runs"]
    scores: Float[np.ndarray, "runs n"]
    keep: Bool[np.ndarray, "runs n"]
    losses: Float[np.ndarray, " runs"]
    ranked: Float[np.ndarray, "runs sizes"]


class Ranking(NamedTuple):
    """The sets that a finder keeps, by size.

    Attributes:
        method: name of the finder and what matters of its options.
        keep: bool of shape (n + 1, n): row k is the set of k nodes.
        losses: true loss of every row, shape (n + 1,).
        scores: of every node, higher for what is kept longer, shape (n,); None where
            the sets do not come from scores.
        evaluations: losses and gradients that it took.
        runs: every run's, for finders that learn masks.
    """

    method: str
    keep: Bool[np.ndarray, "sizes n"]
    losses: Float[np.ndarray, " sizes"]
    scores: Float[np.ndarray, " n"] | None
    evaluations: int
    runs: Runs | None = None

    @pages.display
    def _repr_html_(self) -> str:
        rows = [
            (size, loss, ", ".join(map(str, np.flatnonzero(row)[:24])))
            for size, (loss, row) in enumerate(
                zip(self.losses.tolist(), self.keep, strict=True)
            )
        ]
        header = ("nodes", "loss", "which (24 at most)")
        title = f"{self.method}: a set of every size, {self.evaluations:,} evaluations"
        return pages.output(pages.listing(rows, header, title=title, most=32))

    def smallest(self, target: float) -> int | None:
        """The smallest size whose loss is at most a target; None if there is none.

        A scan, since the curve need not be monotone.
        """
        passing = np.flatnonzero(self.losses <= target)
        return int(passing[0]) if len(passing) else None

    def gap(self, table: ArrayLike) -> Float[np.ndarray, " sizes"]:
        """How far above the best set of every size its loss is.

        Args:
            table: losses of all 2^n subsets, as `hypercube.evaluate` returns them.
        """
        return self.losses - best_losses(table, len(self.losses) - 1)


def best_losses(table: ArrayLike, n: int) -> Float[np.ndarray, " sizes"]:
    """The lowest loss of every size."""
    values = checked_table(table, n)
    best = np.full(n + 1, np.inf)
    np.minimum.at(best, np.bitwise_count(np.arange(1 << n)), values)
    return best


def checked_table(table: ArrayLike, n: int) -> Float[np.ndarray, " subsets"]:
    """A table of all subsets in float64, checked against the number of nodes."""
    values = np.asarray(table, np.float64)
    if values.shape != (1 << n,):
        raise ValueError(
            f"the table is of shape {values.shape}; expected the losses of all 2^{n} "
            f"subsets of the {n} nodes, shape ({1 << n},), as of hypercube.evaluate"
        )
    if np.isnan(values).any():
        raise ValueError(f"{np.isnan(values).sum()} of {len(values)} losses are NaN")
    return values


def sets_of(ranking: Ranking, n: int) -> Bool[np.ndarray, "sizes n"]:
    """The sets of a ranking, if it is of n nodes."""
    if ranking.keep.shape != (n + 1, n):
        raise ValueError(
            f"the ranking is of {ranking.keep.shape[-1]} nodes; expected one of {n}"
        )
    return ranking.keep


def by_scores(
    loss: Callable,
    nodes: Mapping[str, Any],
    scores: ArrayLike | Sequence[float] | Mapping[str, ArrayLike],
    *,
    method: str = "scores",
    batch_size: int = 32,
) -> Ranking:
    """The sets of the k nodes with the highest scores, whatever these are.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        scores: one for every node: a vector, or arrays by name, such as
            `relevance.explain(...).nodes` summed over examples.
        method: name of the scores.
        batch_size: subsets evaluated at a time.

    Returns:
        The `Ranking`. Of equal scores the lowest index goes first.

    Raises:
        ValueError: if a node has no score, or one that is not finite, or a loss is NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> def loss(masks):
        ...     return ((masks["h"] * jnp.array([3.0, 1.0])).sum() - 4) ** 2
        >>> by_scores(loss, {"h": jnp.ones(2)}, [0.9, 0.1]).losses.tolist()
        [16.0, 1.0, 0.0]
    """
    losses = Losses(loss, nodes, batch_size)
    return of_scores(losses, _vector(scores, losses.plan), method)


def of_scores(losses: Losses, scores: np.ndarray, method: str) -> Ranking:
    """The ranking of scores, with losses that may have been used before."""
    scores = np.asarray(scores, np.float64)
    check_finite(scores, "the scores")
    keep = of_order(order_of(scores))
    values = losses(keep)
    return Ranking(method, keep, values, scores, losses.count)


def order_of(scores: np.ndarray) -> np.ndarray:
    """The order in which nodes go: by score, of equal ones the lowest index first."""
    return np.argsort(scores, kind="stable")


def of_order(order: np.ndarray) -> Bool[np.ndarray, "sizes n"]:
    """The sets of every size, if nodes go in an order."""
    n = len(order)
    place = np.empty(n, int)
    place[order] = np.arange(n)
    return place[None] >= n - np.arange(n + 1)[:, None]


def _vector(scores, plan) -> np.ndarray:
    if isinstance(scores, Mapping):
        missing = [name for name in plan.names if name not in scores]
        if missing:
            raise ValueError(f"scores has none of {missing[0]!r}; expected all nodes'")
        parts = [np.asarray(scores[name], np.float64) for name in plan.names]
        for name, shape, part in zip(plan.names, plan.shapes, parts, strict=True):
            if part.size != int(np.prod(shape)):
                raise ValueError(
                    f"scores[{name!r}] has shape {part.shape}; expected one for every "
                    f"node, shape {shape}"
                )
        return np.concatenate([part.reshape(-1) for part in parts])
    vector = np.asarray(scores, np.float64)
    if vector.shape != (plan.count,):
        raise ValueError(
            f"scores are {checks.described(scores)}; expected one for each of the "
            f"{plan.count} nodes"
        )
    return vector
