"""What removing units does to a network: the distributions of a sweep, in numbers."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from sparsejax import hypercube, removal, sweep
from sparsejax.experiments.node_sweep.config import Config
from sparsejax.experiments.node_sweep.sweeps import Sweep, generator, kept_label
from sparsejax.experiments.node_sweep.units import Units

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
POINT = 0.01  # of accuracy: what counts as doing as well as the whole network


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


def swept(config: Config, units: Units, which: Sweep, chunks: Path) -> dict[str, Any]:
    """The arrays of one sweep: loss, accuracy, gradient, and masks as rows of bits.

    Args:
        config: what to sweep.
        units: the network as a function of its units.
        which: the sweep.
        chunks: folder of finished parts.
    """

    def measure(mask):
        values = {}
        if config.gradients:
            both = jax.value_and_grad(units.measure, has_aux=True)(mask)
            (values["loss"], values["accuracy"]), values["gradient"] = both
        else:
            values["loss"], values["accuracy"] = units.measure(mask)
        if config.distribution != "subsets":
            values["mask"] = mask > 0
        return values

    n, options = (
        len(units.names),
        {
            "batch_size": config.batch_size,
            "checkpoint": chunks,
            "progress": sys.stderr.isatty(),
        },
    )
    if config.distribution == "subsets":
        return hypercube.evaluate(measure, n, **options)
    masks = generator(config, which, n)
    arrays = sweep.evaluate(measure, masks, count=which.count, **options)
    return {**arrays, "mask": np.packbits(arrays["mask"], axis=1)}


def samples(
    config: Config, which: Sweep, arrays: Mapping[str, np.ndarray], n: int
) -> Iterator[Sample]:
    """The distributions that a sweep tells of: one, or for all subsets many."""
    table = arrays["loss"], arrays["accuracy"], arrays.get("gradient")
    if config.distribution != "subsets":
        bits = np.unpackbits(arrays["mask"], axis=1, count=n).astype(bool)
        yield Sample(which.label, which.value, bits, *table, None)
        return
    bits = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    for p in config.keep_probs:
        yield Sample(kept_label(p), p, bits, *table, hypercube.probabilities(n, p))


def record(sample: Sample, units: Units) -> dict[str, Any]:
    """What `metrics.jsonl` says of a distribution."""
    chance = _chances(sample)
    line: dict[str, Any] = {
        "distribution": sample.label,
        "value": sample.value,
        "masks": len(chance),
        "exact": sample.weights is not None,
        "units": len(units.names),
        "total": units.total,
        "kept": float(chance @ sample.masks.sum(axis=1)),
    }
    for name, values in (("loss", sample.losses), ("accuracy", sample.accuracies)):
        moments = removal.moments(values, sample.weights)
        mean, sd = float(moments.mean), float(moments.sd)
        error = 0.0 if line["exact"] else sd / np.sqrt(len(values) - 1)
        line[name] = {
            "mean": mean,
            "sd": sd,
            "interval": [mean - 1.96 * error, mean + 1.96 * error],
            "quantiles": _quantiles(values, chance),
        }
    fit = removal.fit_log_normal(positive(sample.losses), sample.weights)
    line["log_loss"] = {"mean": fit.mean, "sd": fit.sd, "distance": fit.distance}
    near = sample.accuracies >= units.every[1] - POINT
    line["within_a_point"] = float(chance @ near)
    if sample.gradients is not None:
        states = removal.by_state(sample.gradients, sample.masks, sample.weights)
        line["gradient"] = {
            state: {k: _number(v) for k, v in moments._asdict().items()}
            for state, moments in (("on", states.on), ("off", states.off))
        }
    line["full"] = dict(zip(("loss", "accuracy"), units.every, strict=True))
    return line


def by_size(
    samples: Sequence[Sample], n: int, few: int = 5
) -> tuple[Int[np.ndarray, " sizes"], dict[str, Float[np.ndarray, "three sizes"]]]:
    """Random networks of every size: 5%, 50% and 95% quantiles of loss and accuracy.

    Among masks of one size every one is as likely in all distributions here, so that
    samples are pooled; sizes with fewer than `few` masks are left out.

    Returns:
        The sizes, and arrays (3, sizes) for "losses" and "accuracies".
    """
    if samples[0].weights is not None:
        samples = samples[:1]
    count = np.concatenate([s.masks.sum(axis=1) for s in samples])
    exact = samples[0].weights is not None
    at = [k for k in range(n + 1) if (count == k).sum() >= (1 if exact else few)]
    quantiles = {}
    for name in ("losses", "accuracies"):
        values = np.concatenate([getattr(s, name) for s in samples])
        rows = [np.quantile(values[count == k], (0.05, 0.5, 0.95)) for k in at]
        quantiles[name] = np.array(rows).reshape(-1, 3).T
    return np.array(at, np.int64), quantiles


def positive(losses: np.ndarray) -> np.ndarray:
    """Losses that have a logarithm, however small."""
    return np.maximum(losses, np.finfo(np.float32).tiny)


def _chances(sample: Sample) -> Float[np.ndarray, " m"]:
    """The probability of every mask."""
    m = len(sample.losses)
    return np.full(m, 1 / m) if sample.weights is None else sample.weights


def _quantiles(values: np.ndarray, chance: np.ndarray) -> dict[str, float]:
    """The lowest values that have at least this much probability up to them."""
    order = np.argsort(values)
    rising = np.cumsum(chance[order])
    place = np.searchsorted(rising, np.array(QUANTILES) * rising[-1] - 1e-12)
    reached = values[order][np.minimum(place, len(values) - 1)]
    return {f"{q:g}": float(v) for q, v in zip(QUANTILES, reached, strict=True)}


def _number(value) -> float | None:
    """For JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None
