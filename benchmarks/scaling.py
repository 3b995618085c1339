"""Work of one device when 1, 2, 4 and 8 share a sweep and a lottery.

Virtual devices of one processor, so that no times are taken: what is counted are the
floating point operations of the programs that one device is given, by XLA's own
analysis, times how often it runs them. A share of 1/8 on eight devices is perfect.

    python benchmarks/scaling.py
"""

import os

COUNT = "--xla_force_host_platform_device_count=8"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {COUNT}"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from jax.core import Tracer  # noqa: E402

import sparsejax as sj  # noqa: E402
from sparsejax.interpret import _compiled  # noqa: E402

MASKS, BATCH, SEEDS, STEPS = 2048, 16, 8, 20
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 784)).astype(np.float32)
Y = RNG.integers(0, 10, 200)
MODEL = sj.models.mlp((100, 50), 10)
APPLY = sj.masked(MODEL.apply)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0), X[:1])
ONES = sj.masks.ones(MODEL.apply, PARAMS, X[:1])


def sweep():
    """A sweep of 2,048 masks, MLP 784-100-50-10 on 200 images"""

    def loss(mask):
        nodes = ONES.nodes | {"hidden_0": mask}
        return sj.train.cross_entropy(APPLY(PARAMS, ONES._replace(nodes=nodes), X), Y)

    def make(index):
        key = jax.random.fold_in(jax.random.key(1), index)
        return sj.masks.bernoulli(key, jnp.ones(100), 0.5)

    sj.sweep.evaluate(loss, make, count=MASKS, batch_size=BATCH, progress=False)


def lottery():
    """A lottery of 8 seeds, 3 rounds of 20 steps of 50 images"""
    fit(SEEDS)


def alone():
    """A lottery of one network, its batches split"""
    fit(None)


def fit(seeds):
    def stack(tree):
        return jax.tree.map(lambda a: jnp.stack([a] * seeds), tree) if seeds else tree

    key = jax.random.key(2)
    key = jax.random.split(key, seeds) if seeds else key
    optimizer, masks = optax.sgd(0.1), stack(ONES)
    state = sj.train.init(stack(PARAMS), optimizer, key)

    def train(state, mask, stop):
        return sj.train.fit(
            APPLY, None, masks._replace(weights=mask), (X, Y), optimizer=optimizer,
            batch_size=50, key=key, state=state, steps=stop or STEPS,
        )[0]  # fmt: skip

    sj.prune.lottery(train, state, masks.weights, rounds=3, fraction=0.2)


def times(name: str, args) -> int:
    """How often a program goes through its loop, of which XLA counts one step."""
    if name != "epoch":
        return 1  # a batch of masks in a call, the start of a training
    *_, block, stop = args
    return int(stop - block.start)


def operations(case, devices: int) -> float:
    """Floating point operations of one device."""
    plain, counts = _compiled.Compiled.__call__, []

    def counted(self, *args):
        if not any(isinstance(a, Tracer) for a in jax.tree.leaves(args)):
            cost = self.lower(*args).compile().cost_analysis() or {}
            counts.append(cost.get("flops", 0) * times(self._name, args))
        return plain(self, *args)

    _compiled.Compiled.__call__ = counted
    mesh = jax.make_mesh((devices,), ("all",), devices=jax.devices()[:devices])
    with jax.set_mesh(mesh):
        case()
    _compiled.Compiled.__call__ = plain
    return sum(counts)


def main():
    devices = 1, 2, 4, 8
    print(f"| million operations of a device | {' | '.join(map(str, devices))} |")
    print("|---|" + "---|" * len(devices), flush=True)
    for case in (sweep, lottery, alone):
        counts = [operations(case, n) for n in devices]
        cells = [f"{n / 1e6:,.0f} ({n / counts[0]:.3f})" for n in counts]
        print(f"| {case.__doc__} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
