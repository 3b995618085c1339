"""A graph for Graphviz: its language, or a `pydot.Dot`. No program is run.

Nodes of one layer stand in one row (`rank=same`); where in the row, Graphviz decides:
`to_svg` draws with a layout of our own. Inputs are blue and outputs yellow, as in the
source; edges carry their coefficient, rounded to two decimals.

Reference: Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?", 2020.
"""

from typing import Any

import numpy as np

from sparsejax.flowgraph._layout import rows
from sparsejax.flowgraph._structure import Structure, TooLarge

MOST_NODES = 5_000
STYLE = {
    "graph": {"rankdir": "TB", "ranksep": "0.6", "nodesep": "0.15"},
    "node": {"shape": "box", "style": "rounded,filled", "fillcolor": "#ffffff"},
    "edge": {"arrowsize": "0.5", "fontsize": "10"},
}
INPUT, OUTPUT = {"fillcolor": "#cfe3fb"}, {"fillcolor": "#ffe58a"}
GREEN, RED, GRAY = "#047e39", "#c5031b", "#9aa3ad"


def to_dot(graph: Structure) -> str:
    """Text in Graphviz's language; the same graph gives the same text.

    Raises:
        TooLarge: if the graph cannot be drawn.
    """
    nodes, edges, layers = _parts(graph)
    lines = ["digraph flowgraph {"]
    lines += [f"  {kind} [{_listed(style)}];" for kind, style in STYLE.items()]
    lines += [f"  {name} [{_listed(attributes)}];" for name, attributes in nodes]
    for layer in layers:
        lines.append("  { rank=same; " + "; ".join(layer) + "; }")
    lines += [f"  {a} -> {b} [{_listed(attributes)}];" for a, b, attributes in edges]
    return "\n".join([*lines, "}"]) + "\n"


def to_pydot(graph: Structure) -> Any:
    """The same as a `pydot.Dot`, to change or to write with Graphviz.

    Raises:
        TooLarge: if the graph cannot be drawn.
    """
    import pydot

    def quoted(attributes):
        return {k: _quoted(v) for k, v in attributes.items()}

    nodes, edges, layers = _parts(graph)
    whole = pydot.Dot("flowgraph", graph_type="digraph")
    for name, value in quoted(STYLE["graph"]).items():
        whole.set(name, value)
    whole.set_node_defaults(**quoted(STYLE["node"]))
    whole.set_edge_defaults(**quoted(STYLE["edge"]))
    for name, attributes in nodes:
        whole.add_node(pydot.Node(name, None, **quoted(attributes)))
    for i, layer in enumerate(layers):
        row = pydot.Subgraph(f"layer_{i}", rank="same")
        for name in layer:
            row.add_node(pydot.Node(name))
        whole.add_subgraph(row)
    for a, b, attributes in edges:
        whole.add_edge(pydot.Edge(a, b, None, **quoted(attributes)))
    return whole


def check_size(graph: Structure, most: int) -> None:
    """Refuse what no one could read.

    Raises:
        TooLarge: if the graph has more than `most` nodes, with what to do.
    """
    if len(graph) > most:
        raise TooLarge(
            f"a drawing of {len(graph):,} boxes cannot be read (at most {most:,}); "
            'draw a part, as graph.subgraph(0), or coarser nodes, graph.at("neuron")'
        )


def title(graph: Structure, node: int) -> list[str]:
    """What is written into the box of a node: its operation and its name."""
    op, const = graph.ops[node], f"{graph.consts[node]:+.2f}".replace("-", "\u2212")
    _, coefs = graph.operands(node)
    named = zip(graph.outputs.tolist(), graph.output_names, strict=True)
    names = [name for output, name in named if output == node]
    key = ", ".join(names) or graph.keys[node]
    bias = [const] if graph.consts[node] and op != "const" else []
    if op == "const":
        return [key, f"= {graph.consts[node]:.2f}".replace("-", "\u2212")]
    if op == "affine" and graph.level == "scalar" and not names:
        if len(coefs) > 1:
            return ["sum"]
        if bias:
            return bias
        return [f"\u00d7 {coefs[0]:.2f}".replace("-", "\u2212")]
    return ([] if op in ("input", "affine", "output") else [op]) + [key] + bias


def _parts(graph: Structure):
    check_size(graph, MOST_NODES)
    outputs = set(graph.outputs.tolist())
    nodes = []
    for i, op in enumerate(graph.ops):
        color = OUTPUT if i in outputs else INPUT if op == "input" else {}
        nodes.append((f"n{i}", {"label": "\n".join(title(graph, i)), **color}))
    targets = np.repeat(np.arange(len(graph)), np.diff(graph.starts)).tolist()
    edges = []
    for a, b, c in zip(graph.args.tolist(), targets, graph.coefs.tolist(), strict=True):
        color = GREEN if c > 0 else RED if c < 0 else GRAY
        label = {} if c == 1 else {"label": f"{c:.2f}".replace("-", "\u2212")}
        edges.append((f"n{a}", f"n{b}", {"color": color, **label}))
    row = rows(graph)
    layers = [[f"n{i}" for i in np.flatnonzero(row == r)] for r in np.unique(row)]
    return nodes, edges, layers


def _listed(attributes: dict[str, str]) -> str:
    return ", ".join(f"{name}={_quoted(value)}" for name, value in attributes.items())


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + "".join(c if c.isprintable() else "?" for c in text) + '"'
