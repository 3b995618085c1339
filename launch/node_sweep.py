r"""Node masks on a network: what is left when units are removed, and which to keep.

Handwritten digits (embedded), an MLP of 32 and 32 hidden units, some seconds:
    python launch/node_sweep.py

All subsets of one layer, exactly:
    python launch/node_sweep.py --nodes=hidden_1 --widths=32,16 --distribution=subsets

Exactly half of the units, and exactly 16 of them:
    python launch/node_sweep.py --distribution=fixed_size --sizes=0.5,16

Channels of a convolutional network on MNIST (minutes, on few cores many):
    python launch/node_sweep.py --dataset=mnist --data_dir=DIR --model=convnet \
        --examples=200 --count=500

The last network of a lottery run:
    python launch/node_sweep.py --run=results/runs/lottery/NAME

Every run leaves a folder below --out (or inside the lottery run): config, network,
metrics.jsonl, masks with loss, accuracy and gradient, scores of units, figures and
index.html. Started again after a kill, it goes on with the chunk of masks it was at.
"""

import functools
import sys
from pathlib import Path

import common
from absl import flags

from sparsejax import runs
from sparsejax.experiments import node_sweep, node_sweep_config

_OUT = "results/runs/node_sweep"


def main(values) -> None:
    config = common.read(node_sweep.Config)
    source = None if values.run is None else Path(values.run)
    plan = node_sweep.plan(config, source, values.data_dir)
    inside = _OUT if source is None else source / "node_sweep"
    folder = Path(values.out or inside) / runs.name(config)
    layers = ", ".join(f"{name} ({n})" for name, n in plan.layers.items())
    print(f"{node_sweep_config.switched(plan.units, plan.total)}; layers {layers}")
    for sweep in plan.sweeps:
        print(f"{sweep.label}: {sweep.count:,} masks")
    print(f"folder: {folder}")
    if values.dry_run:
        return
    node_sweep.run(
        config,
        folder,
        source=source,
        data_dir=values.data_dir,
        force=values.force,
        report=functools.partial(print, flush=True),
        progress=sys.stderr.isatty(),
    )
    print(node_sweep.summary(folder))


if __name__ == "__main__":
    common.define(node_sweep.Config(), node_sweep.CHOICES)
    flags.DEFINE_string("run", None, "folder of a lottery run, to sweep its network")
    common.define_run(None, f"where to; by default {_OUT} or RUN/node_sweep")
    common.run(main)
