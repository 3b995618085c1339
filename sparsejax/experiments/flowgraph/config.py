"""A pruned network as a flow graph: drawings, proofs, source and a page to explore.

The last level of a lottery run, first seed, with exact ranges:
    sparsejax flowgraph --run=results/runs/lottery/NAME --exact

Level 12 of seed 3 of a run on MNIST, and level 14 to compare:
    sparsejax flowgraph --run=RUN --data_dir=DIR --run_seed=3 --level=12 --beside=14

A run leaves a folder inside the lottery run: index.html (counts, ranges, drawings),
graph.html (the page to explore; #out=output_3 shows one output; where it is too large,
a page for each output instead), graph.json, .dot, .graphml, predict.py, predict.c and
kernels.npz. Lottery runs of MLPs and convnets end with one of their last level, without
exact ranges. An interrupted run resumes when started again.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study.config import COUNTS, WHOLE

SUBJECT = ("run", "arm", "run_seed", "level")
CHOICES = {"simplify": ("no", "off", "passthrough", "merge-if-smaller", "merge-all")}
WITHIN = {"num_examples": COUNTS, "time_limit": "(0, inf)", "beside": WHOLE}


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run.

    Attributes:
        num_examples: Number of test inputs shown on the pages.
        simplify: Simplification of the traced graph: "no" (none), "off" (constants
            folded) or, besides, units that are linear over the whole domain shown as
            such ("passthrough") or multiplied out ("merge-if-smaller", "merge-all").
        exact: Exact ranges by integer programming: of every output and, in graphs of at
            most 300 hidden nodes, of every hidden node.
        time_limit: Time limit, in seconds, for each end of an exact range.
        beside: Level of the run whose graph is shown on the same page, to compare.
    """

    num_examples: int = 6
    simplify: str = "no"
    exact: bool = False
    time_limit: float = 10.0
    beside: int | None = None

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
