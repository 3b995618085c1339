"""What results show of themselves in a notebook."""

import ast
import re
from html import unescape
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import pages

EVIL = "<script>alert('x')</script>"


def rows(html):
    """The texts of a table's cells, row by row."""
    body = re.sub(r"<style>.*?</style>", "", html)
    return [
        [
            unescape(re.sub("<[^>]*>", "", c))
            for c in re.findall(r"<td[^>]*>(.*?)</td>", r)
        ]
        for r in re.findall(r"<tr>(.*?)</tr>", body)
    ]


def test_listings_are_cut_with_a_count():
    html = pages.listing(
        ((i, i / 4) for i in range(25)), ("n", "x"), title="T", most=20
    )
    assert rows(html)[1:] == [[str(i), f"{i / 4:.2f}"] for i in range(20)]
    assert "… and 5 more rows" in html and html.count('class="number"') == 42
    assert "more row" not in pages.listing([(1,)], ("n",))
    assert "… and 1 more row<" in pages.listing([(1,)] * 2, ("n",), most=1)


def test_what_users_name_is_escaped():
    html = pages.listing([(EVIL,)], (EVIL,), title=EVIL)
    html += sj.masks.Masks({EVIL: jnp.ones(2)}, {EVIL: jnp.ones(3)})._repr_html_()
    html += pages.signed(np.eye(3), EVIL) + pages.signed(np.ones(2), EVIL)
    assert "<script" not in html


def test_a_page_is_shut_off():
    page = pages.page('It\'s "A" & <b>', footer="F.", script="sj.x = `a'b&c`;")
    html = page._repr_html_()
    start, inside, end = re.fullmatch(
        r"(<iframe [^']*)'([^']*)'(></iframe>)", html
    ).groups()
    assert 'sandbox="allow-scripts allow-downloads"' in start
    assert "allow-same-origin" not in start
    assert unescape(inside) == page
    assert repr(page) == f"Page({len(page):,} characters)"


@pytest.mark.parametrize("value, left, width", [(1, 50, 50), (-2, 0, 50), (0, 50, 0)])
def test_bars(value, left, width):
    assert f"left:{left:.1f}%;width:{width:.1f}%" in pages.bar(value, 1)


def test_bars_of_nothing():
    assert "width:0.0%" in pages.bar(0, 0) and "width:0.0%" in pages.bar(np.nan, 1)
    assert "width:25.0%" in pages.share(0.25) and "width:100.0%" in pages.share(7)


def test_values_of_pictures_are_maps():
    assert pages.signed(np.eye(8), "r").startswith("<img")
    assert pages.signed(np.ones((8, 8, 3)), "r").startswith("<img")
    table = pages.signed(np.array([[0.0, -3.0, 0.0, 1.0]]), "r")
    assert [row[:2] for row in rows(table)[1:]] == [["0, 1", "−3"], ["0, 3", "1"]]


@pytest.mark.filterwarnings("error")
def test_values_that_are_not_finite_are_counted():
    for shape in [(8, 8), (9,)]:
        values = np.full(shape, np.nan)
        values.flat[3] = -1e308
        html = pages.signed(values, "r")
        assert f"{values.size - 1} of {values.size} values of the r are not" in html
        assert "map of the r" in html or rows(html)[1][:2] == ["3", "−1e+308"]
    assert "not finite" not in pages.signed(np.eye(8), "r")
    assert rows(pages.signed(np.float32(2), "r"))[1][:2] == ["0", "2"]


@pytest.mark.filterwarnings("error")
def test_pictures_that_diverged_are_drawn():
    images = np.full((2, 4, 4, 3), np.nan, np.float32)
    images[0, 0, 0] = 1, 2, np.inf
    pictures = sj.features.Pictures(images, np.array([np.nan, 1]), (0, 1), images[0])
    assert "unit 0: nan" in pictures._repr_html_()


@pytest.mark.parametrize(
    "result",
    [
        sj.masks.Masks({"w": jnp.ones(2)}, {"h": jnp.ones(2)}),
        sj.relevance.Relevance(jnp.ones(()), *[jnp.ones(2)] * 2, *[{}] * 5),
    ],
    ids=lambda result: type(result).__name__,
)
def test_any_tree_of_a_result_has_a_text(result):
    """Tracers, axes of a `vmap` and donated arrays stand in leaves, too."""
    name = type(result).__name__

    @jax.jit
    def traced(result):
        assert repr(result).startswith(f"{name}(")
        assert result._repr_html_() is None
        return result

    traced(result)
    axes = type(result)(*[None] * len(result))
    assert repr(axes) == f"{name}({', '.join(f'{f}=None' for f in result._fields)})"
    assert axes._repr_html_() is None
    donated = jax.tree.map(jnp.copy, result)
    jax.tree.map(lambda leaf: leaf.delete(), donated)
    assert repr(donated) == repr(result) and donated._repr_html_() is None


def test_every_display_can_leave_it_to_the_text():
    folder = Path(sj.__file__).parent
    displays = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "_repr_html_":
                displays[path.name, node.lineno] = node.decorator_list
    assert len(displays) > 20
    plain = [place for place, decorators in displays.items() if not decorators]
    assert [name for name, _ in plain] == ["_document.py"]  # a page is text already


def test_masks():
    masks = sj.masks.Masks(
        {"w": jnp.array([[1.0, 0.0], [0.0, 0.0]]), "b": jnp.ones(())},
        {"hidden": jnp.array([1.0, 1.0, 0.0])},
    )
    line = "Masks(weights: 4 entries in 1 of 2 arrays; nodes: hidden (3,))"
    assert repr(masks) == line
    html = masks._repr_html_()
    assert "1 of 4 weights kept, 2 of 3 nodes kept" in html
    assert sorted(row[:6] for row in rows(html)[1:]) == [
        ["nodes", "hidden", "3", "2", "3", "66.7%"],
        ["weights", "b", "never\u00a0pruned", "–", "–", "–"],
        ["weights", "w", "2\u00a0×\u00a02", "1", "4", "25.0%"],
    ]


def test_relevance_shows_its_sum():
    r = sj.relevance.Relevance(
        output=jnp.float32(3.0),
        input=jnp.array([1.0, 0.5]),
        multiplier=jnp.ones(2),
        bias={"b": jnp.array([1.0, -0.25])},
        constants={},
        absorbed={},
        nodes={},
        edges={},
    )
    assert repr(r) == "Relevance(input (2,), 1 bias, 0 constants, 0 named activations)"
    shown = [row[:2] for row in rows(r._repr_html_())[1:6]]
    assert shown == [
        ["input", "1.5000"], ["bias b", "0.7500"], ["sum", "2.2500"],
        ["output", "3.0000"], ["residual", "−0.75"],
    ]  # fmt: skip


def test_graphs_are_pages_or_say_what_they_are():
    x = jnp.ones(3)
    graph = sj.flowgraph.trace(lambda x: jnp.maximum(x @ jnp.ones((3, 2)), 0.0), x)
    assert graph._repr_html_() == graph.to_html()._repr_html_()
    kernel = np.random.default_rng(0).normal(size=(80, 80)).astype(np.float32)
    large = sj.flowgraph.trace(lambda x: x @ kernel, jnp.ones(80))
    html = large._repr_html_()
    assert "<iframe" not in html and "save_html" in html and "affine" in html
    assert len(html) < 10_000
    assert "ignored input" not in graph.flags()._repr_html_()
    assert rows(graph.bounds()._repr_html_())[1:]


WIDEN = """<pre id="found" hidden></pre><script>
const frame = document.querySelector("iframe");
const found = document.getElementById("found");
setTimeout(() => { frame.style.width = "900px"; }, 500);
setTimeout(() => {
  const { documentElement: root } = frame.contentDocument;
  found.textContent = JSON.stringify({ failed: root.hasAttribute("data-failed"),
    boxes: root.querySelectorAll("svg [data-key]").length });
}, 1500);
</script>"""


@pytest.mark.slow
def test_a_graph_is_drawn_in_a_frame_that_opens_later(tmp_path, read_page):
    graph = sj.flowgraph.trace(lambda x: jnp.maximum(x @ jnp.eye(3), 0), jnp.ones(3))
    html = graph._repr_html_().replace("width:100%", "width:1px")
    html = re.sub(r' sandbox="[^"]*"', "", html)  # to look inside
    page = tmp_path / "notebook.html"
    page.write_text(f"<!doctype html><body>{html}{WIDEN}", encoding="utf-8")
    _, found = read_page(page.as_uri())
    assert found == {"failed": False, "boxes": len(graph.at("neuron"))}


def test_tables_of_subsets():
    values = np.array([4.0, 1.0, 3.0, 0.0])
    html = sj.hypercube.best(values)._repr_html_()
    assert rows(html)[1:] == [["0", "4", ""], ["1", "1", "0"], ["2", "0", "0, 1"]]
