"""A training step of the convnet (three 3x3 of 6 channels, batch 64) on a CPU, by form.

XLA's convolution, three forms as products, and `models.convolve`, which chooses; a step
at a time, inside a loop, and four networks under vmap inside a loop; PyTorch beside
them. Then one convolution with both gradients inside a loop, by form and shape, and
ResNet-20 by patches and as it is. Prints CPU milliseconds a step and network, medians
of three by turns.

    python benchmarks/convolution.py
"""

import functools
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
from sparsejax import interpret
from sparsejax.interpret import _convolution as convolution

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone
BATCH, STEPS, REPEATS, NETWORKS = 64, 10, 3, 4
LAYER_STEPS = 2  # XLA's convolutions of ResNet-20 take half a second each in a loop
modules: Any = inspect.getmodule(sj.models.convnet)  # whose `_convolve` we replace
rng = np.random.default_rng(0)
x = rng.random((BATCH, 28, 28, 1), np.float32)
y = rng.integers(0, 10, BATCH).astype(np.int32)
# size, channels, units, padding: of the convnet, then of ResNet-20
LAYERS = [
    (28, 1, 6, 0),
    (26, 6, 6, 0),
    (32, 16, 16, 1),
    (16, 32, 32, 1),
    (8, 64, 64, 1),
]


FORMS: dict[str, Any] = {
    "lax convolution": functools.partial(convolution._by_xla, stride=1),
    "patches": convolution._by_patches,
    "rows": convolution._by_rows,
    "tiles": convolution._by_tiles,
    "`models.convolve`": sj.models.convolve,
}


def variants(convolve):
    """The three ways to train, with one form of the convolution."""
    modules._convolve = as_flax(convolve)
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


def layer(convolve, size, channels, units, padding):
    """A loop over one convolution and both of its gradients."""
    images = jnp.asarray(rng.random((BATCH, size, size, channels), np.float32))
    kernel = jnp.asarray(rng.normal(size=(3, 3, channels, units)), jnp.float32)

    def padded(images, kernel):
        around = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
        return convolve(jnp.pad(images, around), kernel)

    @jax.jit
    def loop(images, kernel):
        def body(i, pair):
            y, back = jax.vjp(padded, *pair)
            return jax.tree.map(lambda p, g: p - 1e-6 * g, pair, back(y))

        return jax.lax.fori_loop(0, LAYER_STEPS, body, (images, kernel))

    return lambda: jax.block_until_ready(loop(images, kernel)), 1


def torch_layer(size, channels, units, padding):
    images = torch.rand(BATCH, channels, size, size, requires_grad=True)
    kernel = torch.rand(units, channels, 3, 3, requires_grad=True)

    def steps():
        for _ in range(LAYER_STEPS):
            y = torch.nn.functional.conv2d(images, kernel, padding=padding)
            torch.autograd.grad(y, (images, kernel), y.detach())

    return steps, 1


def resnet(convolve):
    """ResNet-20: the logits, and a gradient alone and inside a loop."""
    model = sj.models.resnet(20)
    images = jnp.asarray(rng.random((BATCH, 32, 32, 3), np.float32))
    params = model.init(jax.random.key(0), images[:1])

    def loss(params):
        return sj.train.cross_entropy(model.apply(params, images), y)

    def loop(params):
        def body(i, p):
            return jax.tree.map(lambda p, g: p - 1e-6 * g, p, jax.grad(loss)(p))

        return jax.lax.fori_loop(0, LAYER_STEPS, body, params)

    runs = {
        "logits": (jax.jit(lambda p: model.apply(p, images)), 1),
        "gradient": (jax.jit(jax.grad(loss)), 1),
        "gradient in a loop": (jax.jit(loop), LAYER_STEPS),
    }
    interpret.convolution = convolve  # which `models.convolve` calls
    for run, _ in runs.values():
        jax.block_until_ready(run(params))  # tracing happens here

    def call(run):
        jax.block_until_ready(run(params))

    return {way: (functools.partial(call, run), n) for way, (run, n) in runs.items()}


def measure(runs, steps=STEPS):
    """Medians of all of them, by turns; they have run once."""
    spent = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, (run, networks) in runs.items():
            began = time.process_time()
            run()
            milliseconds = 1e3 * (time.process_time() - began)
            spent[name].append(milliseconds / steps / networks)
    return {name: statistics.median(values) for name, values in spent.items()}


def table(first, columns, rows, times):
    print(f"| {first} | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for row in rows:
        cells = [times.get((row, column)) for column in columns]
        shown = [f"{cell:.2f}" if cell is not None else "" for cell in cells]
        print(f"| {row} | " + " | ".join(shown) + " |")


def main():
    runs = {}
    for form, convolve in FORMS.items():
        for way, run in variants(convolve).items():
            runs[form, way] = run
            modules._convolve = as_flax(convolve)
            run[0]()  # tracing happens at the first call
    ways = list(dict.fromkeys(way for _, way in runs))
    runs["PyTorch eager", ways[0]] = torch_step(), 1
    runs["PyTorch eager", ways[0]][0]()
    rows = list(dict.fromkeys(form for form, _ in runs))
    table("CPU ms a step and network", ways, rows, measure(runs))
    print()
    runs, columns = {}, [*FORMS, "PyTorch eager"]
    for shape in LAYERS:
        size, channels, units, _ = shape
        name = f"{size}x{size}, {channels} to {units}"
        for form, convolve in FORMS.items():
            runs[name, form] = layer(convolve, *shape)
        runs[name, columns[-1]] = torch_layer(*shape)
        for column in columns:
            runs[name, column][0]()
    rows = list(dict.fromkeys(name for name, _ in runs))
    times = measure(runs, LAYER_STEPS)
    table("CPU ms of a layer, forward and back", columns, rows, times)
    print()
    ways = {"patches": convolution._by_patches, columns[-2]: convolution.convolution}
    forms = {form: resnet(convolve) for form, convolve in ways.items()}
    runs = {(f, way): run for f, ways in forms.items() for way, run in ways.items()}
    ways = list(dict.fromkeys(way for _, way in runs))
    table("CPU ms, ResNet-20", ways, [*forms], measure(runs, 1))


def as_flax(convolve):
    """A form as Flax calls it."""

    def call(x, kernel, strides, padding, **kwargs):
        del strides, padding, kwargs  # always 1 and "VALID"
        return convolve(x, kernel)

    return call


if __name__ == "__main__":
    main()
