"""Pruning ResNet-20 for single images, in CPU seconds an image.

64 variations, a fifth of the weights of every kernel kept; medians of the images after
the first, which compiles. A forward pass of the variations stands beside it, as do the
two parts: Hessians of what 20 kernels read, and surgery.

    python benchmarks/spade.py [--images=9]
"""

import argparse
import os
import statistics
import time
from functools import partial

import jax

import sparsejax as sj
from sparsejax.data import augmentations

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone
VARIATIONS, SHAPE = 64, (32, 32, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=9)
    images = parser.parse_args().images
    model, key = sj.models.resnet(20, 10), jax.random.key(0)
    x = jax.random.uniform(key, (images + 1, *SHAPE))
    params = model.init(key, x[0])
    vary = augmentations.standard(SHAPE)
    forward = jax.jit(jax.vmap(model.apply, (None, 0)))

    def prune(x):
        how = {"key": key, "density": 0.2, "samples": VARIATIONS}
        return sj.prune.spade(model.apply, params, x, **how)

    names = ["variations", "a forward pass of them", "Hessians", "surgery"]
    names += ["`prune.spade`, the whole"]
    spent: dict[str, list[float]] = {name: [] for name in names}
    for image in x:
        batch = augmentations.variations(vary, key, image, VARIATIONS)
        layers = sj.prune.layer_hessians(model.apply, params, batch)
        runs = [
            partial(augmentations.variations, vary, key, image, VARIATIONS),
            partial(forward, params, batch),
            partial(sj.prune.layer_hessians, model.apply, params, batch),
            partial(sj.prune.prune_layers, params, layers, 0.2),
            partial(prune, image),
        ]
        for name, run in zip(names, runs, strict=True):
            began = time.process_time()
            jax.block_until_ready(run())
            spent[name].append(time.process_time() - began)
    print("| part | CPU s an image |\n|---|---|")
    for name, times in spent.items():
        print(f"| {name} | {statistics.median(times[1:]):.3f} |")


if __name__ == "__main__":
    main()
