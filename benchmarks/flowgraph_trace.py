"""What a flow graph of a run's last network costs, and how exact it is.

    python benchmarks/flowgraph_trace.py --run=FOLDER [--data_dir=DIR] [--seed=N]

FOLDER: of a run of launch/lottery.py. Prints counts, seconds (first call, then
the median of five), the largest difference to the JAX function over the whole test set,
and whether intervals hold the exact ranges of all outputs, and these 100,000 samples.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from sparsejax.experiments import flowgraph, subjects

SAMPLES, REPEATS = 100_000, 5


def seconds(make):
    """The first call, the median of the next ones, and the last result."""
    times = []
    for _ in range(1 + REPEATS):
        begin = time.perf_counter()
        result = make()
        times.append(time.perf_counter() - begin)
    return times[0], statistics.median(times[1:]), result


def sampled(graph, count):
    """Lowest and highest outputs over points of the domain, half of them corners."""
    rng = np.random.default_rng(0)
    least = np.full(len(graph.outputs), np.inf)
    most = -least
    for part in range(0, count, 10_000):
        x = rng.uniform(graph.low, graph.high, (10_000, len(graph.low)))
        if part % 20_000:
            x = np.where(rng.random(x.shape) < 0.5, graph.low, graph.high)
        values = np.asarray(graph(x.astype(np.float32).reshape(-1, *graph.shape)))
        least, most = np.minimum(least, values.min(0)), np.maximum(most, values.max(0))
    return least, most


def pair(count):
    return "{:,} vertices, {:,} edges".format(*count)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data_dir")
    parser.add_argument("--seed", type=int)
    flags = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    network = subjects.of_run(flags.run, seed=flags.seed, data_dir=flags.data_dir)
    cold, warm, graph = seconds(lambda: flowgraph.traced(network))
    _, simple, smaller = seconds(lambda: graph.simplify("off"))
    _, interval, wide = seconds(lambda: graph.bounds("interval", nodes="outputs"))
    begin = time.perf_counter()
    exact = graph.bounds("exact")
    solved = time.perf_counter() - begin
    assert exact.gap is not None
    least, most = sampled(graph, SAMPLES)
    parts = [graph.subgraph(i).count() for i in range(len(graph.outputs))]
    above = (wide.low <= exact.low + 1e-6) & (exact.high <= wide.high + 1e-6)
    inside = (exact.low <= least + 1e-4) & (most <= exact.high + 1e-4)
    rows = [
        ("published count", pair(graph.count())),
        ("largest of one output", pair(max(parts))),
        ("level dot", pair(graph.count("dot"))),
        ("level neuron", pair(graph.count("neuron"))),
        ("simplified (off)", pair(smaller.count("dot"))),
        ("trace, first call", f"{cold:.3f} s"),
        ("trace, warm", f"{warm:.3f} s"),
        ("simplify", f"{simple:.3f} s"),
        ("intervals", f"{interval:.4f} s"),
        ("exact ranges of the outputs", f"{solved:.2f} s, gap {exact.gap.max():g}"),
        ("mean width, intervals", f"{(wide.high - wide.low).mean():.1f}"),
        ("mean width, exact", f"{(exact.high - exact.low).mean():.1f}"),
        ("mean width, sampled", f"{(most - least).mean():.1f}"),
        ("intervals hold exact", bool(above.all())),
        ("exact holds sampled", bool(inside.all())),
        ("largest difference", f"{graph.check(network.bound(), network.x):.1e}"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        chosen = flowgraph.examples(network, 6)
        page = Path(folder, "page.html")
        graph.save_html(page, samples=network.x[chosen], labels=network.y[chosen],
                        fn=network.bound(), data=network.x)  # fmt: skip
        rows.append(("page with six samples", f"{page.stat().st_size / 1000:.0f} kB"))
    print(f"{network.title}\n")
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
