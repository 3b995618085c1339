r"""Does pruning a network for one sample make explanations of it better?

ResNet-20 on CIFAR-10 images with planted patches, three seeds with controls:
    python launch/spade.py --data_dir=DIR

One seed, fewer images:
    python launch/spade.py --data_dir=DIR --seeds=0 --count=10 --calibration=8

DIR holds cifar10/train.zip, cifar10/test.zip (class folders of images) and
resnet_cifar10/resnet20_cifar10.safetensors, or give --checkpoint. Leaves a folder below
--out: config, metrics.jsonl, networks, all measures, figures, a table and index.html.
Started again after a kill, it goes on with the seed it was at.
"""

import functools
from pathlib import Path

import common

from sparsejax import runs
from sparsejax.experiments import spade


def main(values) -> None:
    config = common.read(spade.Config)
    spade.check(config)
    folder = Path(values.out) / runs.name(config)
    print(f"folder: {folder}")
    if values.dry_run:
        return
    spade.run(
        config,
        folder,
        data_dir=values.data_dir,
        force=values.force,
        report=functools.partial(print, flush=True),
    )
    print(spade.summary(folder))


if __name__ == "__main__":
    common.define(spade.Config(), spade.CHOICES)
    common.define_run("results/runs/spade")
    common.run(main)
