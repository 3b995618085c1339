r"""Lottery tickets: train, prune, rewind and train again, with controls.

Digits (embedded, half a minute):
    python launch/lottery.py

MNIST at 2% of its weights, five seeds:
    python launch/lottery.py --dataset=mnist --data_dir=DIR --final_count=539

The first layer left alone:
    python launch/lottery.py --dataset=mnist --data_dir=DIR --exclude=dense_0

ResNet-8 on scenes, drawn here, nine levels down to 0.4% of its weights, three seeds,
with fine-tuning and random tickets to compare:
    python launch/lottery.py --dataset=scenes --seeds=0:3 --epochs=8 \
        --arms=rewind,finetune,random_layerwise

ResNet-20 on CIFAR-10 (DIR/cifar10/train.zip and test.zip):
    python launch/lottery.py --dataset=cifar10 --data_dir=DIR --model=resnet20 \
        --augment --optimizer=momentum --learning_rate=0.1 --epochs=160 \
        --fraction=0.2 --rounds=20 --rewind_to=2000

ResNet-50 on a folder of images (FOLDER/train/CLASS/NAME.jpg, FOLDER/val/...):
    python launch/lottery.py --dataset=FOLDER --model=resnet50 --image_size=224 \
        --augment --optimizer=momentum --learning_rate=0.4 --schedule=steps \
        --precision=bfloat16 --batch_size=1024 --epochs=90

--rounds=0 trains once. Batches of residual networks are split over all devices. Every
run leaves a folder below --out: config, metrics.jsonl, masks and weights of every level,
figures and index.html. Started again after a kill, it goes on where it was.
"""

import functools
import os
import sys
from pathlib import Path

# Networks as small as MLPs train faster with one thread for each operation.
if not any("resnet" in word or "scenes" in word for word in sys.argv):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import common

from sparsejax import runs
from sparsejax.experiments import lottery


def main(values) -> None:
    config = common.read(lottery.Config)
    for line in lottery.plan(config, data_dir=values.data_dir):
        print(line)
    folder = Path(values.out) / runs.name(config)
    print(f"folder: {folder}")
    if values.dry_run:
        return
    lottery.run(
        config,
        folder,
        data_dir=values.data_dir,
        force=values.force,
        log=functools.partial(print, flush=True),
    )
    print(lottery.summary(folder))


if __name__ == "__main__":
    common.define(lottery.Config(), lottery.CHOICES)
    common.define_run("results/runs/lottery")
    common.run(main)
