"""Finders by name: which apply, and what each finds."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from sparsejax import circuits, hypercube
from sparsejax.circuits import Ranking
from sparsejax.experiments.circuits import scores
from sparsejax.experiments.circuits.cases import Case
from sparsejax.experiments.circuits.config import LABELS, LEARNED, OF_TABLE, Config
from sparsejax.experiments.circuits.losses import Loss, key

_MOST = 64  # nodes for searches whose cost grows with their square
_ASKED = 2000  # sets, by hitting sets
_PRICES = 8  # of nodes, for masks that are learned


class Found(NamedTuple):
    """What a finder found.

    Attributes:
        ranking: sets of every size; of `hitting_set` alone None.
        set: the one set that it found, where it is no ranking.
        seconds: of the CPU, compiling included.
        facts: what else there is to say.
    """

    ranking: Ranking | None
    set: Bool[np.ndarray, " n"] | None
    seconds: float
    facts: dict[str, Any]


def usual(config: Config, case: Case) -> list[str]:
    """Finders of a run: those that are chosen, or all that apply.

    Raises:
        ValueError: for one that is chosen and does not apply, saying why.
    """
    if config.finders:
        for name in config.finders:
            if reason := _reason(name, config, case):
                raise ValueError(f"finder {name}: {reason}")
        return [name for name in LABELS if name in config.finders]
    asked = [name for name in LABELS if name != "relevance"]
    return [name for name in asked if not _reason(name, config, case)]


def applies(name: str, ablation: str) -> bool:
    """Whether a finder is for this ablation."""
    only = {"integrated_inputs": "resample", "relevance": "zero"}
    return ablation == only.get(name, ablation)


def find(
    name: str,
    config: Config,
    loss: Loss,
    *,
    seed: int,
    ablation: str,
    target: float,
    table: tuple[Float[np.ndarray, " subsets"], float] | None,
) -> Found:
    """What a finder finds.

    Args:
        name: of the finder.
        config: of the run.
        loss: of circuits.
        seed: of the part of the run.
        ablation: of the part of the run.
        target: loss that a circuit may have.
        table: losses of all subsets, if they are known, and the CPU-seconds it took.
    """
    began, before = time.process_time(), 0.0
    nodes = loss.case.own
    own = key(seed, ablation, [*LABELS].index(name))
    facts: dict[str, Any] = {}
    subset = None
    if name in OF_TABLE:
        assert table is not None
        values, before = table
        cheap = circuits.from_table(values, nodes)
        if name == "exact":
            ranking = circuits.exact(cheap, nodes, table=values)
        else:
            worth = -hypercube.shapley(values)
            ranking = circuits.by_scores(cheap, nodes, worth, method="Shapley values")
        ranking = ranking._replace(evaluations=len(values))
    elif name == "relevance":
        worth = scores.of_relevance(loss.case)
        ranking = circuits.by_scores(loss, nodes, worth, method="relevance")
    elif name == "hitting_set":
        valid = circuits.passing(loss, nodes, target)
        result = circuits.hitting_set(valid, loss.case.count, key=own, limit=_ASKED)
        ranking, facts = None, result._asdict()
        which = facts.pop("subset")
        subset = circuits.subset(which or [], nodes)
        facts["size"] = None if which is None else len(which)
    else:
        ranking = _finders(config, loss, target, own)[name]()
    seconds = time.process_time() - began + before
    return Found(ranking, subset, seconds, facts)


def _finders(
    config: Config, loss: Loss, target: float, own: Array | Any
) -> dict[str, Callable[[], Ranking]]:
    """Finders that ask for single losses."""
    case = loss.case
    learn: dict[str, Any] = {
        "key": own,
        "repeats": config.num_repeats * (config.num_runs // _PRICES),
        "steps": config.learning_steps,
    }

    def of(finder, **options):
        return partial(finder, loss, case.own, **options)

    x, _, corrupted = case.examples
    return {
        "eliminate": of(circuits.eliminate, target=target),
        "backward": of(circuits.greedy),
        "forward": of(circuits.greedy, direction="forward"),
        "beam": of(circuits.beam),
        "swap": of(circuits.swap),
        "acdc": of(circuits.acdc),
        "noising": of(circuits.single),
        "denoising": of(circuits.single, direction="denoising"),
        "attribution": of(circuits.attribution),
        "integrated": of(circuits.integrated),
        "integrated_inputs": of(
            circuits.integrated_inputs,
            fn=case.fn,
            params=case.params,
            x=x,
            corrupted=corrupted,
            at=case.embedding,
        ),
        "hard_concrete": of(circuits.hard_concrete, **learn),
        "straight_through": of(circuits.straight_through, **learn),
        "ugs": of(circuits.ugs, **learn),
    }


def best_of(ranking: Ranking, repeats: int) -> Float[np.ndarray, "repeats sizes"]:
    """Lowest loss of every size among the runs of each repeat; masks that are learned.

    Sets of the k best nodes of every run, and the sets that runs end with.
    """
    runs = ranking.runs
    assert runs is not None
    curves = runs.ranked.copy()
    at = np.arange(len(curves)), runs.keep.sum(1)
    curves[at] = np.minimum(curves[at], runs.losses)
    # runs of one price follow one another
    return curves.reshape(_PRICES, repeats, -1, curves.shape[1]).min((0, 2))


def _reason(name: str, config: Config, case: Case) -> str | None:
    """Why a finder cannot be used."""
    n = case.count
    metric = config.metric or case.metric
    gradients = ("attribution", "integrated", "integrated_inputs", *LEARNED)
    if name in OF_TABLE and n > config.max_exact:
        return (
            f"all subsets of {n} nodes are too many for max_exact = "
            f"{config.max_exact}; choose fewer nodes by num_units or nodes"
        )
    if name in ("backward", "forward", "beam", "swap") and n > _MOST:
        return f"it asks too often for {n} nodes; `eliminate` goes in batches"
    y = case.examples.y
    if name in gradients and metric == "error" and np.asarray(y).dtype.kind != "f":
        return "it needs gradients, which a share of wrong classes does not have"
    if name == "hitting_set" and n > _MOST:
        return f"it is for up to {_MOST} nodes"
    if name == "relevance":
        if "zero" not in config.ablations:
            return "it is for ablations=zero"
        if y is None:
            return "it is of labels, and there are none"
    real = np.asarray(jax.tree.leaves(case.examples.x)[0]).dtype.kind == "f"
    if name in ("relevance", "integrated_inputs") and not real:
        if case.embedding is None:
            return "tokens have no relevance, and cannot be interpolated"
    if name == "integrated_inputs":
        if "resample" not in config.ablations:
            return "it is for ablations=resample"
        if case.units is not None:
            return "it scores all nodes, and some are always kept"
    return None
