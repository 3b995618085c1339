"""What removing units does to a network, and how much each unit matters.

A network becomes a function of one vector, 1 for a unit that is kept. The rest follows
from its values: the statistics of a distribution of masks, scores of units, and the
networks that keep the best k units by each score.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from sparsejax import hypercube, lift, prune, removal, sweep, train
from sparsejax.experiments.networks import Network
from sparsejax.masks import Masks

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
POINT = 0.01  # of accuracy: what counts as doing as well as the whole network
GREEDY = 128  # units up to which greedy elimination is worth its n^2 evaluations


class Subject(NamedTuple):
    """A network as a function of which of its units are kept.

    Attributes:
        measure: loss and accuracy, over the chosen inputs, of a mask (n,).
        names: of the n units, as "hidden_0/3".
        total: number of units of the network; the others are always on.
        spread: standard deviation of their activations, shape (n,).
        examples: number of inputs.
        every: loss and accuracy with all units.
        none: loss and accuracy with none of them.
    """

    measure: Callable[[Array], tuple[Array, Array]]
    names: list[str]
    total: int
    spread: Float[np.ndarray, " n"]
    examples: int
    every: tuple[float, float]
    none: tuple[float, float]


class Sample(NamedTuple):
    """A distribution of masks, and how the network does under each.

    Attributes:
        label: of the distribution.
        value: keep probability, or number of units kept.
        masks: shape (m, n).
        losses: shape (m,).
        accuracies: shape (m,).
        gradients: of the loss with respect to the mask, shape (m, n), or None.
        weights: probability of each mask where all are known, shape (m,), or None.
    """

    label: str
    value: float
    masks: Bool[np.ndarray, "m n"]
    losses: Float[np.ndarray, " m"]
    accuracies: Float[np.ndarray, " m"]
    gradients: Float[np.ndarray, "m n"] | None
    weights: Float[np.ndarray, " m"] | None


class Score(NamedTuple):
    """How much every unit matters by one measure; higher = keep.

    Attributes:
        values: shape (n,).
        errors: their standard errors, shape (n,); None where they are exact.
    """

    values: Float[np.ndarray, " n"]
    errors: Float[np.ndarray, " n"] | None


class Kept(NamedTuple):
    """Networks that keep 0, ..., n units.

    Attributes:
        losses: shape (n + 1,).
        accuracies: shape (n + 1,).
    """

    losses: Float[np.ndarray, " sizes"]
    accuracies: Float[np.ndarray, " sizes"]


def layers(fn: Callable, *args) -> dict[str, int]:
    """The number of units of every named activation; arguments may be shapes."""
    _, acts = jax.eval_shape(lift.activations(fn), *args)
    return {name: leaf.shape[-1] for name, leaf in acts.items()}


def subject(
    network: Network,
    nodes: Mapping[str, int],
    *,
    units: int | None = None,
    examples: int = 0,
    seed: int = 0,
) -> Subject:
    """A network on some of its test inputs, as a function of some of its units.

    Args:
        network: the network.
        nodes: `{name: units}` of the activations to choose from.
        units: how many, those whose activation varies most; by default all. The others
            are always kept.
        examples: number of inputs, drawn once; 0 for all.
        seed: of the draw.
    """
    x, y = network.x, network.y
    if 0 < examples < len(x):
        order = np.random.default_rng(seed).permutation(len(x))
        rows = np.sort(order[:examples])
        x, y = x[rows], y[rows]
    x, y = jnp.asarray(x), jnp.asarray(y)

    def fn(params, x):
        return network.fn(x)

    std = prune.activation_std(fn, {}, x, names=nodes)
    spread = np.concatenate([np.asarray(std[name]) for name in nodes])
    names = [f"{name}/{i}" for name, n in nodes.items() for i in range(n)]
    chosen = np.sort(np.argsort(-spread, kind="stable")[:units])
    apply = lift.masked(fn)
    # patches of convolutions are large: few images at a time stay in the cache
    together = 100 if x.ndim > 2 else len(x)
    ends = np.cumsum(list(nodes.values()))[:-1].tolist()

    def measure(mask):
        whole = jnp.ones(len(names)).at[chosen].set(mask)
        kept = dict(zip(nodes, jnp.split(whole, ends), strict=True))
        keep = Masks({}, kept)
        found = train.evaluate(apply, {}, keep, (x, y), batch_size=together)
        return found["loss"], found["accuracy"]

    n, total = len(chosen), sum(layers(network.fn, x[:1]).values())
    picked = [names[i] for i in chosen]
    both = _evaluate(measure, np.stack([np.ones(n), np.zeros(n)]))
    every, none = zip(both.losses.tolist(), both.accuracies.tolist(), strict=True)
    return Subject(measure, picked, total, spread[chosen], len(x), every, none)


def record(sample: Sample, subject: Subject) -> dict[str, Any]:
    """What `metrics.jsonl` says of a distribution."""
    chance = _chances(sample)
    made: dict[str, Any] = {
        "distribution": sample.label,
        "value": sample.value,
        "masks": len(chance),
        "exact": sample.weights is not None,
        "units": len(subject.names),
        "total": subject.total,
        "kept": float(chance @ sample.masks.sum(axis=1)),
    }
    for name, values in (("loss", sample.losses), ("accuracy", sample.accuracies)):
        found = removal.moments(values, sample.weights)
        mean, sd = float(found.mean), float(found.sd)
        error = 0.0 if made["exact"] else sd / np.sqrt(len(values) - 1)
        made[name] = {
            "mean": mean,
            "sd": sd,
            "interval": [mean - 1.96 * error, mean + 1.96 * error],
            "quantiles": _quantiles(values, chance),
        }
    fit = removal.fit_log_normal(positive(sample.losses), sample.weights)
    made["log_loss"] = {"mean": fit.mean, "sd": fit.sd, "distance": fit.distance}
    near = sample.accuracies >= subject.every[1] - POINT
    made["within_a_point"] = float(chance @ near)
    if sample.gradients is not None:
        states = removal.by_state(sample.gradients, sample.masks, sample.weights)
        made["gradient"] = {
            state: {k: _number(v) for k, v in found._asdict().items()}
            for state, found in (("on", states.on), ("off", states.off))
        }
    made["full"] = dict(zip(("loss", "accuracy"), subject.every, strict=True))
    return made


def scores(
    subject: Subject,
    samples: Sequence[Sample],
    *,
    permutations: int,
    key: Key[Array, ""],
    batch_size: int | None = None,
    progress: bool = False,
) -> dict[str, Score]:
    """Scores of every unit, by name; the first is the one to trust.

    "Shapley value": what a unit takes off the loss, as units join in random order;
    exact where the losses of all subsets are known, else over `permutations` orders.
    "leave one out": what its removal adds to the loss of the whole network. "activation
    spread": the standard deviation of its activation. "mean effect, keep 0.5": what it
    takes off the mean loss in that distribution.
    """
    n, found = len(subject.names), {}
    if samples[0].weights is not None:
        values = -hypercube.shapley(samples[0].losses)
        found["Shapley value"] = Score(values, None)
    elif permutations:
        estimate = hypercube.estimate_shapley(
            lambda mask: subject.measure(mask)[0],
            n,
            key=key,
            permutations=permutations,
            batch_size=batch_size,
            progress=progress,
        )
        values, errors = np.asarray(estimate.values), np.asarray(estimate.errors)
        found["Shapley value"] = Score(-values, errors)
    alone = _evaluate(subject.measure, 1 - np.eye(n), batch_size).losses
    found["leave one out"] = Score(alone - subject.every[0], None)
    found["activation spread"] = Score(subject.spread, None)
    for sample in samples:
        if np.isfinite((mean := effect(sample)).values).all():
            found[effect_name(sample)] = mean
    return found


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


def kept(
    subject: Subject,
    samples: Sequence[Sample],
    scores: Mapping[str, Score],
    batch_size: int | None = None,
) -> dict[str, Kept]:
    """The networks of the k best units: by every score, greedily, and of all subsets.

    "greedy elimination" removes, again and again, the unit whose removal leaves the
    lowest loss (up to `GREEDY` units); "best of all" is the subset of every size with
    the lowest loss, where all are known.
    """
    n, found = len(subject.names), {}
    if samples[0].weights is not None:
        best = hypercube.best(samples[0].losses)
        accuracies = samples[0].accuracies[best.subsets]
        found["best of all"] = Kept(best.values, accuracies)
    orders = {}
    if n <= GREEDY:

        def loss(mask):
            return subject.measure(mask)[0]

        orders["greedy elimination"] = np.asarray(eliminate(loss, n))
    for name, score in scores.items():
        orders[name] = np.argsort(-score.values, kind="stable")
    places = np.array([np.argsort(order) for order in orders.values()])
    rows = (places[:, None] < np.arange(n + 1)[:, None]).reshape(-1, n)
    values = _evaluate(subject.measure, rows, batch_size)
    for i, name in enumerate(orders):
        here = slice(i * (n + 1), (i + 1) * (n + 1))
        found[name] = Kept(values.losses[here], values.accuracies[here])
    return found


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


def by_size(
    samples: Sequence[Sample], n: int, few: int = 5
) -> tuple[Int[np.ndarray, " sizes"], dict[str, Float[np.ndarray, "three sizes"]]]:
    """Random networks of every size: 5%, 50% and 95% quantiles of loss and accuracy.

    Among masks of one size every one is as likely in all distributions here, so that
    samples are pooled; sizes with fewer than `few` masks are left out.

    Returns:
        The sizes, and arrays (3, sizes) for "loss" and "accuracy".
    """
    if samples[0].weights is not None:
        samples = samples[:1]
    count = np.concatenate([s.masks.sum(axis=1) for s in samples])
    exact = samples[0].weights is not None
    at = [k for k in range(n + 1) if (count == k).sum() >= (1 if exact else few)]
    found = {}
    for name in ("losses", "accuracies"):
        values = np.concatenate([getattr(s, name) for s in samples])
        rows = [np.quantile(values[count == k], (0.05, 0.5, 0.95)) for k in at]
        found[name] = np.array(rows).reshape(-1, 3).T
    return np.array(at, np.int64), found


def positive(losses: np.ndarray) -> np.ndarray:
    """Losses that have a logarithm, however small."""
    return np.maximum(losses, np.finfo(np.float32).tiny)


def _evaluate(measure, rows: np.ndarray, batch_size: int | None = None) -> Kept:
    """Loss and accuracy of every row of masks."""
    masks = jnp.asarray(rows, jnp.float32)
    found = sweep.evaluate(measure, masks, batch_size=batch_size, progress=False)
    return Kept(*found)


def _chances(sample: Sample) -> Float[np.ndarray, " m"]:
    """The probability of every mask."""
    m = len(sample.losses)
    return np.full(m, 1 / m) if sample.weights is None else sample.weights


def _quantiles(values: np.ndarray, chance: np.ndarray) -> dict[str, float]:
    """The lowest values that have at least this much probability up to them."""
    order = np.argsort(values)
    rising = np.cumsum(chance[order])
    place = np.searchsorted(rising, np.array(QUANTILES) * rising[-1] - 1e-12)
    found = values[order][np.minimum(place, len(values) - 1)]
    return {f"{q:g}": float(v) for q, v in zip(QUANTILES, found, strict=True)}


def _number(value) -> float | None:
    """For JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None
