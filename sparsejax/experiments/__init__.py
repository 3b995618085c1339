"""Whole experiments: each a frozen `Config` and one function `run(config, folder)`."""

from sparsejax.experiments import cartpole_dqn as cartpole_dqn
from sparsejax.experiments import circle_removal as circle_removal
from sparsejax.experiments import flowgraph as flowgraph
from sparsejax.experiments import lottery_ticket as lottery_ticket
from sparsejax.experiments import networks as networks
from sparsejax.experiments import node_sweep as node_sweep
from sparsejax.experiments import prune_order as prune_order
from sparsejax.experiments import relevance_maps as relevance_maps
from sparsejax.experiments import right_reasons as right_reasons
