"""What this device does in a second, and the share of what it can do at all.

Each case runs once to compile and once to be timed. What an item (a mask, a step, an
image) takes alone is counted by XLA: floating point operations, and bytes as if nothing
stayed on the chip. Two shares make the roofline: of the operations that a large product
does in that time, and of the bytes that a large copy moves, both measured first. They
are above 1 where items share operations (all subsets) or bytes never leave the chip.
Products are at JAX's default precision, TF32 on recent GPUs.

    python benchmarks/device.py [--share=1] [--only=subsets]
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import sparsejax as sj
from sparsejax.rl import dqn

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


class Case(NamedTuple):
    """A case: what runs, how many items it does, and the program of one of them."""

    run: Callable[[], Any]
    items: int
    one: Callable
    args: tuple


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def circle(nodes):
    """A masked last hidden layer of `nodes`, 1,000 points, and the loss of a mask."""
    hidden, kernel = np.maximum(normal(1000, nodes), 0), normal(nodes, 2)
    labels = RNG.integers(0, 2, 1000).astype(np.int32)

    def loss(mask):
        return sj.train.cross_entropy((hidden * mask) @ kernel, labels)

    return (hidden, kernel, np.zeros(2, np.float32), labels), loss


def subsets(nodes, share):
    """All 2^20 and 2^26 subsets of a last hidden layer, 1,000 points"""
    nodes += round(np.log2(share))
    layer, loss = circle(nodes)
    run = partial(sj.hypercube.evaluate_readout, *layer)
    return Case(run, 1 << nodes, loss, (jnp.ones(nodes),))


def generic(share):
    """Random masks of 20 nodes, 1,000 points, through `sweep.evaluate`"""
    _, loss = circle(20)

    def make(index):
        return sj.masks.bernoulli(jax.random.fold_in(KEY, index), jnp.ones(20), 0.5)

    count = int(10**7 * share)
    run = partial(sj.sweep.evaluate, loss, make, count=count, progress=False)
    return Case(run, count, loss, (jnp.ones(20),))


def fitting(model, x, y, seeds, batch, steps):
    """Steps of training, and one step of one network."""
    optimizer = optax.sgd(1e-8, momentum=0.9)  # nothing is learned, nor diverges
    apply = sj.masked(model.apply)
    params = jax.jit(model.init)(KEY, x[:1])
    masks = sj.masks.ones(model.apply, params, x[:1])._replace(nodes={})

    def stacked(tree):
        return jax.tree.map(lambda a: jnp.stack([a] * seeds), tree) if seeds else tree

    key = jax.random.split(KEY, seeds) if seeds else KEY
    state = sj.train.init(stacked(params), optimizer, key)
    masks_ = stacked(masks)

    def train(state, weights, stop):
        return sj.train.fit(
            apply, None, masks_._replace(weights=weights), (x, y), optimizer=optimizer,
            batch_size=batch, key=key, state=state, steps=stop or steps,
        )[0]  # fmt: skip

    def loss(params, x, y):
        return sj.train.cross_entropy(apply(params, masks, x), y)

    one = jax.value_and_grad(loss)
    return train, state, masks_.weights, one, (params, x[:batch], y[:batch])


def lottery(share):
    """Steps of a lottery of 64 seeds, MLP 784-32-32-10, batches of 64"""
    seeds, rounds, steps = max(1, int(64 * share)), 3, 400
    x, y = normal(8192, 784), RNG.integers(0, 10, 8192)
    model = sj.models.mlp((32, 32), 10)
    train, state, mask, one, args = fitting(model, x, y, seeds, 64, steps)

    def run():
        found = sj.prune.lottery(train, state, mask, rounds=rounds, fraction=0.2)
        return found[-1].trained.params

    return Case(run, seeds * (rounds + 1) * steps, one, args)


def resnet50(share):
    """Images of masked training steps of ResNet-50, 224x224, batches of 64"""
    batch, steps = max(1, int(64 * share)), 4
    x, y = normal(batch, 224, 224, 3), RNG.integers(0, 1000, batch)
    train, state, mask, one, args = fitting(
        sj.models.resnet(50), x, y, None, batch, steps
    )
    single = args[0], x[:1], y[:1]
    return Case(lambda: train(state, mask, None).params, batch * steps, one, single)


def residual():
    model = sj.models.resnet(20)
    params = jax.jit(model.init)(KEY, normal(1, 32, 32, 3))
    return model.apply, params


def relevance(share):
    """Images explained by relevance, ResNet-20"""
    fn, params = residual()
    x, count = normal(256, 32, 32, 3), max(1, int(2048 * share))

    def one(x):
        return sj.relevance.explain(fn, params, x, target=0).input

    batch = jax.jit(jax.vmap(one))
    parts = [x[: min(256, count - i)] for i in range(0, count, 256)]
    return Case(lambda: [batch(part) for part in parts], count, one, (x[0],))


def pictures(share):
    """Steps of feature visualisation of 64 channels, ResNet-20, 32x32"""
    fn, params = residual()
    steps, units = 64, max(1, int(64 * share))

    def run():
        return sj.features.render(
            fn, params, "layer3_2", np.arange(units), key=KEY, size=(32, 32, 3),
            steps=steps, progress=False,
        ).images  # fmt: skip

    def one(x):
        return jax.value_and_grad(lambda x: fn(params, x[None]).sum())(x)

    return Case(run, units * steps, one, (normal(32, 32, 3),))


def agents(share):
    """Steps of play of 1,024 DQN agents on CartPole, each with half an update"""
    config = dataclasses.replace(dqn.Config(), steps=10_240, evaluations=1)
    seeds = max(1, int(1024 * share))
    keys = jax.random.split(KEY, seeds)
    q, params = dqn.values(config), dqn.init(config, KEY)

    def one(params, seen):
        return jax.grad(lambda p: q(p, seen).sum())(params)

    def run():
        return dqn.train(config, keys)

    seen = normal(config.batch_size, 4)
    return Case(run, seeds * config.steps, one, (params, seen))


CASES = {
    "subsets of 20": partial(subsets, 20),
    "subsets of 26": partial(subsets, 26),
    "masks": generic,
    "lottery": lottery,
    "relevance": relevance,
    "agents": agents,
    "pictures": pictures,
    "resnet50": resnet50,
}


def timed(run) -> float:
    jax.block_until_ready(run())
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def peaks() -> tuple[float, float]:
    """Operations and bytes a second, of a product of 4096 and of a copy of 1 GB."""
    side, size = 4096, 1 << 28
    a, b = jnp.ones((side, side)), jnp.ones(size)
    product, copy = jax.jit(lambda a: a @ a), jax.jit(lambda b: b + 1)
    speed = 2 * side**3 / min(timed(lambda: product(a)) for _ in range(3))
    return speed, 8 * size / min(timed(lambda: copy(b)) for _ in range(3))


def main():
    parser = argparse.ArgumentParser(description="Speeds of this device")
    parser.add_argument("--share", type=float, help="of the work, by default 1, and "
                        "1/64 on CPUs")  # fmt: skip
    parser.add_argument("--only", default="", help="cases whose names start so")
    flags = parser.parse_args()
    device = jax.devices()[0]
    share = flags.share or (1 / 64 if device.platform == "cpu" else 1)
    speed, width = peaks()
    print(f"{device.device_kind}, jax {jax.__version__}, share of the work {share:g}:")
    print(f"a product {speed / 1e9:,.0f} GFLOP/s, a copy {width / 1e9:,.0f} GB/s\n")
    print("| case | items | s | items a second | FLOP an item | bytes | of a product | "
          "of a copy |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name, make in CASES.items():
        if not name.startswith(flags.only):
            continue
        case = make(share)
        seconds = timed(case.run)
        cost = jax.jit(case.one).lower(*case.args).compile().cost_analysis() or {}
        flops, moved = cost.get("flops", 0), cost.get("bytes accessed", 0)
        each = seconds / case.items
        print(f"| {name} | {case.items:,} | {seconds:.2f} | "
              f"{1 / each:,.0f} | {flops:,.0f} | {moved:,.0f} | "
              f"{flops / speed / each:.2g} | {moved / width / each:.2g} |",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
