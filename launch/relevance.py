r"""Why a network answers as it does: maps by every method, biases, checks.

Of the last level of a lottery run, first seed:
    python launch/relevance.py --run=results/runs/lottery/NAME

Of a run on MNIST, level 12 of seed 3, with the dense network beside it:
    python launch/relevance.py --run=RUN --data_dir=DIR --seed=3 --level=12 --levels=0

Chosen test images, three methods, the evidence for output 7 in all of them:
    python launch/relevance.py --run=RUN --samples=0:5,17 --target=7 \
        --methods=blame_the_bias,composite,integrated_gradients

Leaves a folder inside the run (or below --out): config, metrics.jsonl, the maps and all
numbers of every method, figures and index.html. Started again after a kill, it goes on
with the method it was at.
"""

import functools
from pathlib import Path

import common
from absl import flags

from sparsejax import runs
from sparsejax.experiments import relevance_maps


def main(values) -> None:
    if values.run is None:
        raise ValueError(
            "--run is missing: the folder of a lottery run; python "
            "launch/lottery.py makes one"
        )
    config = common.read(relevance_maps.Config)
    relevance_maps.check(config)
    source = Path(values.run)
    folder = Path(values.out or source / "relevance") / runs.name(config)
    print(f"folder: {folder}")
    if values.dry_run:
        return
    relevance_maps.run(
        config,
        folder,
        source=source,
        data_dir=values.data_dir,
        force=values.force,
        report=functools.partial(print, flush=True),
    )
    print(relevance_maps.summary(folder))


if __name__ == "__main__":
    common.define(relevance_maps.Config(), relevance_maps.CHOICES)
    flags.DEFINE_string("run", None, "folder of a lottery run")
    common.define_run(None, "where to; by default RUN/relevance")
    common.run(main)
