"""Weights made visible: pages of units, and whether sparse weights are easier to read.

Levels of a run of residual networks, with its random tickets:
    python launch/weights.py --run=results/runs/train/NAME

A convnet's lottery tickets, and random tickets to compare:
    python launch/lottery.py --dataset=mnist --data_dir=DIR --model=convnet \
        --fraction=0.4 --rounds=6
    (the same with --score=random --allow_empty)
    python launch/weights.py --run=results/runs/lottery/NAME \
        --control=results/runs/lottery/NAME2

ResNet-20 on CIFAR-10, two units of one layer:
    python launch/weights.py --data_dir=DIR --nodes=layer3_1 --units=3,17

DIR holds resnet_cifar10/resnet20_cifar10.safetensors, or MNIST; any other file goes by
--model and --checkpoint. Leaves a folder below --out: metrics.jsonl, a figure,
index.html and, for networks of three densities, a page for every layer and unit.
Started again after a kill, it goes on.
"""

import functools
from pathlib import Path

import common

from sparsejax import runs
from sparsejax.experiments import weights


def main(values) -> None:
    config = common.read(weights.Config)
    weights.check(config)
    folder = Path(values.out) / runs.name(config)
    print(f"folder: {folder}")
    if values.dry_run:
        return
    subject = weights.subject(config, data_dir=values.data_dir)
    report = functools.partial(print, flush=True)
    weights.run(config, folder, subject, force=values.force, report=report)
    print(weights.summary(folder))


if __name__ == "__main__":
    common.define(weights.Config(), weights.CHOICES)
    common.define_run("results/runs/weights")
    common.run(main)
