"""A pruned network as a flow graph: drawings, proofs, source and a page to explore.

Of the last level of a lottery run, first seed:
    python launch/flowgraph.py --run=results/runs/lottery/NAME

Of a run on MNIST, level 12 of seed 3, with level 14 beside it:
    python launch/flowgraph.py --run=RUN --data_dir=DIR --seed=3 --level=12 --beside=14

Leaves a folder inside the run (or below --out): index.html (counts, ranges, drawings),
graph.html (the page to explore), graph.json, .dot, .graphml, predict.py, predict.c and
kernels.npz. Started again after a kill, it goes on with the outputs that are missing.
"""

import functools
from pathlib import Path

import common
from absl import flags

from sparsejax import runs
from sparsejax.experiments import flowgraph, networks


def main(values) -> None:
    if values.run is None:
        raise ValueError("--run is missing: the folder of a lottery run")
    config = common.read(flowgraph.Config)
    flowgraph.check(config)
    source = Path(values.run)
    load = functools.partial(
        networks.load, source, seed=config.seed, data_dir=values.data_dir
    )
    network = load(level=config.level)
    other = None if config.beside is None else load(level=config.beside)
    folder = Path(values.out or source / "flowgraph") / runs.name(config)
    print(f"folder: {folder}")
    if values.dry_run:
        return
    report = functools.partial(print, flush=True)
    options = {"other": other, "force": values.force, "report": report}
    flowgraph.run(config, folder, network, **options)
    print(flowgraph.summary(folder))


if __name__ == "__main__":
    common.define(flowgraph.Config(), flowgraph.CHOICES)
    flags.DEFINE_string("run", None, "folder of a lottery run")
    common.define_run(None, "where to; by default RUN/flowgraph")
    common.run(main)
