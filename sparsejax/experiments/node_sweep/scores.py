"""How much each unit matters, and the networks that keep the best k units."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from sparsejax import hypercube, removal
from sparsejax.experiments.node_sweep.measure import Sample
from sparsejax.experiments.node_sweep.units import Kept, Units, evaluate

GREEDY = 128  # units up to which greedy elimination is worth its n^2 evaluations


class Score(NamedTuple):
    """How much every unit matters by one measure; higher = keep.

    Attributes:
        values: shape (n,).
        errors: their standard errors, shape (n,); None where they are exact.
    """

    values: Float[np.ndarray, " n"]
    errors: Float[np.ndarray, " n"] | None


def scores(
    units: Units,
    samples: Sequence[Sample],
    *,
    num_permutations: int,
    key: Key[Array, ""],
    batch_size: int | None = None,
    progress: bool = False,
) -> dict[str, Score]:
    """Scores of every unit, by name; the first is the one to trust.

    "Shapley value": what a unit takes off the loss, as units join in random order;
    exact where the losses of all subsets are known, else over `num_permutations`
    orders. "leave one out": what its removal adds to the loss of the whole network.
    "activation spread": the standard deviation of its activation. "mean effect, keep
    0.5": what it takes off the mean loss in that distribution.
    """
    n, by_name = len(units.names), {}
    if samples[0].weights is not None:
        values = -hypercube.shapley(samples[0].losses)
        by_name["Shapley value"] = Score(values, None)
    elif num_permutations:
        estimate = hypercube.estimate_shapley(
            lambda mask: units.measure(mask)[0],
            n,
            key=key,
            permutations=num_permutations,
            batch_size=batch_size,
            progress=progress,
        )
        values, errors = np.asarray(estimate.values), np.asarray(estimate.errors)
        by_name["Shapley value"] = Score(-values, errors)
    alone = evaluate(units.measure, 1 - np.eye(n), batch_size).losses
    by_name["leave one out"] = Score(alone - units.every[0], None)
    by_name["activation spread"] = Score(units.spread, None)
    for sample in samples:
        if np.isfinite((mean := effect(sample)).values).all():
            by_name[effect_name(sample)] = mean
    return by_name


def effect_name(sample: Sample) -> str:
    """What `scores` calls the effects in one distribution."""
    return f"mean effect, {sample.label}"


def effect(sample: Sample) -> Score:
    """How much lower the mean loss is where a unit is kept; NaN where all masks agree.

    Returns:
        Differences of means, with Welch's standard errors; NaN where fewer than two
        masks keep the unit, or fewer than two remove it.
    """
    shape = sample.masks.shape
    losses = np.broadcast_to(sample.losses[:, None], shape)
    states = removal.by_state(losses, sample.masks, sample.weights)
    values = states.off_nodes.mean - states.on_nodes.mean
    if sample.weights is not None:
        return Score(values, None)
    on = sample.masks.sum(axis=0)

    def error(sd, count):
        return sd**2 / np.where(count > 1, count - 1, np.nan)

    squares = error(states.on_nodes.sd, on) + error(
        states.off_nodes.sd, len(losses) - on
    )
    return Score(values, np.sqrt(squares))


def kept_networks(
    units: Units,
    samples: Sequence[Sample],
    scores: Mapping[str, Score],
    batch_size: int | None = None,
) -> dict[str, Kept]:
    """The networks of the k best units: by every score, greedily, and of all subsets.

    "greedy elimination" removes, again and again, the unit whose removal leaves the
    lowest loss (up to `GREEDY` units); "best of all" is the subset of every size with
    the lowest loss, where all are known.
    """
    n, networks = len(units.names), {}
    if samples[0].weights is not None:
        best = hypercube.best(samples[0].losses)
        accuracies = samples[0].accuracies[best.subsets]
        networks["best of all"] = Kept(best.values, accuracies)
    orders = {}
    if n <= GREEDY:

        def loss(mask):
            return units.measure(mask)[0]

        orders["greedy elimination"] = np.asarray(eliminate(loss, n))
    for name, score in scores.items():
        orders[name] = np.argsort(-score.values, kind="stable")
    places = np.array([np.argsort(order) for order in orders.values()])
    rows = (places[:, None] < np.arange(n + 1)[:, None]).reshape(-1, n)
    values = evaluate(units.measure, rows, batch_size)
    for i, name in enumerate(orders):
        here = slice(i * (n + 1), (i + 1) * (n + 1))
        networks[name] = Kept(values.losses[here], values.accuracies[here])
    return networks


def eliminate(loss: Callable[[Array], Array], n: int) -> Int[Array, " n"]:
    """The order of units, first the one that greedy elimination keeps longest."""

    def step(i, carry):
        mask, order = carry

        def without(unit):
            return loss(mask.at[unit].set(0.0))

        losses = jax.lax.map(without, jnp.arange(n))
        unit = jnp.argmin(jnp.where(mask > 0, losses, jnp.inf))
        return mask.at[unit].set(0.0), order.at[n - 1 - i].set(unit)

    run = jax.jit(lambda start: jax.lax.fori_loop(0, n, step, start))
    return run((jnp.ones(n), jnp.zeros(n, jnp.int32)))[1]
