"""Train first or prune first: three orders of training and pruning, many seeds.

The source's spiral, 2-50-50-1, half of the nodes, at learning rates 0.1 and 0.01:
    python launch/prune_order.py

Single weights instead of nodes:
    python launch/prune_order.py --remove=weights

Whether MNIST says the same, with nodes or with --remove=weights:
    python launch/prune_order.py --dataset=mnist --data_dir=DIR --seeds=0:5

Every run leaves a folder below --out: config, metrics.jsonl, the networks, figures, an
animation (spiral), tables and index.html. Started again after a kill, it goes on where
it was.
"""

import functools
import os
from pathlib import Path

# Networks this small train faster with one thread for each operation.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import common

from sparsejax import runs
from sparsejax.experiments import prune_order


def main(values) -> None:
    config = common.read(prune_order.Config)
    prune_order.check(config)
    folder = Path(values.out) / runs.name(config)
    print(prune_order.plan(config))
    print(f"folder: {folder}")
    if values.dry_run:
        return
    prune_order.run(
        config,
        folder,
        data_dir=values.data_dir,
        force=values.force,
        report=functools.partial(print, flush=True),
    )
    print(prune_order.summary(folder))


if __name__ == "__main__":
    common.define(prune_order.Config(), prune_order.CHOICES)
    common.define_run("results/runs/prune_order")
    common.run(main)
