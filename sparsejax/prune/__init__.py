"""Pruning: what to remove, how much of it where, and what to train afterwards.

Scores say how much each weight matters, `remove` takes the lowest away in exact
numbers, `lottery` repeats it between trainings, `compact` folds what no longer does
anything. `remove_nodes` removes whole units and lets biases take over their mean; `obs`
removes weights of a layer and lets the others make up for them on given inputs, and
`spade` does so in all layers, for one sample; `tune_density` says how much where.
"""

from sparsejax.prune.amounts import erk as erk
from sparsejax.prune.amounts import kept_count as kept_count
from sparsejax.prune.compact import compact as compact
from sparsejax.prune.compact import idle as idle
from sparsejax.prune.hessian import Hessian as Hessian
from sparsejax.prune.hessian import accumulate as accumulate
from sparsejax.prune.hessian import hessian as hessian
from sparsejax.prune.hessian import patches as patches
from sparsejax.prune.kernels import layer_hessians as layer_hessians
from sparsejax.prune.lottery import Ticket as Ticket
from sparsejax.prune.lottery import barrier as barrier
from sparsejax.prune.lottery import lottery as lottery
from sparsejax.prune.lottery import shuffle as shuffle
from sparsejax.prune.nodes import remove_nodes as remove_nodes
from sparsejax.prune.obs import Pruned as Pruned
from sparsejax.prune.obs import obs as obs
from sparsejax.prune.remove import remove as remove
from sparsejax.prune.scores import activation_std as activation_std
from sparsejax.prune.scores import magnitude as magnitude
from sparsejax.prune.scores import random as random
from sparsejax.prune.scores import snip as snip
from sparsejax.prune.spade import prune_layers as prune_layers
from sparsejax.prune.spade import spade as spade
from sparsejax.prune.tuning import Tuning as Tuning
from sparsejax.prune.tuning import tune_density as tune_density
