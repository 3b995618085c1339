"""Masks that are learned: hard concrete, straight-through, uniform gradient sampling.

Runs over penalties and keys are one compiled program. What they end with is ranked by
its true loss, with masks of 0 and 1 alone: a learned mask between them is not a
circuit. "Best of the runs" is a fair price, and one that is paid in evaluations.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Key

from sparsejax import checks
from sparsejax.circuits import _rules as rules
from sparsejax.circuits._losses import Losses, check_finite
from sparsejax.circuits._ranking import Ranking, Runs, of_order, order_of
from sparsejax.interpret import Compiled


def hard_concrete(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    key: Key[Array, ""] | Any,
    penalties: ArrayLike | Sequence[float] | None = None,
    repeats: int = 2,
    steps: int = 250,
    learning_rate: float = 0.1,
    batch_size: int = 32,
) -> Ranking:
    """Subnetwork probing: masks drawn from stretched, clipped concrete distributions.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        key: random key.
        penalties: prices of a node; by default eight from .001 to .25 of the loss that
            all nodes together save.
        repeats: runs of every penalty, each with a key of its own.
        steps: steps of Adam.
        learning_rate: its step size.
        batch_size: subsets evaluated at a time; all runs are learned together.

    Returns:
        The `Ranking`: at every size the set of lowest true loss among the k best nodes
        of every run and the sets that runs end with; scores are the mean of the runs'
        parameters, and `runs` has every run's.

    Raises:
        ValueError: if what is learned, or a loss, is not finite.

    Example:
        >>> def loss(masks):
        ...     return (3 - masks["h"] @ jnp.array([2.0, 1.0, 0.0])) ** 2
        >>> nodes, key = {"h": jnp.ones(3)}, jax.random.key(0)
        >>> hard_concrete(loss, nodes, key=key).losses.tolist()
        [9.0, 1.0, 0.0, 0.0]

    Reference:
        Louizos, Welling and Kingma, Learning sparse neural networks through L0
        regularization, 2017, arXiv 1712.01312; Cao, Sanh and Rush, Low-complexity
        probing via finding subnetworks, 2021, arXiv 2104.03514.
    """
    losses = Losses(loss, nodes, batch_size)
    options = penalties, repeats, steps, learning_rate
    return _learn(rules.HARD_CONCRETE, losses, key, *options)


def straight_through(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    key: Key[Array, ""] | Any,
    penalties: ArrayLike | Sequence[float] | None = None,
    repeats: int = 2,
    steps: int = 250,
    learning_rate: float = 0.05,
    batch_size: int = 32,
) -> Ranking:
    """Masks of 0 and 1 forwards, with the gradient of a sigmoid backwards.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        key: random key.
        penalties: prices of a node, as of `hard_concrete`.
        repeats: runs of every penalty.
        steps: steps of Adam.
        learning_rate: its step size.
        batch_size: subsets evaluated at a time.

    Returns:
        The `Ranking`, as of `hard_concrete`. Parameters are clipped to [-1, 1]; of
        those at the same end the lowest index goes first, so that the k best are k.

    Raises:
        ValueError: if what is learned, or a loss, is not finite.

    Example:
        >>> def loss(masks):
        ...     return (3 - masks["h"] @ jnp.array([2.0, 1.0, 0.0])) ** 2
        >>> nodes, key = {"h": jnp.ones(3)}, jax.random.key(0)
        >>> straight_through(loss, nodes, key=key).losses.tolist()
        [9.0, 1.0, 0.0, 0.0]

    Reference:
        Gao et al., Weight-sparse transformers have interpretable circuits, 2025, arXiv
        2511.13653.
    """
    losses = Losses(loss, nodes, batch_size)
    options = penalties, repeats, steps, learning_rate
    return _learn(rules.STRAIGHT_THROUGH, losses, key, *options)


def ugs(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    key: Key[Array, ""] | Any,
    penalties: ArrayLike | Sequence[float] | None = None,
    repeats: int = 2,
    steps: int = 250,
    learning_rate: float = 0.1,
    batch_size: int = 32,
) -> Ranking:
    """Uniform gradient sampling: masks of 0 and 1 but for a window of keep chances.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        key: random key.
        penalties: prices of a node, as of `hard_concrete`.
        repeats: runs of every penalty.
        steps: steps of Adam.
        learning_rate: its step size.
        batch_size: subsets evaluated at a time.

    Returns:
        The `Ranking`, as of `hard_concrete`.

    Raises:
        ValueError: if what is learned, or a loss, is not finite.

    Example:
        >>> def loss(masks):
        ...     return (3 - masks["h"] @ jnp.array([2.0, 1.0, 0.0])) ** 2
        >>> nodes, key = {"h": jnp.ones(3)}, jax.random.key(0)
        >>> ugs(loss, nodes, key=key).losses.tolist()
        [9.0, 1.0, 0.0, 0.0]

    Reference:
        Li and Janson, Optimal ablation for interpretability, 2024, arXiv 2409.09951.
    """
    losses = Losses(loss, nodes, batch_size)
    options = penalties, repeats, steps, learning_rate
    return _learn(rules.UGS, losses, key, *options)


def _learn(
    rule: rules.Rule, losses: Losses, key, penalties, repeats, steps, learning_rate
) -> Ranking:
    checks.one_key(key)
    repeats = checks.integer(repeats, "repeats", 1)
    steps = checks.integer(steps, "steps", 1)
    n = losses.plan.count
    ends = losses(np.stack([np.zeros(n, bool), np.ones(n, bool)]))
    if penalties is None:
        prices = np.logspace(-3, -0.6, 8) * max(abs(ends[0] - ends[1]), 1e-6)
    else:
        prices = np.asarray(penalties, np.float64).reshape(-1)
        if not prices.size or not (prices >= 0).all():
            raise ValueError(
                f"penalties are {prices.tolist()}; expected some, 0 or more"
            )
    prices = np.repeat(prices, repeats)
    optimizer = optax.adam(learning_rate)

    def run(noise, draws, price):
        theta = rule.start + 0.01 * noise

        def objective(theta, u):
            return losses.of_vector(rule.sample(u, theta)) + price * rule.price(theta)

        def step(state, u):
            theta, moments = state
            slope = jax.grad(objective)(theta, u)
            with jax.numpy_dtype_promotion("standard"):
                update, moments = optimizer.update(slope, moments)
            theta = jnp.clip(theta + update, -rule.bound, rule.bound)
            return (theta, moments), None

        return jax.lax.scan(step, (theta, optimizer.init(theta)), draws)[0][0]

    program = Compiled(jax.vmap(run))
    noise, draws = _draws(jax.random.split(key, len(prices)), steps, n)
    scores = program(noise, draws, jnp.asarray(prices, jnp.float32))
    scores = np.asarray(scores, np.float64)
    losses.count += steps * len(prices)
    check_finite(scores.sum(0), f"what {rule.name} learned, the parameters")
    return _best(rule, losses, prices, scores)


@partial(jax.jit, static_argnums=(1, 2))
@partial(jax.vmap, in_axes=(0, None, None))
def _draws(key, steps: int, n: int) -> tuple[Array, Array]:
    """Noise of where a run starts, and the numbers of its steps.

    Apart from the runs, so that all rules share the program.
    """
    first, later = jax.random.split(key)
    draws = jax.random.uniform(later, (steps, n), minval=1e-6, maxval=1 - 1e-6)
    return jax.random.normal(first, (n,)), draws


def _best(rule: rules.Rule, losses: Losses, prices, scores) -> Ranking:
    """At every size the set of the runs that has the lowest true loss."""
    runs, n = scores.shape
    ends = scores >= rule.threshold
    ranked = np.stack([of_order(order_of(row)) for row in scores])
    sets = np.concatenate([ranked.reshape(-1, n), ends])
    values = _once(losses, sets)
    sizes = sets.sum(1)
    order = np.lexsort((values, sizes))
    first = order[np.searchsorted(sizes[order], np.arange(n + 1))]
    each = Runs(
        prices, scores, ends, values[-runs:], values[:-runs].reshape(runs, n + 1)
    )
    method = f"{rule.name}, best of {runs} runs"
    mean = scores.mean(0)
    return Ranking(method, sets[first], values[first], mean, losses.count, each)


def _once(losses: Losses, sets: Bool[np.ndarray, "sets n"]) -> np.ndarray:
    """The losses of sets, each different one evaluated once."""
    different, where = np.unique(sets, axis=0, return_inverse=True)
    return losses(different)[where.reshape(-1)]
