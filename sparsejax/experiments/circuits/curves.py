"""What becomes of the best sets among supersets, by size: exactly, or sampled."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import hypercube
from sparsejax.circuits import Ranking
from sparsejax.experiments.circuits import structure
from sparsejax.experiments.circuits.finders import Found
from sparsejax.experiments.circuits.losses import Loss

CHANCE = 0.5  # that each of the other nodes is on
_SIZES = 24  # at which supersets are sampled, where not all subsets are known


def arrays(
    config, loss: Loss, outcomes: Mapping[str, Found], best: Ranking, table, seed
) -> dict[str, np.ndarray]:
    """Sets and losses by finder, and by size what becomes of the best sets."""
    n = loss.case.count
    results: dict[str, np.ndarray] = {}
    results |= {"best/keep": best.keep, "best/losses": best.losses}
    for name, one in outcomes.items():
        if one.set is not None:
            results[f"{name}/set"] = one.set
        if one.ranking is not None:
            results[f"{name}/keep"] = one.ranking.keep
            results[f"{name}/losses"] = one.ranking.losses
            if one.ranking.scores is not None:
                results[f"{name}/scores"] = one.ranking.scores
            if one.ranking.runs is not None:
                results[f"{name}/ranked"] = one.ranking.runs.ranked
    if table is None:
        return results | _sampled(config, loss, best, seed)
    numbers = [structure.number(row) for row in best.keep]
    sizes = hypercube.subset_sizes(n)
    totals = np.bincount(sizes, weights=table, minlength=n + 1)
    return results | {
        "table": table.astype(np.float32),
        "sizes": np.arange(n + 1),
        "supersets": hypercube.over_supersets(table, CHANCE)[numbers],
        "worst": hypercube.worst(table)[numbers],
        "best_worst": hypercube.best_worst(table).values,
        "random": totals / np.bincount(sizes, minlength=n + 1),
    }


def _sampled(config, loss: Loss, best: Ranking, seed) -> dict[str, np.ndarray]:
    """The same by random supersets and sets, at some sizes."""
    n = loss.case.count
    sizes = np.unique(np.linspace(0, n, min(_SIZES, n + 1)).round().astype(int))
    rng = np.random.default_rng([seed, 3])
    draws = config.num_supersets

    def drawn(rows: np.ndarray) -> np.ndarray:
        return _evaluated(loss, rows).reshape(len(sizes), draws)

    above = [best.keep[k] | (rng.random((draws, n)) < CHANCE) for k in sizes]
    places = rng.random((len(sizes), draws, n)).argsort(-1)
    random = places < sizes[:, None, None]
    values = drawn(np.concatenate(above))
    return {
        "sizes": sizes,
        "supersets": values.mean(1),
        "worst": np.maximum(values.max(1), best.losses[sizes]),
        "random": drawn(random.reshape(-1, n)).mean(1),
    }


def _evaluated(loss: Loss, rows: np.ndarray) -> np.ndarray:
    """Losses of sets, in batches."""
    names, counts = zip(*((k, v.size) for k, v in loss.case.own.items()))
    ends = np.cumsum(counts)[:-1].tolist()

    def one(row):
        parts = jnp.split(row, ends)
        shaped = zip(names, parts, strict=True)
        masks = {k: p.reshape(loss.case.own[k].shape) for k, p in shaped}
        return loss(masks)

    run = jax.jit(lambda rows: jax.lax.map(one, rows, batch_size=32))
    return np.asarray(run(rows.astype(np.float32)), np.float64)
