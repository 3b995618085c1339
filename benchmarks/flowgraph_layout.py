"""Crossings and time of our layout against Graphviz's `dot`, on three graphs.

Of a network 784-32-32-10 with 320, 150 and 69 weights: (a) the graph above the first
layer, whose dot products are leaves; (b) all that one output is computed from, and (c)
everything, with a box for every product, sum, bias and nonlinearity. Crossings are
counted by the same function for both: of straight lines between the centres that each
program chose. Time is CPU time, the median of the repeats: ours within this process,
dot's of its process, with and without the time that it takes to start (that of drawing
one node). `dot` also routes its edges, which ours does not.

    python benchmarks/flowgraph_layout.py [--run=FOLDER]

FOLDER: of a run of launch/lottery.py, whose last networks are taken instead.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import flowgraph_source
import numpy as np

from sparsejax.flowgraph import Graph
from sparsejax.flowgraph._export import svg
from sparsejax.flowgraph._layout import Layout, crossings, layout

REPEATS = 15


def three(graph: Graph) -> dict[str, Graph]:
    parts = [graph.subgraph(i).at("scalar") for i in range(len(graph.outputs))]
    return {
        "(a) above the first layer": svg.pictures(graph)[0],
        "(b) one output": min(parts, key=lambda part: abs(len(part) - 450)),
        "(c) everything": graph.at("scalar"),
    }


def dot(graph: Graph | None) -> tuple[Layout, float]:
    """Positions by Graphviz, and its CPU time; of one node if there is no graph."""
    lines = ["digraph {", 'node [shape=box, label=""];']
    if graph is not None:
        target = np.repeat(np.arange(len(graph)), np.diff(graph.starts))
        lines += [f"n{i};" for i in range(len(graph))]
        lines += [f"n{a} -> n{b};" for a, b in zip(graph.args, target, strict=True)]
    else:
        lines.append("n0;")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        ["dot", "-Tplain"],
        input="\n".join([*lines, "}"]),
        text=True,
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = sum(
        getattr(after, k) - getattr(before, k) for k in ("ru_utime", "ru_stime")
    )
    words = [line.split() for line in done.stdout.splitlines()]
    at = {int(w[1][1:]): (float(w[2]), -float(w[3])) for w in words if w[0] == "node"}
    x, y = np.array([at[i] for i in range(len(at))]).T
    return Layout(x, y, {}), spent


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path)
    installed = shutil.which("dot") is not None
    if not installed:
        print("dot is not installed (Graphviz): ours alone\n")
    graph = flowgraph_source.graph(*flowgraph_source.weights(parser.parse_args().run))
    start = statistics.median(dot(None)[1] for _ in range(REPEATS)) if installed else 0
    print("| graph | V | E | crossings ours | dot | ratio | ms ours | dot | ", end="")
    print("ratio | ratio, with its start |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, part in three(graph).items():
        ours, theirs, at, other = [], [], None, None
        for _ in range(REPEATS):  # by turns
            began = time.process_time()
            at = layout(part)
            ours.append(time.process_time() - began)
            if installed:
                other, spent = dot(part)
                theirs.append(spent)
        assert at is not None
        found, mine = crossings(part, at), 1e3 * statistics.median(ours)
        row = [name, len(part), part.num_edges, f"{found:,}"]
        if other is None:
            row += ["", "", f"{mine:.1f}", "", "", ""]
        else:
            wanted, whole = crossings(part, other), 1e3 * statistics.median(theirs)
            net = whole - 1e3 * start
            row += [f"{wanted:,}", f"{found / wanted:.2f}", f"{mine:.1f}", f"{net:.0f}"]
            row += [f"{mine / net:.3f}", f"{mine / whole:.3f}"]
        print("| " + " | ".join(map(str, row)) + " |")
    print(f"\nStarting dot: {1e3 * start:.0f} ms.")


if __name__ == "__main__":
    main()
