"""DOT, pydot, GraphML, networkx and SVG hold the graph; any name is safe in them."""

import base64
import dataclasses
import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import jax
import jax.numpy as jnp
import networkx
import numpy as np
import pydot
import pytest
from PIL import Image

from sparsejax.flowgraph import trace
from sparsejax.flowgraph._export import dot, svg

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = (
    'a "quoted" key',
    "back\\slash\\",
    "</text><script>alert(1)</script>",
    "&amp; <b> 'x' ]]>",
    "line\nbreak\x00\x07",
    "ünïcode → 名前",
    "*/ int x; /*",
    "-- }; n0 -> n1",
)
KERNEL = np.array([[0.5, 0, -0.25], [0, 1.5, 0], [-1, 0, 0], [0, 0, 2]], np.float32)


def tiny(level="dot"):
    def fn(x):
        h = jax.nn.relu(x @ KERNEL + jnp.array([0.5, 0.0, -0.125]))
        return jnp.stack([h[0] - h[1], h[2] * h[2]])

    return trace(fn, jnp.zeros(4), output_names=("left", "right")).at(level)


def hostile():
    graph = tiny()
    keys = [HOSTILE[i % len(HOSTILE)] + str(i) for i in range(len(graph))]
    names = (HOSTILE[2], HOSTILE[0])
    return dataclasses.replace(graph, keys=tuple(keys), output_names=names)


def picture(seed=0, image=(4, 5)):
    rng = np.random.default_rng(seed)
    size = int(np.prod(image))
    first = (rng.normal(size=(size, 3)) * (rng.random((size, 3)) < 0.4)).astype("f")
    first[0, 0] = 1.0
    last = rng.normal(size=(3, 2)).astype(np.float32)

    def fn(x):
        return jax.nn.relu(x.reshape(-1) @ first + 0.25) @ last

    return trace(fn, jnp.zeros(image), image=image), first


def parsed(text):
    (found,) = pydot.graph_from_dot_data(text)
    special = {"node", "edge", "graph", '"\\n"'}
    nodes = {n.get_name() for n in found.get_nodes()} - special
    return nodes, [(e.get_source(), e.get_destination()) for e in found.get_edges()]


def edges(graph):
    target = np.repeat(np.arange(len(graph)), np.diff(graph.starts)).tolist()
    pairs = zip(graph.args.tolist(), target, strict=True)
    return [(f"n{a}", f"n{b}") for a, b in pairs]


@pytest.mark.parametrize("level", ["scalar", "dot"])
def test_dot_is_the_golden_file(level):
    # to accept a change: write `text` to the file and read the difference
    text = tiny(level).to_dot()
    assert text == (GOLDEN / f"tiny_{level}.dot").read_text()
    assert text == tiny(level).to_dot()


@pytest.mark.parametrize("graph", [tiny(), tiny("scalar"), tiny("neuron"), hostile()])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within pydot
def test_dot_and_pydot_parse_back_to_the_same_graph(graph):
    for text in (graph.to_dot(), graph.to_pydot().to_string()):
        nodes, found = parsed(text)
        assert nodes >= {f"n{i}" for i in range(len(graph))}
        assert sorted(found) == sorted(edges(graph))
    whole = graph.to_pydot()
    assert len(whole.get_nodes()) - 2 == len(graph)  # the defaults are two
    assert len(whole.get_edges()) == graph.num_edges


def test_dot_quotes_whatever_is_in_a_name():
    string = r'"(?:[^"\\]|\\.)*"'
    line = re.compile(rf"  n\d+( -> n\d+)? \[(\w+={string}(, )?)+\];")
    lines = [text for text in hostile().to_dot().split("\n") if text[:3] == "  n"]
    statements = [text for text in lines if not text.startswith("  node")]
    assert len(statements) == len(hostile()) + hostile().num_edges
    assert all(line.fullmatch(text) for text in statements)


def test_dot_puts_layers_into_rows():
    graph = tiny()
    rows = re.findall(r"rank=same; ([^}]*);", graph.to_dot())
    layers = [[int(n[1:]) for n in row.split("; ")] for row in rows]
    assert sorted(sum(layers, [])) == list(range(len(graph)))
    row = {node: i for i, layer in enumerate(layers) for node in layer}
    assert all(row[int(a[1:])] < row[int(b[1:])] for a, b in edges(graph))


@pytest.mark.parametrize("graph", [tiny(), tiny("scalar"), tiny("neuron"), hostile()])
def test_graphml_and_networkx_agree(graph):
    whole = graph.to_networkx()
    read = networkx.parse_graphml(
        graph.to_graphml(), edge_key_type=int, force_multigraph=True
    )
    assert read.is_directed() and read.is_multigraph()
    assert dict(read.nodes(data=True)) == dict(whole.nodes(data=True))
    assert sorted(read.edges(keys=True)) == sorted(whole.edges(keys=True))
    for a, b, k, found in read.edges(keys=True, data=True):
        assert {n: found[n] for n in ("coef", "operand")} == whole.edges[a, b, k]
    assert networkx.is_directed_acyclic_graph(whole)


def test_networkx_holds_every_node_and_operand():
    graph = tiny()
    whole = graph.to_networkx()
    for i in range(len(graph)):
        data = whole.nodes[f"n{i}"]
        assert (data["op"], data["key"]) == (graph.ops[i], graph.keys[i])
        assert data["const"] == graph.consts[i]
        args, coefs = graph.operands(i)
        found = sorted(
            (d["operand"], a, d["coef"]) for a, _, d in whole.in_edges(f"n{i}", True)
        )
        expected = zip(args.tolist(), coefs.tolist(), strict=True)
        assert found == [(k, f"n{a}", c) for k, (a, c) in enumerate(expected)]
    named = {d["output"]: d["name"] for _, d in whole.nodes(data=True) if "name" in d}
    assert named == {0: "left", 1: "right"}


def test_an_operand_read_twice_is_two_edges():
    graph = trace(lambda x: (x[0] * x[0])[None], jnp.zeros(1))
    if graph.num_edges == 1:  # traced as a square
        graph = trace(lambda x: jnp.maximum(x[0], x[0])[None], jnp.zeros(1))
    assert graph.to_networkx().number_of_edges() == graph.num_edges


def test_numbers_that_are_not_finite_are_written_as_xml_does():
    graph = tiny()
    consts = np.array(graph.consts)
    consts[-3:] = np.inf, -np.inf, np.nan
    text = dataclasses.replace(graph, consts=consts).to_graphml()
    for word in ("INF", "-INF", "NaN"):
        assert f'<data key="const">{word}</data>' in text


def test_without_networkx_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "networkx", None)
    with pytest.raises(ImportError, match="pip install networkx"):
        tiny().to_networkx()


SPACE = "{http://www.w3.org/2000/svg}"


def drawn(text):
    root = ET.fromstring(text)
    texts = ["".join(t.itertext()) for t in root.iter(f"{SPACE}text")]
    return root, texts


@pytest.mark.parametrize("x", [None, np.array([0.5, 1.0, 0.25, 0.0], np.float32)])
@pytest.mark.parametrize("graph", [tiny(), tiny("scalar"), tiny("neuron"), hostile()])
def test_svg_has_a_box_for_every_node_and_a_line_for_every_edge(graph, x):
    root, texts = drawn(graph.to_svg(x))
    assert len(list(root.iter(f"{SPACE}g"))) == len(graph)
    assert len(list(root.iter(f"{SPACE}path"))) == graph.num_edges
    assert not list(root.iter(f"{SPACE}script"))
    sizes = re.findall(r"font(?:-size)?: (\d+)px", graph.to_svg(x))
    assert min(map(int, sizes)) >= 11
    if x is not None:
        values = np.asarray(graph.evaluate(x))
        shown = [t for t in texts if re.fullmatch(r"\[.*\]", t)]

        def number(t):
            return float(t[1:-1].replace("\u2212", "-"))

        np.testing.assert_allclose(
            sorted(map(number, shown)), sorted(values), atol=0.006
        )


def test_svg_shows_ranges_weights_and_colours():
    text = tiny().to_svg()
    _, texts = drawn(text)
    bounds = tiny().bounds("interval")

    def write(v):
        return f"{v:.2f}".replace("-0.00", "0.00").replace("-", "\u2212")

    for low, high in zip(bounds.low, bounds.high, strict=True):
        assert f"<{write(low)}, {write(high)}>" in texts
    for weight in KERNEL[KERNEL != 0]:
        assert weight == 1 or write(weight) in texts
    assert svg.COLORS["input"][0] in text and svg.COLORS["output"][0] in text
    assert dot.GREEN in text and dot.RED in text


def test_svg_draws_lines_by_the_value_they_carry():
    def fn(x):
        return (x[0] + 2 * x[1] + 3 * x[2])[None]

    graph = trace(fn, jnp.zeros(3), domain=(-9.0, 9.0))
    root, _ = drawn(graph.to_svg(np.array([4.0, -2.0, 0.0], np.float32)))
    lines = [
        (p.get("stroke"), float(p.get("stroke-width")))
        for p in root.iter(f"{SPACE}path")
    ]
    wide = dict(lines)
    assert set(wide) == {dot.GREEN, dot.RED, dot.GRAY}
    assert wide[dot.GREEN] > wide[dot.RED] > wide[dot.GRAY]


@pytest.mark.parametrize("level", ["dot", "neuron"])
def test_first_layer_is_drawn_as_pictures_of_weights(level, rng):
    graph, first = picture()
    graph = graph.at(level)
    x = (rng.random((4, 5)) * (rng.random((4, 5)) < 0.5)).astype(np.float32)
    shown, nodes = svg.pictures(graph)
    assert "input" not in shown.ops and len(shown) == len(graph) - len(graph.inputs)
    assert [graph.keys[i] for i in nodes] == list(shown.keys)
    assert shown.num_edges == graph.num_edges - np.count_nonzero(first)
    for given, each in ((None, 1), (x, 2)):
        root, _ = drawn(graph.to_svg(given))
        images = [i.get("href") for i in root.iter(f"{SPACE}image")]
        assert len(images) == 3 * each
        found = set()
        for address in images:
            kind, data = address.split(",")
            assert kind == "data:image/png;base64"
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
            found.add(_signs(pixels).tobytes())
        signs = [np.sign(first[:, k]).reshape(4, 5).astype(int) for k in range(3)]
        for sign in signs:
            assert sign.tobytes() in found
            if given is not None:
                assert (sign * (x > 0)).tobytes() in found


def _signs(pixels):
    red, green = pixels[..., 0].astype(int), pixels[..., 1].astype(int)
    return np.where(abs(red - green) < 5, 0, np.sign(green - red)).astype(int)


def test_pixels_that_something_else_reads_stay():
    kernel = jnp.ones((4, 1))

    def fn(x):
        return jax.nn.relu(x.reshape(-1) @ kernel) * x[0, 1]

    graph = trace(fn, jnp.zeros((2, 2)), image=(2, 2))
    shown, _ = svg.pictures(graph)
    assert shown.ops.count("input") == 1 and shown.inputs.tolist() == [1]
    drawn(graph.to_svg(np.ones((2, 2), np.float32)))


def test_large_drawings_and_wrong_inputs_are_refused(monkeypatch):
    monkeypatch.setattr(dot, "MOST_NODES", 5)
    monkeypatch.setattr(svg, "MOST_BOXES", 5)
    graph = tiny()
    for export in (graph.to_dot, graph.to_pydot, graph.to_svg):
        with pytest.raises(ValueError, match=r"boxes.*at most 5.*subgraph.*neuron"):
            export()
    with pytest.raises(ValueError, match=r"one input of shape \(4,\), got \(2, 4\)"):
        graph.to_svg(np.zeros((2, 4)))
