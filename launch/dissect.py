"""Does pruning change what units stand for? Dissects the levels of a lottery run.

Networks of launch/lottery.py, on scenes they have not seen:
    python launch/lottery.py --seeds=0:3 --arms=rewind,finetune,random
    python launch/dissect.py --run=results/runs/train/NAME

The quick form, one seed and shorter trainings:
    python launch/lottery.py --epochs=3 --train_images=2000
    python launch/dissect.py --run=results/runs/train/NAME --images=500

On labelled images in the Broden format:
    python launch/dissect.py --run=RUN --broden=FOLDER --size=224

Leaves a folder inside the run (or below --out): scores of all units, metrics.jsonl,
units.csv, figures, a table and index.html. Started again after a kill, it goes on.
"""

import dataclasses
import functools
from pathlib import Path

import common

from sparsejax import runs
from sparsejax.experiments import dissect


def main(values) -> None:
    config = common.read(dissect.Config)
    dissect.check(config)
    out = Path(values.out or Path(config.run) / "dissect")
    folder = out / runs.name(dataclasses.replace(config, run=""))
    print(f"folder: {folder}")
    if values.dry_run:
        return
    report = functools.partial(print, flush=True)
    dissect.run(config, folder, force=values.force, report=report)
    print(dissect.summary(folder))


if __name__ == "__main__":
    common.define(dissect.Config(), dissect.CHOICES)
    common.define_run(None, "where to; by default RUN/dissect", data=False)
    common.run(main)
