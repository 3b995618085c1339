"""The summary page of a flow-graph run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import flowgraph, pages, runs
from sparsejax.experiments._study import report
from sparsejax.experiments._study.run import Study
from sparsejax.flowgraph import Flag, Graph
from sparsejax.pages import counted

_SOURCE_LIMIT = 100_000  # characters of source that a page shows
_LEGIBLE, _DRAWN = 16, 120  # nodes of a drawing: two side by side, and alone


def write(
    study: Study, graph: Graph, flags: Sequence[Flag], examples: np.ndarray
) -> None:
    """Write `index.html`, and `drawing_*.svg` of one output for some inputs.

    Args:
        study: the run.
        graph: the whole graph.
        flags: the graph's, on the test inputs.
        examples: positions of the test inputs to draw.
    """
    folder, records, network = study.folder, study.records, study.subject
    assert network is not None
    error = graph.check(network.bound(), network.x)
    predicted = np.asarray(graph(network.x)).argmax(axis=1)
    vertices, edges = graph.count("published")
    weights = _nonzero(flowgraph.kernels(network.params))
    pruned = _nonzero(flowgraph.kernels(network.params, network.mask))
    kept = "" if weights == pruned else f"{pruned:,} of them in layers that were pruned"
    accuracy = float((predicted == network.y).mean())
    ignored = sum(flag.kind == "ignored input" for flag in flags)
    dead = [flag for flag in flags if flag.kind in ("dead unit", "constant unit")]
    report.page(
        study,
        f"Flow graph: {network.title}",
        pages.facts(
            [
                (
                    "right",
                    f"{accuracy:.2%}",
                    f"of {counted(len(network.x), 'test input')}",
                ),
                ("weights", weights, kept or "that are not zero"),
                (
                    "vertices",
                    vertices,
                    f"and {counted(edges, 'edge')}, as published counts go",
                ),
                ("inputs read", len(graph.inputs), f"{ignored:,} are ignored"),
                ("idle units", len(dead), "proved or observed; see the graph"),
                (
                    "largest error",
                    f"{error:.1e}",
                    f"on {counted(len(network.x), 'test input')}",
                ),
            ]
        ),
        pages.section(
            "Explore",
            _links(graph, folder),
            note="Each page runs the network itself: draw an input, remove a node, "
            "change a weight.",
        ),
        *_drawings(folder, graph, network, records, examples),
        pages.section(
            "Outputs",
            pages.table(_rows(folder, records), _HEADER, caption=_CAPTION),
        ),
        *_source(graph),
        lead=_finding(graph, records, weights, accuracy),
        footer=f"Made by sparsejax. The graph and the JAX function differ by at most "
        f"{error:.1e} on {counted(len(network.x), 'test input')}. graph.json holds "
        f"all of it.",
    )


_HEADER = (
    "output", "vertices", "edges", "inputs read", "interval", "exact", "test set",
    "constant",
)  # fmt: skip
_CAPTION = (
    "Counts as published ones go: a box for every product, sum, bias, nonlinearity and "
    "output. Ranges: by intervals over the domain, exactly over the domain (by integer "
    "programming; where time ran out, ends that hold), and over the test set."
)


def _nonzero(kernels) -> int:
    return sum(int(np.count_nonzero(matrix.data)) for matrix in kernels.values())


def _links(graph: Graph, folder: Path) -> pages.Html:
    """Links to the page of the whole graph and of every output."""
    links = [_link(folder, name, name) for name in graph.output_names]
    if (folder / "graph.html").exists():
        links.insert(0, pages.tag("a", "all outputs", href="graph.html#out=all"))
    return pages.join(_listed("", links), _listed("As files: ", _files(folder)))


def _files(folder: Path) -> list[pages.Html]:
    names = ("graph.json", "graph.graphml", "graph.dot", "predict.py", "predict.c")
    there = [name for name in (*names, "kernels.npz") if (folder / name).exists()]
    return [pages.tag("a", name, href=name) for name in there]


def _listed(first: str, links: Sequence[pages.Html]) -> pages.Html:
    apart = [part for link in links for part in (" · ", link)]
    return pages.tag("p", first, *apart[1:])


def _link(folder: Path, name: str, text: str) -> pages.Html:
    if (folder / "graph.html").exists():
        return pages.tag("a", text, href=f"graph.html#out={name}")
    if (folder / f"{name}.html").exists():
        return pages.tag("a", text, href=f"{name}.html")
    return pages.join(text)


def _rows(folder: Path, records) -> list[list[Any]]:
    def ends(pair):
        return f"{pair[0]:.2f} to {pair[1]:.2f}".replace("-", "−")

    rows = []
    for record in records:
        name, exact = record["output"], None
        if "exact" in record:
            gap = max(record["gap"])
            within = f", to within {gap:.2g}" if gap else ""
            exact = ends(record["exact"]) + within
        rows.append([
            _link(folder, name, name),
            record["vertices"], record["edges"], record["inputs"],
            ends(record["interval"]), exact, ends(record["observed"]),
            record["constant"],
        ])  # fmt: skip
    return rows


def _drawings(folder, graph, network, records, examples) -> list[pages.Html]:
    """One output's graph for each of the chosen inputs: the largest one can read."""
    boxes = {i: r["nodes"] - r["inputs"] for i, r in enumerate(records)
             if not r["constant"]}  # fmt: skip
    if not boxes or graph.image is None:
        return []
    legible = [i for i, count in boxes.items() if count <= _LEGIBLE]
    output = max(legible, key=boxes.__getitem__) if legible else min(
        boxes, key=boxes.__getitem__)  # fmt: skip
    if boxes[output] > _DRAWN:
        return []
    part = graph.subgraph(output).at("neuron")
    name, figures = records[output]["output"], []
    for i, position in enumerate(examples.tolist()):
        svg = part.to_svg(network.x[position])
        runs.write_text(folder / f"drawing_{i}.svg", svg)
        text = f"{name} for a test image of class {network.y[position]}"
        figures.append(pages.figure_svg(svg, text, text))
    note = (
        "Beside every filter: the filter times the image. Green lines carry positive "
        "values, red ones negative; thickness is the size of the value."
    )
    body = [pages.columns(*figures)] if legible else figures
    return [pages.section(f"How {name} is computed", *body, note=note)]


def _source(graph: Graph) -> list[pages.Html]:
    """The network as a program."""
    source = graph.to_python()
    if len(source) > _SOURCE_LIMIT:
        return []
    return [
        pages.section(
            "The network as a program",
            pages.tag(
                "details",
                pages.tag("summary", "predict.py, which needs nothing but Python"),
                pages.tag("pre", source),
            ),
            note="predict.c is the same in C99.",
        )
    ]


def _finding(graph, records, weights, accuracy) -> str:
    constant = [r["output"] for r in records if r["constant"]]
    tail = f" {', '.join(constant)} never changes." if constant else ""
    return (
        f"{counted(weights, 'weight')}, {accuracy:.1%} right: every one of the "
        f"{len(graph):,} steps of the computation is on these pages.{tail}"
    )
