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
from sparsejax.experiments.circuits import curves as curves_
from sparsejax.experiments.circuits import finders as finders_
from sparsejax.experiments.circuits import losses as losses_
from sparsejax.experiments.circuits import structure
from sparsejax.experiments.circuits.cases import Case
from sparsejax.experiments.circuits.config import Config
from sparsejax.experiments.circuits.finders import Found
from sparsejax.experiments.circuits.losses import Loss

_SETS = 200  # of those that are kept


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
    outcomes = {
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
    rankings = {k: f.ranking for k, f in outcomes.items() if f.ranking is not None}
    best = _best(rankings)
    where = {"seed": seed, "ablation": ablation}
    report, curves = _reported(config, loss, rankings, best, target, table, **where)
    record = _circuit(case, best, target, table, report)
    records = [
        {
            "part": "circuit",
            **record,
            **where,
            **structure.known(case, ablation, table),
        },
        *(
            {"part": "finder", **where, "finder": name}
            | _finder(config, case, one, best, target)
            | _recovered(case, ablation, one)
            for name, one in outcomes.items()
        ),
    ]
    arrays = curves_.arrays(config, loss, outcomes, best, table, seed) | curves
    costs = {name: one.seconds for name, one in outcomes.items()}
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
    own = {
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
            own[k] for k, other in others.items() if other is control
        ),
        supersets=config.num_supersets,
        keep_prob=(curves_.CHANCE, 0.9),
        labels=case.labels,
    )
    curves = {f"controls/{k}": one.losses for k, one in own.items()}
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
    number = structure.number(best.keep[size])
    return record | {
        "minimal": [structure.members(m) for m in minimal[:_SETS].tolist()],
        "minimal_count": len(minimal),
        "necessary": hypercube.necessary(table, target).tolist(),
        "monotone_share": hypercube.monotone_share(table, tolerance=structure.SAME),
        "completeness": hypercube.completeness(table, number).value,
        "minimality": hypercube.minimality(table, number).tolist(),
        "ceiling": structure.area(table, best),
        "gates": structure.gates(table),
        "terms": structure.terms(table),
    }


def _finder(config, case: Case, one: Found, best: Ranking, target) -> dict[str, Any]:
    """What a finder found, and how far that is from the best there is."""
    size = best.smallest(target)
    assert size is not None
    if one.ranking is None:
        return dict(one.facts)
    ranking, inner = one.ranking, slice(1, case.count)
    gaps = _gaps(ranking.losses, best)
    record = {
        "evaluations": ranking.evaluations,
        "size": ranking.smallest(target),
        "gap": float(gaps[size]),
        "mean_gap": _mean(gaps[inner]),
        "largest_gap": float(gaps[inner].max(initial=0.0)),
        "optimal_sizes": int((gaps[inner] <= structure.SAME).sum()),
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


def _gaps(losses: np.ndarray, best: Ranking) -> np.ndarray:
    """How far losses are above the best; nothing where only rounding tells them."""
    gaps = losses - best.losses
    return np.where(
        np.abs(gaps) < structure.SAME * (1 + np.abs(best.losses)), 0.0, gaps
    )


def _mean(gaps: np.ndarray) -> float:
    return float(gaps.mean()) if len(gaps) else 0.0
