"""Peak memory of sweeps of 10^5, 10^6 and 10^7 tiny masks, each in its own process.

Masks of eight nodes of a network 2-8-1, made by a function or stacked in a NumPy array;
every result is a float. The first sweeps, of 1,000 masks, say what Python, JAX and a
compiled program take.

    python benchmarks/sweep_memory.py
"""

import resource
import subprocess
import sys
import time

COUNTS = 1_000, 100_000, 1_000_000, 10_000_000


def sweep(kind: str, count: int) -> None:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from sparsejax import masks
    from sparsejax import sweep as sweep_

    first, second, x = (
        jax.random.normal(jax.random.key(seed), shape)
        for seed, shape in enumerate([(2, 8), (8,), (4, 2)])
    )

    def loss(mask):
        return ((jax.nn.relu(x @ first) * mask) @ second).sum()

    def make(index):
        return masks.bernoulli(jax.random.fold_in(jax.random.key(3), index), ONES, 0.5)

    ONES = jnp.ones(8)
    held = np.ones((count, 8), np.float32) if kind == "stacked" else None
    start = time.perf_counter()
    values = sweep_.evaluate(
        loss, make if held is None else held, count=count, progress=False
    )
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    given, results = (0 if a is None else a.nbytes / 1e6 for a in (held, values))
    cells = f"{kind} | {peak:.0f} | {given:.0f} | {results:.0f} | {seconds:.1f}"
    print(f"| {count:,} | {cells} |", flush=True)


def main():
    print("| masks | | peak MB | of these masks | results | s |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for kind in ("made", "stacked"):
        for count in COUNTS:
            command = [sys.executable, __file__, kind, str(count)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else sweep(sys.argv[1], int(sys.argv[2]))
