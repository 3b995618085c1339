"""A pruned network as a flow graph: counts, ranges, drawings, pages and source.

Reproduces the figures of Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?"
(2020), and adds what an exact graph allows: proofs, programs, and a page in which the
network runs.

    <folder>/index.html          what was found, and links to all the rest
    <folder>/graph.html          the graph, to explore; #out=output_3 shows one output;
                                 where it is too large, a page for each output instead
    <folder>/graph.json, .dot, .graphml, predict.py, predict.c, kernels.npz
    <folder>/metrics.jsonl       a line for each output
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import flowgraph, runs
from sparsejax.experiments import fields, flowgraph_report
from sparsejax.experiments.networks import Network
from sparsejax.flowgraph import SIMPLIFY_POLICIES, Bounds, Graph, TooLarge
from sparsejax.pages import counted


@dataclasses.dataclass(frozen=True)
class Config:
    """What to make of a network.

    Attributes:
        seed: which network of the run; by default the first.
        level: which level of the run; by default the last.
        samples: test inputs shown on the pages.
        simplify: what to do, before anything else, with units that are linear over the
            whole domain: "no" (keep the graph as traced), "off" (only fold what never
            changes), "passthrough" (show them as linear), "merge-if-smaller" or
            "merge-all" (multiply them out).
        exact: find exact ranges too, by integer programming: of every output and, in
            graphs of at most 300 hidden nodes, of these.
        time_limit: seconds for each end of an exact range.
        beside: level of the run whose graph is shown beside this one, on the same page.
    """

    seed: int | None = None
    level: int | None = None
    samples: int = 6
    simplify: str = "no"
    exact: bool = True
    time_limit: float = 10.0
    beside: int | None = None


_HIDDEN = 300  # nodes whose exact ranges are found too, a second each at most
CHOICES = {"simplify": ("no", *SIMPLIFY_POLICIES)}
WITHIN = {
    "seed": fields.SEEDS,
    "level": fields.WHOLE,
    "samples": fields.COUNTS,
    "time_limit": "(0, inf)",
    "beside": fields.WHOLE,
}


def check(config: Config) -> None:
    """Raise a `ValueError` for what cannot be made of any network."""
    fields.check(config, WITHIN, CHOICES)


def run(
    config: Config,
    folder: str | Path,
    network: Network,
    *,
    other: Network | None = None,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Make, or go on making, everything about one network.

    Args:
        config: what to make.
        folder: where.
        network: from `networks.load`.
        other: the one of `config.beside`.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input, and for a network that is too large to be drawn.
    """
    folder = Path(folder)
    check(config)
    if (config.beside is None) != (other is None):
        raise ValueError(
            "beside names a level: pass its network as other=, and no more"
        )
    graph = traced(network, config.simplify)
    second = None if other is None else traced(other, config.simplify)
    if runs.start(
        folder, config, kind="flowgraph", about={"network": network.title}, force=force
    ):
        report(f"{folder} is complete; --force runs it again")
        return runs.read_metrics(folder)
    report(f"{graph}")
    _write_files(graph, network, folder, report)
    flags = graph.flags(network.x)
    records = _measured(config, graph, network, flags, folder, report)
    exact = _exact(config, graph, records)
    chosen = examples(network, config.samples)
    _write_pages(graph, second, network, folder, exact, chosen, report)
    flowgraph_report.write(folder, graph, network, flags, records, chosen)
    runs.finish(folder)
    return records


def traced(network: Network, simplify: str = "no") -> Graph:
    """The graph of a network."""
    shape = network.x.shape[1:]
    image = network.image
    if image is not None and image[-1] == 1:
        image = image[:2]
    example = np.zeros(shape, np.float32)
    graph = flowgraph.trace(network.fn, example, domain=network.domain, image=image)
    return graph if simplify == "no" else graph.simplify(simplify)


def examples(network: Network, count: int) -> np.ndarray:
    """Positions of test inputs: the first of each label in turn."""
    order = np.argsort(network.y, kind="stable")
    labels = network.y[order]
    turn = np.arange(len(order)) - np.searchsorted(labels, labels)
    return order[np.lexsort((labels, turn))][:count]


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    records = runs.read_metrics(folder)
    largest = max(records, key=lambda r: r["vertices"])
    constant = [f"{r['output']} ({r['constant']})" for r in records if r["constant"]]
    return (
        f"the largest graph of one output is {largest['output']}'s, "
        f"{largest['vertices']:,} vertices; constant outputs: "
        f"{', '.join(constant) or 'none'}\n"
        f"open {folder / 'index.html'}\n"
        "next: --beside=LEVEL to compare with another level, --simplify=passthrough"
    )


def _write_files(graph: Graph, network: Network, folder: Path, report) -> None:
    formats = {
        "graph.json": graph.to_json,
        "graph.graphml": graph.to_graphml,
        "graph.dot": graph.to_dot,
        "predict.py": graph.to_python,
        "predict.c": graph.to_c,
    }
    for name, make in formats.items():
        try:
            runs.write_text(folder / name, make())
        except TooLarge as error:
            report(f"no {name}: {error}")
    kernels = flowgraph.kernels(network.params, network.mask)
    flowgraph.write_kernels(folder / "kernels.npz", kernels)


def _write_pages(graph, second, network, folder, exact, chosen, report) -> None:
    """One page of all outputs or, where that is too large, one of each."""
    common = {
        "samples": network.x[chosen],
        "labels": network.y[chosen],
        "data": network.x,
    }
    try:
        title = f"Flow graph: {network.title}"
        options = {**common, "fn": network.fn, "exact": exact, "title": title}
        options["other"] = second
        graph.save_html(folder / "graph.html", **options)
        return
    except TooLarge as error:
        report(f"a page for each output: {error}")
    for i, name in enumerate(graph.output_names):
        one, title = lambda x, i=i: network.fn(x)[i], f"{name}: {network.title}"
        options = {**common, "fn": one, "title": title}
        try:
            graph.subgraph(i).save_html(folder / f"{name}.html", **options)
        except TooLarge as error:
            report(f"no page of {name}: {error}")


def _measured(config, graph, network, flags, folder, report) -> list[dict[str, Any]]:
    """The records, those that are there already first."""
    names = list(graph.output_names)
    try:
        records = runs.read_metrics(folder)
    except runs.DamagedFile as error:
        report(f"damaged: {error}; measuring again")
        records = []
    records = [r for r, name in zip(records, names) if r.get("output") == name]
    interval = graph.bounds("interval")
    values = np.asarray(graph(network.x))
    proofs = {f.key: f.proof for f in flags if f.kind == "constant output"}
    began = time.perf_counter()
    for i in range(len(records), len(names)):
        part, node = graph.subgraph(i), int(graph.outputs[i])
        vertices, edges = part.count("published")
        record = {
            "output": names[i],
            "vertices": vertices,
            "edges": edges,
            "nodes": len(part),
            "inputs": len(part.inputs),
            "constant": proofs.get(names[i]),
            "interval": [float(interval.low[node]), float(interval.high[node])],
            "observed": [float(values[:, i].min()), float(values[:, i].max())],
        }
        if config.exact:
            found = graph.bounds("exact", nodes=[node], time_limit=config.time_limit)
            record["exact"] = [float(found.low[0]), float(found.high[0])]
            record["gap"] = found.gap[0].tolist()
            record["witness"] = [found.witness_low[0].tolist(),
                                 found.witness_high[0].tolist()]  # fmt: skip
        records.append(record)
        runs.write_metrics(folder, records)
        report(_line(record, time.perf_counter() - began, len(names) - i - 1))
    return records


def _exact(config, graph: Graph, records) -> Bounds | None:
    """The exact ranges of the outputs and, where they are few, of what is hidden."""
    if not config.exact:
        return None
    ends = np.array([record["exact"] for record in records], np.float64)
    gaps = np.array([record["gap"] for record in records], np.float64)
    outputs = Bounds(graph.outputs, ends[:, 0], ends[:, 1], gaps)
    seen = {*graph.outputs.tolist(), *range(len(graph.inputs))}
    hidden = [i for i in range(len(graph)) if i not in seen]
    if not 0 < len(hidden) <= _HIDDEN:
        return outputs
    found = graph.bounds("exact", nodes=hidden, time_limit=min(config.time_limit, 1.0))

    def join(name):
        return np.concatenate([getattr(outputs, name), getattr(found, name)])

    return Bounds(join("nodes"), join("low"), join("high"), join("gap"))


def _line(record, spent: float, left: int) -> str:
    """One line of progress for an output."""
    gap = max(record.get("gap", [0.0]))
    note = f"  exact range to within {gap:.2g}" if gap else ""
    return (
        f"{record['output']:12} {record['vertices']:6,} vertices, "
        f"{record['edges']:6,} edges  {spent:4.0f} s, {counted(left, 'output')} "
        f"left{note}"
    )
