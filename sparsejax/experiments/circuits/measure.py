"""One part of a run: a network under one ablation, by every finder."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import circuits, hypercube
from sparsejax.circuits import Ranking
from sparsejax.experiments.circuits import finders as finders_
from sparsejax.experiments.circuits import losses as losses_
from sparsejax.experiments.circuits.cases import Case
from sparsejax.experiments.circuits.config import Config
from sparsejax.experiments.circuits.finders import Found
from sparsejax.experiments.circuits.losses import Loss

CHANCE = 0.5  # that each of the other nodes is on
_SIZES = 24  # at which supersets are sampled, where not all subsets are known
_TERMS = 8
_SETS = 200  # of those that are kept
_SAME = 1e-6  # of losses
_GATE = 0.5  # index from which on two nodes are called a gate


def part(
    config: Config, case: Case, seed: int, ablation: str
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray], dict[str, float]]:
    """Records and arrays of a part, and the CPU-seconds of each finder.

    Args:
        config: of the run.
        case: the network.
        seed: of the network, or of its examples.
        ablation: one of `config.ABLATIONS`.
    """
    loss = losses_.loss(config, case, ablation, case.examples)
    table, seconds = _table(config, loss)
    none, full = _ends(loss)
    target = full + config.share * abs(none - full)
    found = {
        name: finders_.find(
            name,
            config,
            loss,
            seed=seed,
            ablation=ablation,
            target=target,
            table=None if table is None else (table, seconds),
        )
        for name in finders_.usual(config, case)
        if finders_.applies(name, ablation)
    }
    rankings = {k: f.ranking for k, f in found.items() if f.ranking is not None}
    best = _best(rankings)
    where = {"seed": seed, "ablation": ablation}
    report, curves = _reported(config, loss, rankings, best, target, table, **where)
    record = _circuit(case, best, target, table, report)
    records = [
        {"part": "circuit", **record, **where, **_known(case, ablation, table)},
        *(
            {"part": "finder", **where, "finder": name}
            | _finder(config, case, one, best, target)
            | _recovered(case, ablation, one)
            for name, one in found.items()
        ),
    ]
    arrays = _arrays(config, loss, found, best, table, target, seed) | curves
    costs = {name: one.seconds for name, one in found.items()}
    return records, arrays, costs


def count(config: Config, case: Case, ablation: str) -> int:
    """Number of records of a part."""
    names = finders_.usual(config, case)
    return 1 + sum(finders_.applies(name, ablation) for name in names)


def _table(config: Config, loss: Loss) -> tuple[np.ndarray | None, float]:
    """Losses of all subsets, if there are few enough, and the CPU-seconds it took."""
    if loss.case.count > config.max_exact:
        return None, 0.0
    began = time.process_time()
    fn, sizes = circuits.flat(loss, loss.case.own)
    table = hypercube.evaluate(fn, sizes, progress=False)
    return np.asarray(table, np.float64), time.process_time() - began


def _ends(loss: Loss) -> tuple[float, float]:
    """The loss of no nodes, and of all."""
    ones = loss.case.own
    none = {name: jnp.zeros_like(mask) for name, mask in ones.items()}
    ends = jax.jit(lambda: jnp.stack([loss(none), loss(ones)]))()
    return float(ends[0]), float(ends[1])


def _best(rankings: Mapping[str, Ranking]) -> Ranking:
    """At every size the best set of any finder: the optimum, if "exact" is among them.

    Raises:
        ValueError: if no finder gives sets of every size.
    """
    if not rankings:
        raise ValueError("finders must include one besides hitting_set")
    if "exact" in rankings:
        return rankings["exact"]
    losses = np.stack([ranking.losses for ranking in rankings.values()])
    which = losses.argmin(0)
    every = [*rankings.values()]
    keep = np.stack([every[k].keep[size] for size, k in enumerate(which)])
    return Ranking("best of the finders", keep, losses.min(0), None, 0)


def _reported(
    config, loss: Loss, rankings, best: Ranking, target, table, seed, ablation
) -> tuple[circuits.Report, dict[str, np.ndarray]]:
    """The report on the best circuit, and losses by size of what it is held against."""
    case, key = loss.case, partial(losses_.key, seed, ablation)
    others = losses_.controls(config, case, ablation, key(100))
    found = {
        name: circuits.eliminate(control, case.own) for name, control in others.items()
    }
    held_out = None
    if case.held_out is not None:
        held_out = losses_.loss(config, case, ablation, case.held_out)
    report = circuits.report(
        loss,
        best,
        nodes=case.own,
        key=key(101),
        target=target,
        table=table,
        controls=others,
        held_out=held_out,
        others={k: r for k, r in rankings.items() if k != "exact"},
        finder=lambda control, nodes: next(
            found[k] for k, other in others.items() if other is control
        ),
        supersets=config.num_supersets,
        keep_prob=(CHANCE, 0.9),
        labels=case.labels,
    )
    curves = {f"controls/{k}": one.losses for k, one in found.items()}
    return report, curves


def _circuit(case: Case, best: Ranking, target, table, report) -> dict[str, Any]:
    """What is known of the best circuit, and of all there are."""
    size = len(report.subset)
    record = {
        "title": case.title,
        "nodes": case.count,
        "exact": table is not None,
        **report.to_dict(),
        "size": size,
        "text": str(report),
    }
    record["alternatives"]["sets"] = record["alternatives"]["sets"][:_SETS]
    if table is None:
        return record
    minimal = hypercube.minimal(table, target)
    number = _number(best.keep[size])
    return record | {
        "minimal": [_members(m) for m in minimal[:_SETS].tolist()],
        "minimal_count": len(minimal),
        "necessary": hypercube.necessary(table, target).tolist(),
        "monotone_share": hypercube.monotone_share(table, tolerance=_SAME),
        "completeness": hypercube.completeness(table, number).value,
        "minimality": hypercube.minimality(table, number).tolist(),
        "ceiling": _area(table, best),
        "gates": _gates(table),
        "terms": _terms(table),
    }


def _finder(config, case: Case, one: Found, best: Ranking, target) -> dict[str, Any]:
    """What a finder found, and how far that is from the best there is."""
    size = best.smallest(target)
    assert size is not None
    if one.ranking is None:
        assert one.set is not None
        return {
            "evaluations": one.facts["evaluations"],
            "size": int(one.set.sum()) or None,
            **one.facts,
        }
    ranking, inner = one.ranking, slice(1, case.count)
    gaps = _gaps(ranking.losses, best)
    record = {
        "evaluations": ranking.evaluations,
        "size": ranking.smallest(target),
        "gap": float(gaps[size]),
        "mean_gap": _mean(gaps[inner]),
        "largest_gap": float(gaps[inner].max(initial=0.0)),
        "optimal_sizes": int((gaps[inner] <= _SAME).sum()),
    }
    if ranking.runs is not None:
        each = _gaps(finders_.best_of(ranking, config.num_repeats), best)
        record["repeat_gaps"] = [_mean(row[inner]) for row in each]
        medians = _gaps(np.median(ranking.runs.ranked, 0), best)
        record["median_gap"] = _mean(medians[inner])
    return record


def _recovered(case: Case, ablation: str, one: Found) -> dict[str, Any]:
    """Whether a finder's sets have one of the circuits that are known."""
    if case.circuits is None or ablation != "zero":
        return {}
    if one.ranking is None:
        assert one.set is not None
        rows = one.set[None]
    else:
        rows = one.ranking.keep[sorted({len(circuit) for circuit in case.circuits})]
    sets = {frozenset(np.flatnonzero(row).tolist()) for row in rows}
    return {"recovered": bool(sets & set(case.circuits))}


def _known(case: Case, ablation: str, table) -> dict[str, Any]:
    """Whether the circuits without an error are those that the network was made of."""
    if case.circuits is None or ablation != "zero" or table is None:
        return {}
    fn, sizes = circuits.flat(losses_.error(case), case.own)
    errors = hypercube.evaluate(fn, sizes, progress=False)
    minimal = {frozenset(_members(m)) for m in hypercube.minimal(errors, 1e-5).tolist()}
    return {"known": minimal == set(case.circuits)}


def _gates(table: np.ndarray) -> list[dict[str, Any]]:
    """Pairs of nodes that are an AND or an OR and matter, the largest first."""
    gates, span = hypercube.gates(table), abs(table[0] - table[-1])
    found = []
    for i, j in zip(*np.triu_indices(len(gates.on), 1)):
        for kind, index, gain in (
            ("and", gates.off[i, j], gates.gain_off[i, j]),
            ("or", -gates.on[i, j], gates.gain_on[i, j]),
        ):
            if index >= _GATE and gain >= span / 10:
                found.append({"kind": kind, "nodes": [int(i), int(j)],
                              "index": float(index), "gain": float(gain)})  # fmt: skip
    return sorted(found, key=lambda gate: -gate["gain"])[:_SETS]


def _terms(table: np.ndarray) -> list[dict[str, Any]]:
    """The largest Harsanyi terms: what sets of nodes save beyond their parts."""
    terms = hypercube.moebius(-table)
    terms[0] = 0  # of no nodes
    order = np.argsort(-np.abs(terms), kind="stable")[:_TERMS]
    return [
        {"nodes": _members(int(m)), "value": float(terms[m])}
        for m in order
        if abs(terms[m]) > _SAME
    ]


def _arrays(
    config, loss: Loss, found: Mapping[str, Found], best: Ranking, table, target, seed
) -> dict[str, np.ndarray]:
    """Sets and losses by finder, and by size what becomes of the best sets."""
    n = loss.case.count
    arrays: dict[str, np.ndarray] = {"best/keep": best.keep, "best/losses": best.losses}
    for name, one in found.items():
        if one.set is not None:
            arrays[f"{name}/set"] = one.set
        if one.ranking is not None:
            arrays[f"{name}/keep"] = one.ranking.keep
            arrays[f"{name}/losses"] = one.ranking.losses
            if one.ranking.scores is not None:
                arrays[f"{name}/scores"] = one.ranking.scores
            if one.ranking.runs is not None:
                arrays[f"{name}/ranked"] = one.ranking.runs.ranked
    if table is None:
        return arrays | _sampled(config, loss, best, seed)
    numbers = [_number(row) for row in best.keep]
    sizes = hypercube.subset_sizes(n)
    totals = np.bincount(sizes, weights=table, minlength=n + 1)
    return arrays | {
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
    names, counts = zip(*((k, len(v)) for k, v in loss.case.own.items()))
    ends = np.cumsum(counts)[:-1].tolist()

    def one(row):
        parts = jnp.split(row, ends)
        shaped = zip(names, parts, strict=True)
        masks = {k: p.reshape(loss.case.own[k].shape) for k, p in shaped}
        return loss(masks)

    run = jax.jit(lambda rows: jax.lax.map(one, rows, batch_size=32))
    return np.asarray(run(rows.astype(np.float32)), np.float64)


def _area(table: np.ndarray, best: Ranking) -> float | None:
    """The largest area under the faithfulness of circuits of all sizes."""
    if abs(table[0] - table[-1]) < _SAME:
        return None
    return hypercube.cpr(table, [_number(row) for row in best.keep])


def _gaps(losses: np.ndarray, best: Ranking) -> np.ndarray:
    """How far losses are above the best; nothing where only rounding tells them."""
    gaps = losses - best.losses
    return np.where(np.abs(gaps) < _SAME * (1 + np.abs(best.losses)), 0.0, gaps)


def _mean(gaps: np.ndarray) -> float:
    return float(gaps.mean()) if len(gaps) else 0.0


def _number(keep: np.ndarray) -> int:
    return int((1 << np.flatnonzero(keep)).sum())


def _members(number: int) -> list[int]:
    return [i for i in range(number.bit_length()) if number >> i & 1]
