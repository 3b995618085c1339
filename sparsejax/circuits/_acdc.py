"""ACDC: one pass over all nodes, from the outputs back, for several thresholds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from sparsejax.circuits._losses import Losses
from sparsejax.circuits._ranking import Ranking, of_order, order_of
from sparsejax.interpret import Compiled


def acdc(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    thresholds: ArrayLike | Sequence[float] | None = None,
    order: ArrayLike | Sequence[int] | None = None,
    batch_size: int = 32,
) -> Ranking:
    """Automatic circuit discovery: remove a node if that raises the loss by little.

    One pass for every threshold, all in one program. Of several inputs of which one is
    enough it keeps the one that comes last, and the result depends on the order.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth; of `edges` to patch those.
        thresholds: rises of the loss below which a node goes; by default ten from .001
            to 1.
        order: flat indices of the nodes as they are tried; by default the last first.
        batch_size: subsets evaluated at a time.

    Returns:
        The `Ranking`. Scores count the thresholds at which a node stays; a row is the
        set of a threshold where one has that size, else that of the scores.

    Raises:
        ValueError: if `order` is not one of all nodes, there are no thresholds, or one
            or a loss is NaN.

    Example:
        >>> def loss(masks):
        ...     return (3 - masks["h"] @ jnp.array([2.0, 1.0, 0.0])) ** 2
        >>> acdc(loss, {"h": jnp.ones(3)}, thresholds=[0.5]).keep[2].tolist()
        [True, True, False]

    Reference:
        Conmy et al., Towards automated circuit discovery for mechanistic
        interpretability, 2023, arXiv 2304.14997.
    """
    losses = Losses(loss, nodes, batch_size)
    n = losses.plan.count
    rises = np.logspace(-3, 0, 10) if thresholds is None else np.asarray(thresholds)
    if not rises.size or np.isnan(rises).any():
        raise ValueError(f"thresholds are {rises.tolist()}; expected some numbers")
    tried = np.arange(n)[::-1] if order is None else np.asarray(order)
    if sorted(tried.tolist()) != [*range(n)]:
        raise ValueError(f"order must have each of the {n} nodes once, 0 to {n - 1}")
    losses.of(np.ones(n, bool))  # which refuses NaN at once

    def one(rise):
        def step(state, node):
            keep, current = state
            trial = keep.at[node].set(0.0)
            value = losses.of_vector(trial)
            goes = value - current < rise
            return (
                jnp.where(goes, trial, keep),
                jnp.where(goes, value, current),
            ), jnp.isnan(value)

        whole = jnp.ones(n)
        state, bad = jax.lax.scan(step, (whole, losses.of_vector(whole)), order_)
        return state[0], bad.any()

    order_ = jnp.asarray(tried, jnp.int32)
    sets, bad = Compiled(jax.vmap(one))(jnp.asarray(rises.reshape(-1), jnp.float32))
    if np.any(bad):
        raise ValueError(
            "the loss is NaN for some sets on the way; make it finite, or ablate by "
            "means (circuits.means) in place of zeros"
        )
    sets = np.asarray(sets) > 0
    losses.count += len(sets) * (n + 1)
    scores = sets.sum(0).astype(float)
    keep = of_order(order_of(scores))
    values, own = losses(keep), losses(sets)
    replaced = np.zeros(n + 1, bool)
    for row, value in zip(sets, own, strict=True):
        size = row.sum()
        if not replaced[size] or value < values[size]:
            keep[size], values[size], replaced[size] = row, value, True
    return Ranking("acdc", keep, values, scores, losses.count)
