"""Circuits: the smallest part of a network that does what the whole one does.

A circuit is a set of nodes (heads, units, edges) that are kept while all others are
ablated: replaced by zero, a mean, another input's value. `task` makes the loss of such
a set, a finder orders sets by it, `report` says how far to believe the best.

    nodes = masks.ones(fn, params, x).nodes
    loss = task(fn, params, x, ablate=means(fn, params, x, nodes))
    ranking = eliminate(loss, nodes)
    print(report(loss, ranking, nodes=nodes, key=key))

Every finder takes `(loss, nodes)` and returns a `Ranking`, a set of every size with its
true loss. Nodes are counted one group after the other, in the order in which `nodes`
has them, which is that of depth. A low loss alone proves nothing: networks that never
learned a task have circuits for it. Up to 20 nodes or so all subsets can be evaluated
(`hypercube.evaluate(*flat(loss, nodes))`), and nothing need be believed.
"""

from sparsejax.circuits._ablations import means, optimal, resampled
from sparsejax.circuits._acdc import acdc
from sparsejax.circuits._compared import Alternatives
from sparsejax.circuits._controls import controls, nonsense
from sparsejax.circuits._edges import Edges, edges
from sparsejax.circuits._eliminate import eliminate
from sparsejax.circuits._gradients import (
    attribution,
    integrated,
    integrated_inputs,
    single,
)
from sparsejax.circuits._hitting import HittingSet, hitting_set, passing
from sparsejax.circuits._learned import hard_concrete, straight_through, ugs
from sparsejax.circuits._nodes import flat, subset
from sparsejax.circuits._ranking import Ranking, Runs, by_scores
from sparsejax.circuits._recovery import Recovery, auroc, recovery
from sparsejax.circuits._report import Report, report
from sparsejax.circuits._search import beam, exact, from_table, greedy, swap
from sparsejax.circuits._supersets import Supersets
from sparsejax.circuits._task import Task, task
from sparsejax.circuits._verdict import Control

__all__ = [
    "Alternatives",
    "Control",
    "Edges",
    "HittingSet",
    "Ranking",
    "Recovery",
    "Report",
    "Runs",
    "Supersets",
    "Task",
    "acdc",
    "attribution",
    "auroc",
    "beam",
    "by_scores",
    "controls",
    "edges",
    "eliminate",
    "exact",
    "flat",
    "from_table",
    "greedy",
    "hard_concrete",
    "hitting_set",
    "integrated",
    "integrated_inputs",
    "means",
    "nonsense",
    "optimal",
    "passing",
    "recovery",
    "report",
    "resampled",
    "single",
    "straight_through",
    "subset",
    "swap",
    "task",
    "ugs",
]


def __dir__() -> list[str]:
    return list(__all__)
