"""A pruned network as a flow graph: drawings, proofs, source and a page to explore.

Of the last level of a lottery run, first seed:
    python launch/flowgraph.py --run=results/runs/lottery_ticket/NAME

Of a run on MNIST, its seed 3 at level 12, without exact ranges:
    python launch/flowgraph.py --run=DIR --data_dir=DIR --seed=3 --level=12 --noexact

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
    config = flowgraph.Config(**common.read(flowgraph.Config))
    source = Path(values.run)
    folder = Path(values.out or source / "flowgraph") / runs.name(config)
    print(f"folder: {folder}")
    network = networks.load(
        source, seed=config.seed, level=config.level, data_dir=values.data_dir
    )
    report = functools.partial(print, flush=True)
    flowgraph.run(config, folder, network, force=values.force, report=report)
    print(flowgraph.summary(folder))


if __name__ == "__main__":
    common.define(flowgraph.Config(), flowgraph.CHOICES)
    flags.DEFINE_string("run", None, "folder of a lottery run")
    flags.DEFINE_string("data_dir", None, "folder of the data set's files")
    flags.DEFINE_string("out", None, "where to; by default RUN/flowgraph")
    flags.DEFINE_bool("force", False, "remove an earlier run of this config first")
    common.run(main)
