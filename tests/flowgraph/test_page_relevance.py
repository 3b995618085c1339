"""Relevance in the page of a flow graph: that of `Graph.relevance`, and with edits."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import flowgraph
from sparsejax.flowgraph._export.html import html as page
from sparsejax.flowgraph._relevance import FLAT

HELP = """
const broken = () => document.documentElement.hasAttribute("data-failed");
const report = (found) => parent === window ? document.body.append(
  sj.el("pre", { id: "found", hidden: true }, JSON.stringify(found)))
  : parent.postMessage(JSON.stringify(broken() ? "failed" : found), "*");
requestAnimationFrame = (run) => setTimeout(run); // no screen, no frames
const frame = (time = 20) => new Promise((done) => setTimeout(done, time));
const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const press = async (element) => { element.click(); await frame(); };
const button = (text) => all("button").find((b) => b.textContent === text);
const sums = () => JSON.parse(one(".account").dataset.sums);
"""


@pytest.fixture(scope="module")
def browse(tmp_path_factory, read_page):
    """A function that opens a page, runs a script in it and returns its report."""

    def open_page(text, script, state="", width=1400):
        folder = tmp_path_factory.mktemp("page")
        whole = f"(async () => {{ {script} }})().catch((error) => report(error.stack));"
        ended = text.replace("</body>", f"<script>{HELP}{whole}</script></body>")
        (folder / "index.html").write_text(ended)
        dom, report = read_page(
            f"{(folder / 'index.html').as_uri()}#{state}", width=width
        )
        assert not re.search("<html[^>]*data-failed", dom)
        for one in report if isinstance(width, list) and report else [report]:
            assert isinstance(one, dict), one or dom[-2000:]
        return report

    return open_page


# ---- The same numbers, whatever the operations


def operations(x):
    """Every way back: sums, functions, products, quotients, maxima, what is flat."""
    h = jnp.tanh(x @ KERNEL + 0.1)
    parts = [
        jax.nn.gelu(h[0]) * jax.nn.sigmoid(x[1]),
        h[1] / (1.5 + h[2]),
        jnp.maximum(jnp.max(x), h[0]) + jnp.clip(x[2], -0.2, 0.3),
        jnp.floor(x[0]) + jnp.exp(h[1]) ** 1.5,
        jnp.where(x[0] > 0, h[2], jax.nn.softplus(h[0])),
    ]
    return jnp.stack(parts)


KERNEL = jnp.asarray(np.random.default_rng(2).normal(size=(3, 3)), jnp.float32)
INPUTS = np.random.default_rng(3).uniform(-2, 2, (5, 3)).astype(np.float32)
INPUTS[0] = 1.5, 1.5, -1.0  # a tie


def test_the_page_computes_what_python_does(browse):
    graph = flowgraph.trace(operations, jnp.zeros(3), domain=(-2.0, 2.0))
    # The page computes with the shortest decimals of the graph's numbers.
    given = json.loads(graph.to_json())["nodes"]
    numbers = {name: np.array(given[name], float) for name in ("coefs", "consts")}
    sent = dataclasses.replace(graph, **numbers)
    script = f"""
    const [graph] = flow.graphs, {{ coefs, consts }} = graph;
    const plain = {{ fixed: new Map(), coefs, consts }};
    const numbers = {{ nodes: 0, multipliers: 0, edges: 0, bias: 0, constants: 0 }};
    report({{ flat: [...relevance.FLAT], found: {json.dumps(INPUTS.tolist())}.map((x) =>
      graph.outputs.map((node) => {{
        const all = relevance.explain(graph, engine.evaluate(graph, x), node, plain);
        return [...Object.keys(numbers).map((name) => [...all[name]]), all.sums];
      }})) }});
    """
    found = browse(page(graph), script)
    assert set(found["flat"]) == FLAT
    for x, outputs in zip(INPUTS, found["found"], strict=True):
        for k, (*parts, sums) in enumerate(outputs):
            r = sent.relevance(x, k)
            expected = r.nodes, r.multipliers, r.edges, r.bias, r.constants
            for part, numbers in zip(parts, expected, strict=True):
                np.testing.assert_allclose(part, numbers, rtol=1e-9, atol=1e-10)
            whole = sums["inputs"] + sums["biases"] + sums["constants"]
            assert abs(whole - sums["output"]) < 1e-10
            np.testing.assert_allclose(sums["output"], r.output, atol=1e-10)
            np.testing.assert_allclose(sums["inputs"], r.input.sum(), atol=1e-9)


# ---- As a reader sees it


def network():
    rng = np.random.default_rng(1)
    kernels = [
        jnp.asarray(rng.normal(size=size) * (rng.random(size) < 0.5), jnp.float32)
        for size in ((16, 6), (6, 5), (5, 3))
    ]
    return kernels, [jnp.asarray(rng.normal(size=6 - i), jnp.float32) for i in range(2)]


def forward(params, x, keep=None):
    kernels, biases = params
    for kernel, bias in zip(kernels, biases, strict=False):
        x = jax.nn.sigmoid(x @ kernel + bias)
    return (x if keep is None else x * keep) @ kernels[-1]


@pytest.fixture(scope="module")
def net():
    params = network()

    def fn(x):
        return forward(params, x)

    samples = np.random.default_rng(4).random((2, 16)).astype(np.float32)
    graph = flowgraph.trace(fn, jnp.zeros(16), image=(4, 4))
    return params, graph, samples, page(graph, samples=samples, fn=fn)


@pytest.mark.parametrize("level", ["scalar", "dot", "neuron"])
def test_edges_and_boxes_show_relevance(browse, net, level):
    _, graph, samples, text = net
    found = browse(
        text,
        """
        const { shown, list, shares, scales } = flow.panes[0].scene;
        const boxes = all(".box");
        report({
          boxes: boxes.map((b) => [b.dataset.key, Number(b.dataset.relevance),
            b.querySelector("text.value").textContent]),
          edges: list.map((l) => [shown.boxes[l.from].key, shown.boxes[l.to].key,
            l.relevance]),
          titles: all(".edge title").filter((t) =>
            t.textContent.includes(", relevance")).length,
          sums: sums(), said: one(".account").innerText,
          legend: one(".stage > .legend").innerText,
          caption: notes.caption(flow.panes[0].scene),
        });
        """,
        f"out=output_2&by=relevance&pics=0&level={level}&smp=1",
    )
    expected = graph.at(level).relevance(samples[1], 2)
    part = graph.at(level)
    by_key = dict(zip(part.keys, expected.nodes, strict=True))
    assert found["boxes"] and found["titles"] == len(found["edges"])
    for key, relevance, text in found["boxes"]:
        assert relevance == pytest.approx(by_key[key], abs=1e-5)
        assert text == f"R {relevance:.2f}".replace("-0.00", "0.00").replace("-", "−")
    owner = np.repeat(np.arange(len(part)), np.diff(part.starts))
    edges = {
        (part.keys[a], part.keys[b]): e
        for a, b, e in zip(part.args, owner, expected.edges, strict=True)
    }
    for a, b, relevance in found["edges"]:
        assert relevance == pytest.approx(edges[a, b], abs=1e-5)
    assert found["sums"]["output"] == pytest.approx(expected.output, abs=1e-5)
    assert found["sums"]["biases"] == pytest.approx(expected.bias.sum(), abs=1e-5)
    for word in ("Relevance for output_2", "inputs", "biases", "constants", "1 at the"):
        assert word in found["said"]
    assert "set" not in found["said"]
    assert "relevance > 0" in found["legend"]
    assert "relevance for output_2" in found["caption"]


def test_it_follows_choices_and_edits(browse, net):
    params, graph, samples, text = net
    unit = next(key for key in graph.keys if key.startswith("sigmoid_1["))
    place = int(re.findall(r"\d+", unit)[-1])
    found = browse(
        text,
        f"""
        const found = {{ before: all(".account").length }};
        await press(button("Relevance"));
        found.sums = [sums()];
        const select = one("#explained");
        found.options = [...select.options].map((o) => o.value);
        select.focus();
        select.value = "output_1";
        select.dispatchEvent(new Event("change", {{ bubbles: true }}));
        await frame();
        found.focus = document.activeElement.id;
        found.sums.push(sums());
        flow.actions.edit(["remove", {json.dumps(unit)}]);
        await frame();
        found.sums.push(sums());
        flow.actions.edit(["clamp", {json.dumps(unit)}, 2]);
        await frame();
        found.sums.push(sums());
        found.said = one(".account").innerText;
        const {{ graph, shares }} = flow.panes[0].scene;
        found.set = shares.nodes[graph.at.get({json.dumps(unit)})];
        flow.actions.reset();
        await press(all(".sample")[1]);
        found.sums.push(sums());
        flow.actions.select({json.dumps(unit)});
        await frame();
        found.panel = one(".panel").innerText;
        await frame(300);
        found.address = location.hash;
        await press(button("Value"));
        found.after = all(".account, #explained, [data-relevance]").length;
        report(found);
        """,
        "out=all",
    )
    assert found["before"] == found["after"] == 0
    assert found["options"] == ["output_0", "output_1", "output_2"]
    assert found["focus"] == "explained"
    assert "by=relevance" in found["address"] and "for=output_1" in found["address"]
    keep = np.ones(5, np.float32)
    outputs = [forward(params, samples[0])[k] for k in (0, 1)]
    outputs[0] = forward(params, samples[0]).max()  # the likely one, first
    keep[place] = 0.0
    removed = forward(params, samples[0], jnp.asarray(keep))[1]
    clamped = removed + 2 * params[0][2][place, 1]
    outputs += [removed, clamped, forward(params, samples[1])[1]]
    for sums, output in zip(found["sums"], outputs, strict=True):
        assert sums["output"] == pytest.approx(float(output), abs=1e-5)
        total = sums["inputs"] + sums["biases"] + sums["constants"] + sums["set"]
        assert total == pytest.approx(sums["output"], abs=1e-10)
    # What is set by hand is neither the input's nor a bias's.
    assert [sums["set"] for sums in found["sums"]] == [0, 0, 0, found["set"], 0]
    assert found["set"] == pytest.approx(2 * float(params[0][2][place, 1]), abs=1e-5)
    assert "set " in found["said"]
    assert re.search(r"Relevance .* for output_1, Q = ", found["panel"])


def test_nothing_overlaps(browse, net):
    _, graph, samples, _ = net
    reports = browse(
        page(graph, other=graph, samples=samples),
        """
        const rects = (selector) => all(selector).filter((e) => e.checkVisibility())
          .map((element) => element.getBoundingClientRect());
        const meet = (a, b) => a.left < b.right - 0.5 && b.left < a.right - 0.5 &&
          a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5;
        const overlaps = (list) => list.flatMap((a, i) =>
          list.slice(i + 1).filter((b) => meet(a, b))).length;
        report({ accounts: all(".account").length, maps: all(".account canvas").length,
          scroll: document.documentElement.scrollWidth - innerWidth,
          heights: all(".account").map((a) => a.offsetHeight),
          overlaps: [overlaps(rects("#flow > *, header, footer")),
            overlaps(rects(".account > *")),
            overlaps(rects(".bar button, .bar select, .bar input"))] });
        """,
        "out=all&by=relevance&for=output_2",
        [1400, 900],
    )
    for found in reports:
        assert found["accounts"] == found["maps"] == 2
        assert found["scroll"] <= 0 and max(found["heights"]) <= 96
        assert set(found["overlaps"]) == {0}
