"""One exact global mask update of 25.5 million weights (the size of ResNet-50).

`prune.remove` on the host and inside jit, beside PyTorch's pruning and a sort in JAX;
20% removed. Prints CPU seconds, medians of five, and the error of the count.

    python benchmarks/mask_update.py
"""

import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.nn.utils import prune as torch_prune  # pyright: ignore

import sparsejax as sj

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core for everyone
SIZE, REPEATS = 25_502_912, 5
scores = np.abs(np.random.default_rng(0).normal(size=SIZE).astype(np.float32))
wanted = sj.prune.kept_count(SIZE, 0.2)


def host(scores):
    return sj.prune.remove({"w": scores}, {"w": ones}, 0.2, scope="global")["w"]


@jax.jit
def traced(scores, ones):
    return sj.prune.remove({"w": scores}, {"w": ones}, 0.2, scope="global")["w"]


@jax.jit
def sort(scores):
    order = jnp.sort(scores)
    return scores > order[SIZE - wanted - 1]


def torch_l1(scores):
    method = torch_prune.L1Unstructured(amount=SIZE - wanted)
    return method.compute_mask(scores, torch.ones_like(scores))


on_device, ones = jnp.asarray(scores), jnp.ones(SIZE)
VARIANTS = {
    "sparsejax, host": lambda: host(on_device),
    "sparsejax, inside jit": lambda: traced(on_device, ones),
    "jnp.sort, threshold": lambda: sort(on_device),
    "torch L1Unstructured": lambda: torch_l1(torch.from_numpy(scores)),
}


def main():
    torch.set_num_threads(1)
    print("| variant | CPU s | kept - wanted |")
    print("|---|---|---|")
    for name, update in VARIANTS.items():
        kept = int(np.asarray(update()).sum(dtype=np.int64))
        spent = []
        for _ in range(REPEATS):
            began = time.process_time()
            jax.block_until_ready(update())
            spent.append(time.process_time() - began)
        print(f"| {name} | {statistics.median(spent):.2f} | {kept - wanted:+d} |")


if __name__ == "__main__":
    main()
