"""Expanded weights of all units in one call, beside loops of gradients.

Two convolutions, 64 to 96 (3x3) and 96 to 128 (5x5) channels on 15x15; ResNet-20 from
its second and its first stage to the 64 units of a block in its third. The peers take
one gradient for each unit, as is usual: PyTorch by `autograd.grad` with the graph
retained, JAX by a jitted `jax.grad` whose unit is an argument, and by `jax.grad` as it
is; all of the network without its ReLUs. Prints CPU milliseconds of a whole call after
compiling, medians, by turns, on one core; and the largest difference from ours,
relative to the largest weight.

    python benchmarks/expanded_weights.py
"""

import os
import statistics
import time

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402 # pyright: ignore[reportMissingImports]
from jax.ad_checkpoint import checkpoint_name  # noqa: E402

import sparsejax as sj  # noqa: E402
from sparsejax import weights  # noqa: E402
from sparsejax.models import convolve  # noqa: E402

torch.set_num_threads(1)
REPEATS, ENOUGH = 7, 1e4  # no more of what has taken as many milliseconds
rng = np.random.default_rng(0)


def draw(*shape):
    return (rng.normal(size=shape) / np.prod(shape[:-1]) ** 0.5).astype("f4")


first, second = draw(3, 3, 64, 96), draw(5, 5, 96, 128)
KERNELS, SIZE = (first, second), (15, 15, 64)


def network(params, x):
    h = jax.nn.relu(convolve(x, params[0], 1, 1))
    return checkpoint_name(convolve(h, params[1], 1, 2), "high")


def linear(params, x):
    """The same without its ReLUs."""
    return convolve(convolve(x, params[0], 1, 1), params[1], 1, 2)


def loop_of_jax(fn, params, size, units, position, compiled):
    def run(params, x, unit):
        return fn(params, x)[(*position, unit)]

    gradient = jax.grad(run, argnums=1)
    gradient = jax.jit(gradient) if compiled else gradient
    x = jnp.zeros(size, jnp.float32)
    return lambda: np.stack([np.asarray(gradient(params, x, u)) for u in range(units)])


def loop_of_torch():
    kernels = [torch.from_numpy(k.transpose(3, 2, 0, 1).copy()) for k in KERNELS]
    x = torch.zeros(1, 64, 15, 15, requires_grad=True)

    def run():
        h = torch.nn.functional.conv2d(x, kernels[0], padding=1)
        out = torch.nn.functional.conv2d(h, kernels[1], padding=2)[0, :, 7, 7]
        found = [torch.autograd.grad(o, x, retain_graph=True)[0][0] for o in out]
        return np.stack([g.numpy().transpose(1, 2, 0) for g in found])

    return run


def resnet_without_relus(model, source, target):
    """From one activation to another; the ReLUs of the library are switched off."""

    def run(params, h):
        relu, jax.nn.relu = jax.nn.relu, lambda x: x
        try:
            edited = sj.edit(model.apply, {source: lambda _: h})
            x = jnp.zeros((32, 32, 3), jnp.float32)
            return sj.activations(edited, [target])(params, x)[1][target]
        finally:
            jax.nn.relu = relu

    return run


def measure(variants):
    """Medians of CPU milliseconds, and what every variant returned last."""
    times = {name: [] for name in variants}
    found = {}
    for repeat in range(REPEATS + 1):  # the first compiles
        for name, run in variants.items():
            if sum(times[name]) > ENOUGH:
                continue
            start = time.process_time()
            found[name] = run()
            took = 1e3 * (time.process_time() - start)
            if repeat:
                times[name].append(took)
    return {name: statistics.median(took) for name, took in times.items()}, found


def full(expanded, size):
    """Expanded weights on the whole map, units first."""
    whole = np.zeros((*size, expanded.weights.shape[-1]), np.float32)
    sides = zip(expanded.corner, expanded.weights.shape, strict=False)
    whole[tuple(slice(a, a + n) for a, n in sides)] = expanded.weights
    return np.moveaxis(whole, -1, 0)


def table(title, variants, size):
    times, found = measure(variants)
    ours = full(found["expand"], size)
    print(f"\n{title}\n\n| variant | CPU ms | it / ours | difference |")
    print("|---|---|---|---|")
    for name, took in times.items():
        other = found[name]
        other = full(other, size) if isinstance(other, weights.Expanded) else other
        apart = np.abs(other - ours).max() / np.abs(ours).max()
        ratio = took / times["expand"]
        print(f"| {name} | {took:.1f} | {ratio:.1f} | {apart:.0e} |")


def expanding(fn, params, source, target, size, **more):
    def run():
        return weights.expand(fn, params, source, target, size=size, **more)

    return lambda: jax.block_until_ready(run())


def main():
    params, place = jax.tree.map(jnp.asarray, KERNELS), (7, 7)
    ends = network, params, None, "high", SIZE
    variants = {
        "expand": expanding(*ends),
        "expand, split": expanding(*ends, split=True),
        "loop of jax.grad, jitted": loop_of_jax(linear, params, SIZE, 128, place, True),
        "loop of jax.grad": loop_of_jax(linear, params, SIZE, 128, place, False),
        "loop of autograd.grad, PyTorch": loop_of_torch(),
    }
    table("Two convolutions, 128 units", variants, SIZE)
    model = sj.models.resnet(20)
    params = model.init(jax.random.key(0), jnp.zeros((32, 32, 3)))
    for source, size in (("layer2_2", (16, 16, 32)), ("layer1_2", (32, 32, 16))):
        ends = source, "layer3_0"
        ours = model.apply, params, *ends, (32, 32, 3)
        plain = resnet_without_relus(model, *ends), params, size, 64, (3, 3)
        variants = {
            "expand": expanding(*ours),
            "expand, split": expanding(*ours, split=True),
            "loop of jax.grad, jitted": loop_of_jax(*plain, True),
        }
        table(f"ResNet-20, {source} to layer3_0, 64 units", variants, size)


if __name__ == "__main__":
    main()
