"""Feature visualisation: pictures of what every unit of a network responds to.

ResNet-20 on CIFAR-10, the last block of each stage and the classes:
    python launch/features.py --data_dir=DIR

Every channel of one layer, four pictures of each, held apart:
    python launch/features.py --data_dir=DIR --nodes=layer3_2 --count=4

A network of a lottery run, level 8:
    python launch/features.py --run=results/runs/lottery/NAME --level=8

DIR holds resnet_cifar10/resnet20_cifar10.safetensors; any other file goes by --model
and --checkpoint. Leaves a folder below --out: pictures as arrays and sheets,
metrics.jsonl and index.html. Started again after a kill, it goes on.
"""

import functools
from pathlib import Path

import common

from sparsejax import runs
from sparsejax.experiments import features


def main(values) -> None:
    config = common.read(features.Config)
    features.check(config)
    folder = Path(values.out) / runs.name(config)
    print(f"folder: {folder}")
    if values.dry_run:
        return
    network = features.subject(config, data_dir=values.data_dir)
    report = functools.partial(print, flush=True)
    features.run(config, folder, network, force=values.force, report=report)
    print(features.summary(folder))


if __name__ == "__main__":
    common.define(features.Config(), features.CHOICES)
    common.define_run("results/runs/features")
    common.run(main)
