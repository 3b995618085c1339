"""CartPole agents, pruned until they can be read.

Sixteen DQN agents; lottery rounds and pruning without retraining, as long as the mean
return in gymnasium is the highest there is:
    python launch/cartpole_dqn.py

The source's environment, or a small network:
    python launch/cartpole_dqn.py --environment=CartPole-v0
    python launch/cartpole_dqn.py --widths=8 --seeds=0:4

Every run leaves a folder below --out: config, metrics.jsonl, the agents, figures, an
episode as a GIF, the policy in words, graph.html (the smallest agent, and the pole
beside it) and index.html. Started again after a kill, it goes on where it was.
"""

import functools
import os
from pathlib import Path

# Networks this small train faster with one thread for each operation.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import common

from sparsejax import runs
from sparsejax.experiments import cartpole_dqn


def main(values) -> None:
    config = common.read(cartpole_dqn.Config)
    cartpole_dqn.check(config)
    folder = Path(values.out) / runs.name(config)
    print(cartpole_dqn.plan(config))
    print(f"folder: {folder}")
    if values.dry_run:
        return
    cartpole_dqn.run(
        config,
        folder,
        force=values.force,
        report=functools.partial(print, flush=True),
    )
    print(cartpole_dqn.summary(folder))


if __name__ == "__main__":
    common.define(cartpole_dqn.Config(), cartpole_dqn.CHOICES)
    common.define_run("results/runs/cartpole_dqn", data=False)
    common.run(main)
