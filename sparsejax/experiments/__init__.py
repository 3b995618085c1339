"""Whole experiments: each a frozen `Config` and one function `run(config, folder)`."""

from sparsejax.experiments import flowgraph as flowgraph
from sparsejax.experiments import lottery_ticket as lottery_ticket
from sparsejax.experiments import networks as networks
