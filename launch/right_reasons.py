"""Right for the right reasons: digits on textures, trained on where relevance lies.

Six losses, three networks each, in about a minute on one core:
    python launch/right_reasons.py

Digits that move by a pixel on weaker textures, which is harder:
    python launch/right_reasons.py --jitter=1 --contrast=0.5

One penalty at more strengths, next to none:
    python launch/right_reasons.py --losses=none,squared --strengths=0.01,0.1,1,10,100

Every run leaves a folder below --out: config, metrics.jsonl, networks, figures, a table
and index.html. Started again after a kill, it goes on with the loss it was at.
"""

import functools
import os
from pathlib import Path

# Networks this small train faster with one thread for each operation.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import common

from sparsejax import runs
from sparsejax.experiments import right_reasons


def main(values) -> None:
    config = common.read(right_reasons.Config)
    right_reasons.check(config)
    folder = Path(values.out) / runs.name(config)
    print(right_reasons.plan(config))
    print(f"folder: {folder}")
    if values.dry_run:
        return
    right_reasons.run(
        config,
        folder,
        force=values.force,
        report=functools.partial(print, flush=True),
    )
    print(right_reasons.summary(folder))


if __name__ == "__main__":
    common.define(right_reasons.Config(), {})
    common.define_run("results/runs/right_reasons", data=False)
    common.run(main)
