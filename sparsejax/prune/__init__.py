"""Pruning: what to remove, how much of it where, and what to train afterwards.

Scores say how much each weight matters, `remove` takes the lowest away in exact
numbers, `lottery` repeats it between trainings, `compact` folds what no longer does
anything. `remove_nodes` removes whole units and lets biases take over their mean; `obs`
removes weights of a layer and lets the others make up for them on given inputs, and
`spade` does so in all layers, for one sample; `tune_density` says how much where.
"""

from sparsejax.prune._amounts import erk as erk
from sparsejax.prune._amounts import remaining as remaining
from sparsejax.prune._compact import compact as compact
from sparsejax.prune._compact import idle as idle
from sparsejax.prune._hessian import Hessian as Hessian
from sparsejax.prune._hessian import accumulate as accumulate
from sparsejax.prune._hessian import hessian as hessian
from sparsejax.prune._hessian import patches as patches
from sparsejax.prune._kernels import layers as layers
from sparsejax.prune._lottery import Ticket as Ticket
from sparsejax.prune._lottery import barrier as barrier
from sparsejax.prune._lottery import lottery as lottery
from sparsejax.prune._lottery import shuffle as shuffle
from sparsejax.prune._nodes import remove_nodes as remove_nodes
from sparsejax.prune._obs import Pruned as Pruned
from sparsejax.prune._obs import obs as obs
from sparsejax.prune._remove import remove as remove
from sparsejax.prune._scores import activation_std as activation_std
from sparsejax.prune._scores import magnitude as magnitude
from sparsejax.prune._scores import random as random
from sparsejax.prune._scores import snip as snip
from sparsejax.prune._spade import Trace as Trace
from sparsejax.prune._spade import prune_layers as prune_layers
from sparsejax.prune._spade import spade as spade
from sparsejax.prune._tuning import Tuning as Tuning
from sparsejax.prune._tuning import tune_density as tune_density
