"""A circle classifier of twenty nodes under all 2^20 of its node masks.

The source's tables and figures, sampled as there and exactly beside it, ten networks:
    python launch/circle_removal.py

The circle that its text describes, of half the square:
    python launch/circle_removal.py --variant=half

A quick look:
    python launch/circle_removal.py --nodes=12 --seeds=0:3

Every run leaves a folder below --out: config, metrics.jsonl, networks and losses of all
subsets, figures, index.html and nodes.html, in which a network is taken apart by hand.
Started again after a kill, it goes on with the network it was at.
"""

import functools
from pathlib import Path

import common

from sparsejax import runs
from sparsejax.experiments import circle_removal


def main(values) -> None:
    config = common.read(circle_removal.Config)
    circle_removal.check(config)
    folder = Path(values.out) / runs.name(config)
    seeds = ", ".join(map(str, config.seeds))
    print(f"seeds {seeds}: {1 << config.nodes:,} subsets each")
    print(f"folder: {folder}")
    if values.dry_run:
        return
    circle_removal.run(
        config,
        folder,
        force=values.force,
        report=functools.partial(print, flush=True),
    )
    print(circle_removal.summary(folder))


if __name__ == "__main__":
    common.define(circle_removal.Config(), circle_removal.CHOICES)
    common.define_run("results/runs/circle_removal", data=False)
    common.run(main)
