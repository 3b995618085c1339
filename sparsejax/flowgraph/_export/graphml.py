"""A graph as GraphML, for Gephi, yEd or Cytoscape, or as a networkx graph.

Both hold the same: nodes "n0", "n1", ... with op, key, const, and the name and place of
an output; edges with their coefficient and `operand`, which operand of the target they
are. A node can read another twice (x * x), so the networkx graph is a `MultiDiGraph`;
its edge keys, in GraphML the edges' ids, number the edges from 0.
"""

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

from sparsejax.flowgraph._structure import Structure

SPACE = "http://graphml.graphdrawing.org/xmlns"
FIELDS = {  # name: where, and its type
    "op": ("node", "string"),
    "key": ("node", "string"),
    "const": ("node", "double"),
    "name": ("node", "string"),
    "output": ("node", "int"),
    "input": ("node", "int"),
    "coef": ("edge", "double"),
    "operand": ("edge", "int"),
}


def to_graphml(graph: Structure) -> str:
    """GraphML 1.0 with typed keys."""
    root = ET.Element("graphml", xmlns=SPACE)
    for name, (where, kind) in FIELDS.items():
        ET.SubElement(
            root,
            "key",
            {"id": name, "for": where, "attr.name": name, "attr.type": kind},
        )
    whole = ET.SubElement(root, "graph", id="flowgraph", edgedefault="directed")
    for name, attributes in _nodes(graph):
        _data(ET.SubElement(whole, "node", id=name), attributes)
    for number, (source, target, attributes) in enumerate(_edges(graph)):
        edge = {"id": str(number), "source": source, "target": target}
        _data(ET.SubElement(whole, "edge", edge), attributes)
    ET.indent(root, " ")
    return ET.tostring(root, "unicode", xml_declaration=True) + "\n"


def to_networkx(graph: Structure) -> Any:
    """A `networkx.MultiDiGraph`.

    Raises:
        ImportError: if networkx is not installed.
    """
    try:
        import networkx
    except ImportError:
        raise ImportError(
            "to_networkx needs networkx: `pip install networkx`; to_graphml does not"
        ) from None
    whole = networkx.MultiDiGraph()
    whole.add_nodes_from(_nodes(graph))
    for number, (source, target, attributes) in enumerate(_edges(graph)):
        whole.add_edge(source, target, number, **attributes)
    return whole


def _nodes(graph: Structure) -> list[tuple[str, dict[str, Any]]]:
    nodes: list[tuple[str, dict[str, Any]]] = []
    for i, (op, key) in enumerate(zip(graph.ops, graph.keys, strict=True)):
        const = float(graph.consts[i])
        nodes.append((f"n{i}", {"op": _plain(op), "key": _plain(key), "const": const}))
    for i, element in enumerate(graph.inputs.tolist()):
        nodes[i][1]["input"] = element
    for i, node in enumerate(graph.outputs.tolist()):
        # one node can be several outputs: the first names it
        nodes[node][1].setdefault("output", i)
        nodes[node][1].setdefault("name", _plain(graph.output_names[i]))
    return nodes


def _edges(graph: Structure) -> list[tuple[str, str, dict[str, Any]]]:
    degree = np.diff(graph.starts)
    target = np.repeat(np.arange(len(graph)), degree)
    operand = np.arange(len(target)) - np.repeat(graph.starts[:-1], degree)
    rows = zip(graph.args, target, graph.coefs, operand, strict=True)
    return [
        (f"n{a}", f"n{b}", {"coef": float(c), "operand": int(k)}) for a, b, c, k in rows
    ]


def _data(element: ET.Element, attributes: dict[str, Any]) -> None:
    special = {"inf": "INF", "-inf": "-INF", "nan": "NaN"}  # as XML writes them
    for name, value in attributes.items():
        text = (
            value if isinstance(value, str) else special.get(repr(value), repr(value))
        )
        ET.SubElement(element, "data", key=name).text = text


def _plain(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(c if c.isprintable() else "?" for c in text)
