"""Whole experiments: each a frozen `Config` and one function `run(config, folder)`.

    config = sj.experiments.circle_removal.Config(seeds=(0,))
    records = sj.experiments.circle_removal.run(config, "results/mine")

Each loads when it is first used. `plan(config)` says what a run will do, `summary` what
a finished one found; `runs.read(folder)` reads what it left.
"""

import importlib
from typing import TYPE_CHECKING

# What each asks, and how long it takes on two cores of a CPU.
EXPERIMENTS = {
    "lottery": ("Prunes networks by lottery tickets, with controls.",
                "half a minute (digits) to 10 minutes (mnist)"),
    "flowgraph": ("Unfolds a pruned network into an exact graph to explore.",
                  "one minute"),
    "circle_removal": ("Takes a circle classifier apart: all 2^20 node masks.",
                       "3 minutes"),
    "circuits": ("Finds circuits by every finder, beside the best there are.",
                 "half a minute (gates) to 12 minutes (trained)"),
    "node_sweep": ("Removes nodes of a network under many masks.",
                   "half a minute to 20 minutes (convnet)"),
    "cartpole": ("Prunes DQN agents on CartPole to a readable graph.", "8 minutes"),
    "prune_order": ("Compares training before and after pruning.", "2 minutes"),
    "relevance": ("Explains a network by every method, with checks.", "2 minutes"),
    "right_reasons": ("Trains networks on their relevance.", "one minute"),
    "spade": ("Prunes a network for single images, and explains these.",
              "one hour"),
    "dissect": ("Labels units of pruned networks by concepts.", "6 minutes"),
    "features": ("Draws what units respond to.", "10 minutes"),
    "weights": ("Shows weights in context, expanded and factorized.", "7 minutes"),
    "reproduce": ("Makes every number of the source documents again.",
                  "8 minutes (--quick) to hours"),
}  # fmt: skip
__all__ = [
    "cartpole",
    "circle_removal",
    "circuits",
    "dissect",
    "features",
    "flowgraph",
    "lottery",
    "node_sweep",
    "prune_order",
    "relevance",
    "reproduce",
    "right_reasons",
    "spade",
    "subjects",
    "weights",
]


# A `__getattr__` that type checkers saw would make any name valid.
if TYPE_CHECKING:
    from sparsejax.experiments import (
        cartpole,
        circle_removal,
        circuits,
        dissect,
        features,
        flowgraph,
        lottery,
        node_sweep,
        prune_order,
        relevance,
        reproduce,
        right_reasons,
        spade,
        subjects,
        weights,
    )
else:

    def __getattr__(name: str):
        if name in __all__:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(["EXPERIMENTS", *__all__])
