"""A Flax convnet as users write it: gradients on a CPU, in loops and one at a time.

Three 3x3 convolutions of 16, 32 and 32 units, each max-pooled, batch 64 of 28x28.
A training step by PyTorch, by JAX, a jitted step at a time and inside of a loop, and by
`train.fit` with masks; then integrated gradients (50 steps, 32 images), and values with
gradients of 64 masks on 200 images, beside jitted gradients one at a time. Prints CPU
milliseconds, the best of three by turns, on one core.

    python benchmarks/own_convnet.py
"""

import os
import time
from typing import Any

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import torch  # noqa: E402 # pyright: ignore[reportMissingImports]
from jax.ad_checkpoint import checkpoint_name  # noqa: E402

import sparsejax as sj  # noqa: E402

torch.set_num_threads(1)
WIDTHS, BATCH, STEPS, REPEATS, PLACES, MASKS = (16, 32, 32), 64, 50, 3, 50, 64
OPTIMIZER, KEY = optax.sgd(0.01), jax.random.key(0)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        for i, width in enumerate(WIDTHS):
            x = checkpoint_name(nn.relu(nn.Conv(width, (3, 3))(x)), f"hidden_{i}")
            x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(10)(x.reshape(len(x), -1))


NETWORK: Any = Net().apply  # of either kind of result, says Flax


def torch_steps(x, y):
    layers, channels = [], 1
    for width in WIDTHS:
        layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU()]
        layers, channels = [*layers, torch.nn.MaxPool2d(2)], width
    net = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(288, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    images, labels = torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(y).long()

    def steps():
        for i in range(0, len(y), BATCH):
            optimizer.zero_grad()
            logits = net(images[i : i + BATCH])
            torch.nn.functional.cross_entropy(logits, labels[i : i + BATCH]).backward()
            optimizer.step()

    return steps


def training(x, y):
    """Steps through all images, once."""
    params = Net().init(KEY, x[:1])
    apply, ones = sj.masked(NETWORK), sj.masks.ones(NETWORK, params, x[:1])

    def loss(params, x, y):
        return sj.train.cross_entropy(NETWORK(params, x), y)

    def step(params, batch):
        grads = jax.grad(loss)(params, *batch)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), None

    batches = x.reshape(-1, BATCH, *x.shape[1:]), y.reshape(-1, BATCH)
    one = jax.jit(lambda params, batch: step(params, batch)[0])
    loop = jax.jit(lambda params: jax.lax.scan(step, params, batches)[0])

    def by_step():
        now = params
        for batch in zip(*batches, strict=True):
            now = one(now, batch)
        return now

    def fit():
        state, _ = sj.train.fit(
            apply, params, ones, (x, y), optimizer=OPTIMIZER, batch_size=BATCH,
            epochs=1, key=KEY,
        )  # fmt: skip
        return state.params

    return {
        "PyTorch eager": torch_steps(x, y),
        "JAX, a jitted step at a time": by_step,
        "JAX, in a loop": lambda: loop(params),
        "`train.fit`, with masks": fit,
    }


def attributions(x, y):
    params = Net().init(KEY, x[:1])

    def score(params, x):
        return NETWORK(params, x)[:, 0].sum()

    slope, images = jax.jit(jax.grad(score, 1)), x[:32]
    fn = jax.jit(
        lambda x: sj.relevance.integrated_gradients(
            NETWORK, params, x, target=lambda y: y[:, 0].sum(), steps=PLACES
        )
    )

    def one_by_one():
        return [slope(params, t * images) for t in np.linspace(0, 1, PLACES)]

    return {
        "jitted gradients, one at a time": one_by_one,
        "`relevance.integrated_gradients`": lambda: fn(images),
    }


def sweeps(x, y):
    params = Net().init(KEY, x[:1])
    apply, ones = sj.masked(NETWORK), sj.masks.ones(NETWORK, params, x[:1])
    nodes = jax.device_get(sj.masks.bernoulli(KEY, ones.nodes, 0.5, (MASKS,)))

    def loss(nodes):
        masks = ones._replace(nodes=nodes)
        return sj.train.cross_entropy(apply(params, masks, x[:200]), y[:200])

    both = jax.value_and_grad(loss)
    one = jax.jit(both)

    def one_by_one():
        return [one({k: m[i] for k, m in nodes.items()}) for i in range(MASKS)]

    return {
        "jitted, one at a time": one_by_one,
        "`sweep.evaluate`": lambda: sj.sweep.evaluate(both, nodes, progress=False),
    }


def table(title, runs, count):
    for run in runs.values():
        jax.block_until_ready(run())  # compiling
    times = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, run in runs.items():
            start = time.process_time()
            jax.block_until_ready(run())
            times[name].append(1e3 * (time.process_time() - start) / count)
    least = min([*times.values()][-1])
    print(f"\n| {title} | CPU ms | / ours |\n|---|---|---|")
    for name, own in times.items():
        print(f"| {name} | {min(own):.1f} | {min(own) / least:.1f} |", flush=True)


def main():
    rng = np.random.default_rng(0)
    x = rng.random((BATCH * STEPS, 28, 28, 1), np.float32)
    y = rng.integers(0, 10, len(x))
    x, y = jnp.asarray(x), jnp.asarray(y)
    table("a training step", training(np.asarray(x), np.asarray(y)), STEPS)
    table("a step of integrated gradients", attributions(x, y), PLACES)
    table("a mask", sweeps(x, y), MASKS)


if __name__ == "__main__":
    main()
