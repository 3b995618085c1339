"""Every benchmark beside its peers, one after the other, as one document.

Each script measures in a process of its own, on one core; what it prints stands under
its first line, with the CPU time and memory that all of it took. At the top: versions
of what is compared, and what one core can do at most, a large product and a large copy.

    python benchmarks/table.py [--only=relevance,features] [--out=table.md]
"""

import argparse
import ast
import itertools as it
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

HERE = Path(__file__).parent
SCRIPTS = ["training_step", "convolution", "own_convnet", "mask_update", "lottery_run"]
SCRIPTS += ["flowgraph_layout", "flowgraph_source", "hypercube_circle"]
SCRIPTS += ["hypercube_indices", "subsets", "cartpole_dqn", "relevance", "features"]
SCRIPTS += ["expanded_weights", "spade", "closures", "open_models", "compact"]
PACKAGES = ["jax", "jaxlib", "flax", "numpy", "torch", "zennit", "captum", "shapiq"]


def versions() -> str:
    def of(package):
        try:
            return version(package)
        except PackageNotFoundError:
            return "missing"

    named = ", ".join(f"{package} {of(package)}" for package in PACKAGES)
    return f"Python {platform.python_version()}, {named}."


def limits() -> str:
    """What a product and a copy on one core reach, medians of five."""
    a, b = np.ones((2048, 2048), np.float32), np.ones(1 << 26, np.float32)
    out = np.empty_like(b)

    def seconds(run):
        spent = []
        for _ in range(6):
            began = time.process_time()
            run()
            spent.append(time.process_time() - began)
        return statistics.median(spent[1:])

    with threadpool_limits(1):
        product = 2 * len(a) ** 3 / seconds(lambda: a @ a) / 1e9
    copy = 2 * b.nbytes / seconds(lambda: np.copyto(out, b)) / 1e9
    return f"One core: a product {product:.0f} GFLOP/s, a copy {copy:.1f} GB/s."


def measure(name: str) -> str:
    """A section: what the script is about and prints, its CPU time and memory."""
    script = HERE / f"{name}.py"
    title = (ast.get_docstring(ast.parse(script.read_text())) or name).splitlines()[0]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen([sys.executable, script], stdout=out, stderr=errors)
        _, status, used = os.wait4(child.pid, 0)  # what this one took, and no other
        out.seek(0)
        printed = out.read()
        if status:
            errors.seek(0)
            last = errors.read().strip().splitlines()[-1:]
            printed += f"\nended with {status}: {' '.join(last)}\n"
    spent = used.ru_utime + used.ru_stime
    footer = f"{spent:.0f} CPU-seconds in all, at most {used.ru_maxrss / 1e3:.0f} MB."
    return f"## {title}\n\n`{script.name}`\n\n{printed.strip()}\n\n{footer}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="names of scripts, with commas between")
    parser.add_argument("--out", type=Path, help="a file that gets the same")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else SCRIPTS
    if unknown := {*names} - {*SCRIPTS}:
        parser.error(
            f"no benchmarks: {', '.join(sorted(unknown))}; there are {SCRIPTS}"
        )
    text = ""
    start = [f"# Benchmarks\n\n{versions()} {limits()}\n"]
    for part in it.chain(start, map(measure, names)):  # as they end
        print(part, flush=True)
        text += part + "\n"
        if options.out:
            options.out.write_text(text)


if __name__ == "__main__":
    main()
