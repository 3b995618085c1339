"""What follows of the losses of all subsets: gates, terms, circuits that are known."""

from typing import Any

import numpy as np

from sparsejax import circuits, hypercube
from sparsejax.circuits import Ranking
from sparsejax.experiments.circuits import losses as losses_
from sparsejax.experiments.circuits.cases import Case

SAME = 1e-6  # of losses
_TERMS = 8
_SETS = 200  # of those that are kept
_GATE = 0.5  # index from which on two nodes are called a gate


def known(case: Case, ablation: str, table) -> dict[str, Any]:
    """Whether the circuits without an error are those that the network was made of."""
    if case.circuits is None or ablation != "zero" or table is None:
        return {}
    fn, sizes = circuits.flat(losses_.error(case), case.own)
    errors = hypercube.evaluate(fn, sizes, progress=False)
    minimal = {frozenset(members(m)) for m in hypercube.minimal(errors, 1e-5).tolist()}
    return {"known": minimal == set(case.circuits)}


def gates(table: np.ndarray) -> list[dict[str, Any]]:
    """Pairs of nodes that are an AND or an OR and matter, the largest first."""
    pairs, span = hypercube.gates(table), abs(table[0] - table[-1])
    gates_ = []
    for i, j in zip(*np.triu_indices(len(pairs.on), 1)):
        for kind, index, gain in (
            ("and", pairs.off[i, j], pairs.gain_off[i, j]),
            ("or", -pairs.on[i, j], pairs.gain_on[i, j]),
        ):
            if index >= _GATE and gain >= span / 10:
                gates_.append({"kind": kind, "nodes": [int(i), int(j)],
                              "index": float(index), "gain": float(gain)})  # fmt: skip
    return sorted(gates_, key=lambda gate: -gate["gain"])[:_SETS]


def terms(table: np.ndarray) -> list[dict[str, Any]]:
    """The largest Harsanyi terms: what sets of nodes save beyond their parts."""
    values = hypercube.moebius(-table)
    values[0] = 0  # of no nodes
    order = np.argsort(-np.abs(values), kind="stable")[:_TERMS]
    return [
        {"nodes": members(int(m)), "value": float(values[m])}
        for m in order
        if abs(values[m]) > SAME
    ]


def area(table: np.ndarray, best: Ranking) -> float | None:
    """The largest area under the faithfulness of circuits of all sizes."""
    if abs(table[0] - table[-1]) < SAME:
        return None
    return hypercube.cpr(table, [number(row) for row in best.keep])


def number(keep: np.ndarray) -> int:
    """The number of a set of nodes in the table."""
    return int((1 << np.flatnonzero(keep)).sum())


def members(subset: int) -> list[int]:
    """The nodes of a set with that number."""
    return [i for i in range(subset.bit_length()) if subset >> i & 1]
