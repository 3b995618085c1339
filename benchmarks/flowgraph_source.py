"""A pruned network as compiled C and as Python, against the jitted dense function.

784-32-32-10 with 539 weights (2%). Microseconds for one sample, CPU time and wall time,
medians of the repeats, by turns, on one core: C (-O2, a loop over 10,000 inputs in C),
C called from Python for one input, the jitted dense function for one input and for a
batch of 2000, and pure Python.

    python benchmarks/flowgraph_source.py [--run=FOLDER]

FOLDER: of a run of launch/lottery.py, whose last networks are taken instead.
"""

import argparse
import ctypes
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import flowgraph

SIZES, COUNTS = (784, 32, 32, 10), (320, 150, 69)
ROWS, BATCH, REPEATS = 10_000, 2_000, 9


def weights(run: Path | None = None):
    """Kernels and biases of a run's last network, or made up and always the same."""
    if run is not None:
        from sparsejax.experiments import lottery

        params, _ = lottery.network(lottery.read(run))
        layers = [params[f"dense_{i}"] for i in range(len(params))]
        return tuple([np.asarray(layer[leaf]) for layer in layers]
                     for leaf in ("kernel", "bias"))  # fmt: skip
    rng = np.random.default_rng(0)
    kernels = []
    for n, m, count in zip(SIZES, SIZES[1:], COUNTS, strict=False):
        # few units have many weights, as in a trained network
        liking = np.outer(rng.gamma(1.0, size=n), rng.gamma(1.0, size=m)).ravel()
        kept = rng.choice(n * m, count, replace=False, p=liking / liking.sum())
        kernel = np.zeros(n * m, np.float32)
        kernel[kept] = rng.normal(size=count)
        kernels.append(kernel.reshape(n, m))
    return kernels, [rng.normal(size=m).astype(np.float32) / 10 for m in SIZES[1:]]


def function(kernels, biases):
    def fn(x):
        for i, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
            x = x @ kernel + bias
            x = jax.nn.relu(x) if i < len(kernels) - 1 else x
        return x

    return fn


def graph(kernels, biases) -> flowgraph.Graph:
    fn = function(kernels, biases)
    return flowgraph.trace(fn, jnp.zeros(len(kernels[0])), image=(28, 28))


def compiled(source: str, folder: Path) -> ctypes.CDLL:
    (folder / "predict.c").write_text(source)
    began = time.perf_counter()
    command = ["cc", "-std=c99", "-O2", "-shared", "-fPIC", "predict.c"]
    subprocess.run([*command, "-o", "predict.so", "-lm"], cwd=folder, check=True)
    print(f"C: {len(source):,} bytes, compiled in {time.perf_counter() - began:.2f} s")
    return ctypes.CDLL(str(folder / "predict.so"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path)
    kernels, biases = weights(parser.parse_args().run)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    traced, fn = graph(kernels, biases), jax.jit(function(kernels, biases))
    print(traced)
    x = np.random.default_rng(1).random((ROWS, len(kernels[0])), np.float32)
    out = np.zeros((ROWS, len(biases[-1])), np.float32)
    one, rows, batch = jnp.asarray(x[0]), x.tolist(), jnp.asarray(x[:BATCH])
    space = {}
    exec(traced.to_python(), space)
    many = jax.jit(jax.vmap(function(kernels, biases)))

    def single():
        for _ in range(200):
            fn(one).block_until_ready()

    def python():
        return [space["predict"](row) for row in rows[:200]]

    variants = {
        "jitted, one sample a call": (single, 200),
        f"jitted, a batch of {BATCH}": (lambda: many(batch).block_until_ready(), BATCH),
        "Python": (python, 200),
    }
    wanted = np.asarray(many(jnp.asarray(x)))
    python_error = np.abs(np.array(python()) - wanted[:200]).max()
    if shutil.which("cc") is None:
        print("no C compiler (cc): without C")
    else:
        with tempfile.TemporaryDirectory() as folder:
            library = compiled(traced.to_c(), Path(folder))
        at = [ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(out.ctypes.data)]
        library.predict_batch(*at, ctypes.c_long(ROWS))
        print(
            f"largest difference from JAX: C {np.abs(out - wanted).max():.1e}, ", end=""
        )

        def call():
            for _ in range(200):
                library.predict(*at)

        def loop():
            return library.predict_batch(*at, ctypes.c_long(ROWS))

        variants["C, a loop in C"] = (loop, ROWS)
        variants["C, one call from Python"] = (call, 200)
    print(f"Python {python_error:.1e}")
    times = {name: [] for name in variants}
    for run, _ in variants.values():
        run()
    for _ in range(REPEATS):
        for name, (run, samples) in variants.items():
            wall, began = time.perf_counter(), time.process_time()
            run()
            spent = time.process_time() - began, time.perf_counter() - wall
            times[name].append([1e6 * t / samples for t in spent])
    print("\n| variant | CPU µs a sample | wall µs |\n|---|---|---|")
    for name, pairs in times.items():
        cpu, wall = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"| {name} | {cpu:.2f} | {wall:.2f} |")


if __name__ == "__main__":
    main()
