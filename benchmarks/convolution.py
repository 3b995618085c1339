"""A training step of the convnet (three 3x3 of 6 channels, batch 64) on a CPU, by form.

XLA's convolution and the dot product over patches that `models.convnet` uses there; a
step at a time, inside a loop, and four networks under vmap inside a loop; PyTorch
beside them. Prints CPU milliseconds a step and network, medians of three.

    python benchmarks/convolution.py
"""

import inspect
import os
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

import sparsejax as sj

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone
BATCH, STEPS, REPEATS, NETWORKS = 64, 10, 3, 4
modules: Any = inspect.getmodule(sj.models.convnet)  # whose `_convolve` we replace
rng = np.random.default_rng(0)
x = rng.random((BATCH, 28, 28, 1), np.float32)
y = rng.integers(0, 10, BATCH).astype(np.int32)


def lax_convolve(x, kernel, strides, padding, **kwargs):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **kwargs)


def variants(convolve):
    """The three ways to train, with one form of the convolution."""
    modules._convolve = convolve
    model = modules.convnet()
    params = model.init(jax.random.key(0), x)

    def loss(params, x):
        return sj.train.cross_entropy(model.apply(params, x), y)

    def step(params, x):
        grads = jax.grad(loss)(params, x)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads)

    def loop(params, x):
        # the images change from step to step, as they do in training
        def body(i, p):
            return step(p, jnp.roll(x, i, axis=0))

        return jax.lax.fori_loop(0, STEPS, body, params)

    one, inside = jax.jit(step), jax.jit(loop)
    many = jax.jit(jax.vmap(loop, (0, None)))
    stacked = jax.tree.map(lambda p: jnp.stack([p] * NETWORKS), params)
    images = jnp.asarray(x)

    def by_step():
        now = params
        for _ in range(STEPS):
            now = one(now, images)
        jax.block_until_ready(now)

    return {
        "jitted step": (by_step, 1),
        "in a loop": (lambda: jax.block_until_ready(inside(params, images)), 1),
        f"{NETWORKS} under vmap in a loop": (
            lambda: jax.block_until_ready(many(stacked, images)),
            NETWORKS,
        ),
    }


def torch_step():
    torch.set_num_threads(1)
    layers = []
    for channels in (1, 6, 6):
        layers += [torch.nn.Conv2d(channels, 6, 3), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(2904, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    labels = torch.from_numpy(y).long()

    def steps():
        for _ in range(STEPS):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()

    return steps


def measure(run, networks):
    run()
    spent = []
    for _ in range(REPEATS):
        began = time.process_time()
        run()
        spent.append(1e3 * (time.process_time() - began) / STEPS / networks)
    return statistics.median(spent)


def main():
    patches = modules._convolve
    tables = {"lax convolution": lax_convolve, "patches": patches}
    rows = {name: variants(form) for name, form in tables.items()}
    ways = list(rows["patches"])
    print("| CPU ms a step and network | " + " | ".join(ways) + " |")
    print("|---" * (len(ways) + 1) + "|")
    for name, row in rows.items():
        modules._convolve = tables[name]  # tracing happens at the first call
        times = [f"{measure(*row[way]):.1f}" for way in ways]
        print(f"| {name} | " + " | ".join(times) + " |")
    print(f"| PyTorch eager | {measure(torch_step(), 1):.1f} | | |")


if __name__ == "__main__":
    main()
