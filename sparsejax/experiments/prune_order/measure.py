"""What is measured of the orders of training and pruning, network by network."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from sparsejax import prune, train
from sparsejax.experiments._study.records import column, group
from sparsejax.experiments.prune_order.config import ORDERS, Config
from sparsejax.experiments.prune_order.train import Task, each
from sparsejax.masks import Masks

KERNEL = "dense_1"  # the source's matrix: from the first hidden layer to the next
Records = Sequence[Mapping[str, Any]]
Groups = Mapping[tuple[float, str], Records]
Arrays = Mapping[tuple[float, str | None], Mapping[str, np.ndarray]]
COASTING = (5.3, 6.2)  # of |change| / learning rate


class Estimate(NamedTuple):
    """A mean with its 95% interval (Student's t over networks)."""

    mean: float
    low: float
    high: float


def records(
    task: Task,
    config: Config,
    rate: float,
    selection: str,
    networks: Mapping[str, Any],
    kept: tuple[Any, Any],
) -> list[dict[str, Any]]:
    """A record for every seed.

    Args:
        task: data, model, initial parameters.
        config: choices of the run.
        rate: learning rate.
        selection: how nodes or weights were chosen.
        networks: parameters by order, see `ORDERS`, stacked.
        kept: masks of nodes and of weights, stacked.
    """
    scores = {order: _test(task, networks[order], kept, order) for order in ORDERS}
    idle = _constant(task, networks["trained"])

    def kernel(params):
        return np.asarray(params[KERNEL]["kernel"])

    mask = kernel(kept[1]) != 0
    start, trained = kernel(task.params), kernel(networks["trained"])
    after = kernel(networks["prune_train"])
    return [
        {
            "learning_rate": rate,
            "selection": selection,
            "seed": seed,
            "test_accuracy": {k: float(v["accuracy"][i]) for k, v in scores.items()},
            "test_loss": {k: float(v["loss"][i]) for k, v in scores.items()},
            **compare(start[i][mask[i]], trained[i][mask[i]], after[i][mask[i]], rate),
            "constant_units": {name: float(part[i]) for name, part in idle.items()},
        }
        for i, seed in enumerate(config.seeds)
    ]


def compare(
    start: np.ndarray, trained: np.ndarray, pruned_first: np.ndarray, rate: float
) -> dict[str, Any]:
    """One kernel's kept entries, `(entries,)`, before and after two trainings.

    Returns:
        `correlation` of the trained weights and of their `updates`, each with its 95%
        interval (Fisher's z, entries taken as independent); the share of entries
        `never_updated`, equal to the bit; the share `coasting`.
    """
    moves = {
        "trained": trained.astype(np.float64) - start,
        "prune_train": pruned_first.astype(np.float64) - start,
    }
    same = {"trained": trained == start, "prune_train": pruned_first == start}
    same["both"] = same["trained"] & same["prune_train"]
    low, high = COASTING
    coasts = {k: np.abs(move) / rate for k, move in moves.items()}
    return {
        "correlation": correlation(trained, pruned_first),
        "correlation_of_updates": correlation(*moves.values()),
        "never_updated": {k: float(v.mean()) for k, v in same.items()},
        "coasting": {
            k: float(((low <= far) & (far <= high)).mean()) for k, far in coasts.items()
        },
        "entries": len(start),
    }


def correlation(a: np.ndarray, b: np.ndarray) -> list[float] | None:
    """Pearson's correlation and its 95% interval by Fisher's z; None if undefined.

    Example:
        >>> a = np.arange(28.0)
        >>> [round(r, 2) for r in correlation(a, a % 5)]
        [0.05, -0.33, 0.41]
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    if len(a) < 4 or not a.std() or not b.std():
        return None
    r = float(np.corrcoef(a, b)[0, 1])
    z = np.arctanh(min(max(r, -1 + 1e-15), 1 - 1e-15))
    away = 1.959964 / np.sqrt(len(a) - 3)
    return [r, float(np.tanh(z - away)), float(np.tanh(z + away))]


def estimate(values: ArrayLike) -> Estimate:
    """Mean over networks; the interval is the mean itself for a single one.

    Example:
        >>> [round(value, 2) for value in estimate([1.0, 2.0, 3.0])]
        [2.0, -0.48, 4.48]
    """
    found = np.asarray(values, np.float64)
    mean, n = float(found.mean()), len(found)
    if n < 2:
        return Estimate(mean, mean, mean)
    away = special.stdtrit(n - 1, 0.975) * found.std(ddof=1) / np.sqrt(n)
    return Estimate(mean, float(mean - away), float(mean + away))


def coast(b1: float = 0.9, b2: float = 0.999, steps: int = 1000) -> float:
    """How far Adam carries a weight whose gradient is zero after step 1, in rates.

    The moments decay as b1^t and b2^t from then on; with Adam's bias corrections the
    moves add up to 6.0055 at the usual decays, whatever the gradient was.

    Example:
        >>> round(coast(), 4)
        6.0055
    """
    t = np.arange(1, steps + 1)
    first = (1 - b1) * b1 ** (t - 1) / (1 - b1**t)
    second = (1 - b2) * b2 ** (t - 1) / (1 - b2**t)
    return float((first / np.sqrt(second)).sum())


def grouped(records: Records) -> Groups:
    """Records by learning rate and selection."""
    return group(records, "learning_rate", "selection")


def rates(groups: Groups) -> list[float]:
    """Learning rates, in the order they were run."""
    return list(dict.fromkeys(rate for rate, _ in groups))


def at_rate(groups: Groups, rate: float) -> dict[str, Records]:
    """The records of one learning rate by selection."""
    return {name: rows for (at, name), rows in groups.items() if at == rate}


def mean(records: Records, *path: str) -> float:
    """Mean over records of what lies at a path in them."""
    return float(column(records, *path).mean())


def _test(task, params, kept, order):
    # Masks say what `fit` and `remove` have made zero already; the whole has none.
    whole = jax.tree.map(np.ones_like, kept[1])
    keep = Masks(whole if order == "trained" else kept[1], {})
    return train.evaluate(task.apply, params, keep, task.test, stacked=True)


def _constant(task, params) -> dict[str, np.ndarray]:
    """Share of units that never vary over the training data, `(seeds,)` a layer."""

    def spread(x, p):
        return prune.activation_std(task.fn, p, x)

    found = each(spread, task.training[0], params)
    return {name: (np.asarray(sd) == 0).mean(axis=1) for name, sd in found.items()}
