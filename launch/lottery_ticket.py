"""Lottery tickets on images: train, prune, rewind and retrain, with controls.

Digits (embedded, half a minute):
    python launch/lottery_ticket.py

MNIST at 2% of its weights, five seeds:
    python launch/lottery_ticket.py --dataset=mnist --data_dir=DIR --final_count=539

The first layer left alone:
    python launch/lottery_ticket.py --dataset=mnist --data_dir=DIR --exclude=dense_0

Every run leaves a folder below --out: config, metrics.jsonl, masks and weights of every
level, figures and index.html. Started again after a kill, it goes on where it was.
"""

import functools
import os
from pathlib import Path

# Networks this small train faster with one thread for each operation.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import common

from sparsejax import runs
from sparsejax.experiments import lottery_config, lottery_ticket


def main(values) -> None:
    config = common.read(lottery_config.Config)
    rounds = lottery_ticket.plan(config)
    folder = Path(values.out) / runs.name(config)
    print(f"{len(rounds.counts)} levels, weights kept: {rounds.counts}")
    print(f"folder: {folder}")
    if values.dry_run:
        return
    lottery_ticket.run(
        config,
        folder,
        data_dir=values.data_dir,
        force=values.force,
        report=functools.partial(print, flush=True),
    )
    print(lottery_ticket.summary(folder))


if __name__ == "__main__":
    common.define(lottery_config.Config(), lottery_config.CHOICES)
    common.define_run("results/runs/lottery_ticket")
    common.run(main)
