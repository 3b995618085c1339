"""Whole experiments: each a frozen `Config` and one function `run(config, folder)`.

    config = sj.experiments.circle_removal.Config(seeds=(0,))
    records = sj.experiments.circle_removal.run(config, "results/mine")

Each loads when it is first used. `plan(config)` says what a run will do, `summary` what
a finished one found; `runs.read(folder)` reads what it left.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsejax.experiments import cartpole as cartpole
    from sparsejax.experiments import circle_removal as circle_removal
    from sparsejax.experiments import dissect as dissect
    from sparsejax.experiments import features as features
    from sparsejax.experiments import flowgraph as flowgraph
    from sparsejax.experiments import lottery as lottery
    from sparsejax.experiments import node_sweep as node_sweep
    from sparsejax.experiments import prune_order as prune_order
    from sparsejax.experiments import relevance as relevance
    from sparsejax.experiments import right_reasons as right_reasons
    from sparsejax.experiments import spade as spade
    from sparsejax.experiments import subjects as subjects
    from sparsejax.experiments import weights as weights

# What each asks, and how long it takes on two cores of a CPU.
EXPERIMENTS = {
    "lottery": ("Prunes networks by lottery tickets, with controls.",
                "half a minute (digits) to 10 minutes (mnist)"),
    "flowgraph": ("Unfolds a pruned network into an exact graph to explore.",
                  "one minute"),
    "circle_removal": ("Takes a circle classifier apart: all 2^20 node masks.",
                       "3 minutes"),
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
}  # fmt: skip
__all__ = [*EXPERIMENTS, "subjects"]


def __getattr__(name: str) -> Any:
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message) from None


def __dir__() -> list[str]:
    return sorted(["EXPERIMENTS", *__all__])
