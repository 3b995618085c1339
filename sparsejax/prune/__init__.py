"""Pruning: what to remove, how much of it where, and what to train afterwards.

Scores say how much each weight matters, `remove` takes the lowest away in exact
numbers, `lottery` repeats it between trainings, `compact` makes any function smaller by
the units that do nothing. `remove_nodes` removes whole units and lets biases take over
their mean; `obs` removes weights of a layer and lets the others make up for them on
given inputs, and `spade` does so in all layers, for one sample; `tune_density` says how
much where.
"""

from sparsejax.prune._amounts import erk, kept_count
from sparsejax.prune._compact import Compact, Idle, compact, idle
from sparsejax.prune._hessian import Hessian, accumulate, hessian, patches
from sparsejax.prune._kernels import layer_hessians
from sparsejax.prune._lottery import Ticket, barrier, lottery, shuffle
from sparsejax.prune._nodes import remove_nodes
from sparsejax.prune._obs import Pruned, obs
from sparsejax.prune._remove import remove
from sparsejax.prune._scores import activation_std, magnitude, random, snip
from sparsejax.prune._spade import prune_layers, spade
from sparsejax.prune._tuning import Tuning, tune_density

__all__ = [
    "Compact",
    "Hessian",
    "Idle",
    "Pruned",
    "Ticket",
    "Tuning",
    "accumulate",
    "activation_std",
    "barrier",
    "compact",
    "erk",
    "hessian",
    "idle",
    "layer_hessians",
    "lottery",
    "magnitude",
    "obs",
    "patches",
    "prune_layers",
    "random",
    "kept_count",
    "remove",
    "remove_nodes",
    "shuffle",
    "snip",
    "spade",
    "tune_density",
]


def __dir__() -> list[str]:
    return list(__all__)
