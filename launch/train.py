"""Train residual networks, and take them through lottery rounds.

ResNet-8 on scenes, drawn here, nine levels down to 0.4% of its weights:
    python launch/train.py

Three seeds, with fine-tuning and random tickets to compare:
    python launch/train.py --seeds=0:3 --arms=rewind,finetune,random --epochs=8

ResNet-20 on CIFAR-10 images (DIR/cifar10/train.zip and test.zip):
    python launch/train.py --dataset=cifar10 --data_dir=DIR --model=resnet20 --augment \
        --train_images=0 --test_images=0 --optimizer=momentum --learning_rate=0.1 \
        --epochs=160 --fraction=0.2 --rounds=20 --rewind_to=2000

ResNet-50 on images of one size (FOLDER/train/CLASS/NAME.jpg, FOLDER/val/...):
    python launch/train.py --dataset=FOLDER --model=resnet50 --augment \
        --schedule=steps --precision=bfloat16 --batch_size=1024 --epochs=90 ...

--rounds=0 trains once. Batches are split over all devices. Leaves a folder below --out:
config, all levels, metrics.jsonl, a figure and index.html. Started again after a kill,
it goes on with the level it was at.
"""

import functools
from pathlib import Path

import common

from sparsejax import runs
from sparsejax.experiments import residual


def main(values) -> None:
    config = common.read(residual.Config)
    residual.check(config)
    folder = Path(values.out) / runs.name(config)
    print(f"folder: {folder}")
    if values.dry_run:
        return
    residual.run(
        config,
        folder,
        data_dir=values.data_dir,
        force=values.force,
        report=functools.partial(print, flush=True),
    )
    print(residual.summary(folder))


if __name__ == "__main__":
    common.define(residual.Config(), residual.CHOICES)
    common.define_run("results/runs/train")
    common.run(main)
