"""A training step of 784-32-32-10 with masks, batch 64, side by side.

(a) eager PyTorch with `torch.nn.utils.prune` masks, batches by indexing or by a
DataLoader; (b) a jitted JAX step called from Python; (c) `sparsejax.train.fit`, one
network; (d) the same with 16 networks together. Every variant takes the same number of
steps on the same data, by turns, on one thread. Prints CPU time a step and network,
medians of the repeats, and ratios.

With `--seeds` 1, 4, 16 and 64 networks instead, all in one program and in the groups
that `fit` makes of them, of the MLP and of a convnet of 6, 6 and 6 channels (SGD).

    python benchmarks/training_step.py [--seeds]
"""

import os
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch  # pyright: ignore[reportMissingImports]
from torch.nn.utils import prune as torch_prune  # pyright: ignore

import sparsejax as sj
from sparsejax.train import _groups as groups

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone
BATCH, STEPS, REPEATS, SEEDS = 64, 937, 7, 16
SIZES = (784, 32, 32, 10)
rng = np.random.default_rng(0)
x = rng.random((BATCH * STEPS, SIZES[0]), np.float32)
y = rng.integers(0, 10, BATCH * STEPS).astype(np.int32)


def torch_masked(loader=False):
    torch.set_num_threads(1)
    layers = []
    for n, m in zip(SIZES, SIZES[1:], strict=False):
        layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    for layer in list(model)[::2]:
        torch_prune.l1_unstructured(layer, "weight", amount=0.8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    images, labels = torch.from_numpy(x), torch.from_numpy(y).long()
    pairs = torch.utils.data.TensorDataset(images, labels)
    loaded = torch.utils.data.DataLoader(pairs, batch_size=BATCH, shuffle=True)

    def indexed():
        order = torch.randperm(len(images))
        for i in range(STEPS):
            rows = order[i * BATCH : (i + 1) * BATCH]
            yield images[rows], labels[rows]

    def epoch():
        for batch, target in loaded if loader else indexed():
            loss = torch.nn.functional.cross_entropy(model(batch), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


model = sj.models.mlp(SIZES[1:-1], SIZES[-1])
apply = sj.masked(model.apply)
optimizer = optax.adam(1e-3)


def start(key, model=model, shape=SIZES[:1]):
    params = model.init(key, jnp.zeros(shape))
    ones = sj.masks.ones(model.apply, params, jnp.zeros(shape)).weights
    weights = sj.prune.remove(sj.prune.magnitude(params), ones, 0.8)
    return params, sj.masks.Masks(weights, {})


def jax_step_by_step():
    params, masks = start(jax.random.key(0))
    opt_state = optimizer.init(params)

    @jax.jit
    def step(params, opt_state, images, labels):
        def loss(params):
            return sj.train.cross_entropy(apply(params, masks, images), labels)

        grads = jax.grad(loss)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    carry = [params, opt_state]

    def epoch():
        order = rng.permutation(len(x))
        for i in range(STEPS):
            rows = order[i * BATCH : (i + 1) * BATCH]
            carry[:] = step(*carry, x[rows], y[rows])
        jax.block_until_ready(carry)

    return epoch


def stacked(one, seeds):
    """Parameters and masks of networks that start alike, and their keys; or of one."""
    keys = jax.random.split(jax.random.key(1), seeds)
    if seeds == 1:
        return *one, keys[0]
    shape = (seeds,)
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape + leaf.shape), one)
    return *many, keys


def fit(seeds):
    params, masks, key = stacked(start(jax.random.key(0)), seeds)
    data = jnp.asarray(x), jnp.asarray(y)
    state: list[Any] = [None]

    def epoch():
        done = 0 if state[0] is None else int(jnp.max(state[0].step))
        state[0], _ = sj.train.fit(
            apply,
            params,
            masks,
            data,
            optimizer=optimizer,
            batch_size=BATCH,
            key=key,
            data_key=jax.random.key(2),
            steps=done + STEPS,
            state=state[0],
        )
        jax.block_until_ready(state[0].params)

    return epoch


def together(model, shape, optimizer, seeds, steps):
    """A call that trains stacked networks from their start, or one."""
    apply = sj.masked(model.apply)  # made anew, so that it is compiled anew
    params, masks, key = stacked(start(jax.random.key(0), model, shape), seeds)
    images = x[: BATCH * steps].reshape(-1, *shape)
    data = jnp.asarray(images), jnp.asarray(y[: BATCH * steps])

    def run():
        state, _ = sj.train.fit(
            apply,
            params,
            masks,
            data,
            optimizer=optimizer,
            batch_size=BATCH,
            key=key,
            data_key=jax.random.key(2),
            steps=steps,
        )
        jax.block_until_ready(state.params)

    run()
    return run


def many_seeds(repeats=3):
    """A table of networks together, in one program and in groups."""
    cache, image = groups._CACHE, (28, 28, 1)
    momentum, small = optax.sgd(0.01, momentum=0.9), sj.models.convnet()
    kinds = {
        "MLP": (model, SIZES[:1], optimizer, 100),
        "convnet": (small, image, momentum, 4),
    }
    print("| network | together | CPU µs a step and network, in one | in groups |")
    print("|---|---|---|---|")
    for name, (net, shape, rule, steps) in kinds.items():
        for seeds in (1, 4, 16, 64):
            groups._CACHE = 2**60
            runs = {"one": together(net, shape, rule, seeds, steps)}
            groups._CACHE = cache
            runs["groups"] = together(net, shape, rule, seeds, steps)
            times = {way: [] for way in runs}
            for _ in range(repeats):
                for way, run in runs.items():
                    began = time.process_time()
                    for _ in range(max(1, 4 // seeds)):
                        run()
                    times[way].append(time.process_time() - began)
            taken = max(1, 4 // seeds) * steps * seeds
            shown = [1e6 * statistics.median(t) / taken for t in times.values()]
            print(f"| {name} | {seeds} | {shown[0]:.0f} | {shown[1]:.0f} |", flush=True)


def main():
    if "--seeds" in sys.argv:
        return many_seeds()
    variants = {
        "(a) PyTorch eager, prune masks": (torch_masked(), 1),
        "(a) the same with a DataLoader": (torch_masked(loader=True), 1),
        "(b) JAX, jitted step": (jax_step_by_step(), 1),
        "(c) sparsejax, 1 network": (fit(1), 1),
        f"(d) sparsejax, {SEEDS} networks": (fit(SEEDS), SEEDS),
    }
    times = {name: [] for name in variants}
    for epoch, _ in variants.values():  # compile and warm up
        epoch()
    for _ in range(REPEATS):
        for name, (epoch, networks) in variants.items():
            began = time.process_time()
            epoch()
            spent = time.process_time() - began
            times[name].append(1e6 * spent / STEPS / networks)
    median = {name: statistics.median(values) for name, values in times.items()}
    a, _, b, c, _ = median.values()
    print("| variant | CPU µs a step and network | (a) / it | (b) / it | (c) / it |")
    print("|---|---|---|---|---|")
    for name, value in median.items():
        print(f"| {name} | {value:.0f} | {a / value:.1f} | {b / value:.2f} | ", end="")
        print(f"{c / value:.2f} |")


if __name__ == "__main__":
    main()
