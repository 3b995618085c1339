"""Exact indices beside shapiq's, and how well sampled estimates and intervals do.

Indices from one table of values: of the log loss of a trained circle network, without
its first nodes where n < 20. CPU seconds; ours is the median of five. Then Shapley
values and means of the whole network from samples, against the exact ones: the share
of intervals that contain the exact value, the root mean square error and the number of
evaluations, over repeats with other keys.

    python benchmarks/hypercube_indices.py [--repeats=200] [--sizes 12 16]
"""

import argparse
import itertools as it
import statistics
import time
import warnings

import hypercube_circle
import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import hypercube

N, CONFIDENCE = hypercube_circle.N, 0.95
PROBABILITIES = np.array([0.25, 0.5, 0.75])


def spent(call, repeats=1):
    times, out = [], None
    for _ in range(repeats):
        began = time.process_time()
        out = call()
        times.append(time.process_time() - began)
    return out, statistics.median(times)


def exact_indices(values, sizes):
    try:
        import shapiq  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("shapiq is not installed: no indices beside it\n")
        return
    print("| n | index | CPU s ours | shapiq | ratio | largest difference |")
    print("|---|---|---|---|---|---|")
    for n in sizes:
        table = values[-(1 << n) :]  # the other nodes are all on

        def game(coalitions, t=table, n=n):
            return t[coalitions @ (1 << np.arange(n))]

        pairs = list(it.combinations(range(n), 2))
        for name, order, keys, call in (
            ("SV", 1, [(i,) for i in range(n)], hypercube.shapley),
            ("SII", 2, pairs, hypercube.interactions),
        ):
            # a computer keeps what it has computed: a new one for every index
            computer = shapiq.ExactComputer(game, n)
            theirs, slow = spent(lambda c=computer, a=(name, order): c(*a))
            ours, fast = spent(lambda t=table, f=call: f(t), repeats=5)
            assert ours is not None and theirs is not None
            off = max(abs(ours[k] - theirs[k]) for k in keys)
            label = name if order == 1 else f"{name}, pairs"
            print(f"| {n} | {label} | {fast:.5f} | {slow:.3f} | ", end="")
            print(f"{slow / fast:,.0f} | {off:.0e} |", flush=True)
    print()


def coverage(values, repeats):
    """The network's values are read from the table: only the samples are random."""
    table = jnp.asarray(values, jnp.float32)
    places = jnp.asarray(1 << np.arange(N), jnp.int32)

    def fn(mask):
        return table[mask.astype(jnp.int32) @ places]

    shared = {"confidence": CONFIDENCE, "progress": False, "batch_size": 1024}

    def shapley(method, permutations):
        return lambda key: hypercube.estimate_shapley(
            fn, N, key=key, method=method, permutations=permutations, **shared
        )

    def mean(samples):
        return lambda key: hypercube.estimate_mean(
            fn, N, PROBABILITIES, key=key, samples=samples, **shared
        )

    values = np.asarray(table)
    truths = hypercube.shapley(values), hypercube.mean(values, PROBABILITIES)
    print("| estimate | evaluations | nominal | measured coverage | rmse |")
    print("|---|---|---|---|---|")
    for count in (100, 1000):
        for method in ("antithetic", "permutation", "stratified"):
            name = f"Shapley, {method}, {count} orders"
            row(name, shapley(method, count), truths[0], repeats)
    for samples in (100, 1000):
        name = f"mean at {', '.join(map(str, PROBABILITIES))}; {samples} samples"
        row(name, mean(samples), truths[1], repeats)


def row(name, sample, truth, repeats):
    found = [sample(jax.random.key(i)) for i in range(repeats)]
    inside = np.mean([(e.low <= truth) & (truth <= e.high) for e in found])
    rmse = np.sqrt(np.mean([(e.values - truth) ** 2 for e in found]))
    print(f"| {name} | {found[0].evaluations:,} | {CONFIDENCE:.1%} | ", end="")
    print(f"{inside:.1%} | {rmse:.4f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[12, 16])
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # shapiq's own
    params, (x, y) = hypercube_circle.network(0)
    case = hypercube_circle.readout(params, x)
    values = np.log(hypercube.evaluate_readout(*case, y).losses.astype(np.float64))
    exact_indices(values, args.sizes)
    coverage(values, args.repeats)


if __name__ == "__main__":
    main()
