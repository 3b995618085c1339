"""The page of a flow graph in a headless browser, against JAX.

A script at the page's end uses it as a reader would, and leaves its report in the DOM.
"""

import hashlib
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import flowgraph
from sparsejax.flowgraph._export.html import html as page
from sparsejax.flowgraph._ops import OPS

HELP = """
const broken = () => document.documentElement.hasAttribute("data-failed");
const report = (found) => parent === window ? document.body.append(
  sj.el("pre", { id: "found", hidden: true }, JSON.stringify(found)))
  : parent.postMessage(JSON.stringify(broken() ? "failed" : found), "*");
requestAnimationFrame = (run) => setTimeout(run); // no screen, no frames
const frame = (time = 20) => new Promise((done) => setTimeout(done, time));
const address = async (name) => { // written once nothing has changed for a while
  await frame(300);
  return new URLSearchParams(location.hash.slice(1)).get(name);
};
const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const score = (name) => Number(one(`[data-output="${name}"]`).dataset.value);
const box = (key) => one(`.box[data-key="${key}"]`);
const press = async (element) => { element.click(); await frame(); };
const tap = async (element) => {
  for (const type of ["pointerdown", "pointerup"]) {
    element.dispatchEvent(new PointerEvent(type, { bubbles: true }));
  }
  await frame();
};
const type = async (element, value, event) => {
  element.value = value;
  element.dispatchEvent(new Event(event, { bubbles: true }));
  await frame();
};
const labelled = (text) => one(`[aria-label="${text}"]`);
const button = (text, where = document) =>
  [...where.querySelectorAll("button")].find((b) => b.textContent === text);
"""


@pytest.fixture(scope="module")
def browse(tmp_path_factory, read_page):
    """A function that opens a page, runs a script in it and returns its report."""

    def open_page(text, script, state="", width=1400):
        folder = tmp_path_factory.mktemp("page")
        whole = f"(async () => {{ {script} }})().catch((error) => report(error.stack));"
        ended = text.replace("</body>", f"<script>{HELP}{whole}</script></body>")
        (folder / "index.html").write_text(ended)
        address = f"{(folder / 'index.html').as_uri()}#{state}"
        dom, report = read_page(address, width=width)
        assert not re.search("<html[^>]*data-failed", dom)
        for one in report if isinstance(width, list) and report else [report]:
            assert isinstance(one, dict), one or dom[-2000:]
        return report

    return open_page


WIDTHS = [1400, 900, 420]

# ---- A net like those of the source: 539 weights of 26,432, and its page


def forward(params, x, change=lambda layer, h: h):
    for layer, (kernel, bias) in enumerate(params):
        x = x @ kernel + bias
        if layer < 2:
            x = change(layer, jax.nn.relu(x))
    return x


def network(seed=0):
    rng = np.random.default_rng(seed)
    params = []
    for sizes, count in (((784, 32), 320), ((32, 32), 150), ((32, 10), 69)):
        kernel = np.zeros(np.prod(sizes), np.float32)
        at = rng.choice(kernel.size, count, replace=False)
        kernel[at] = rng.normal(size=count)
        bias = rng.normal(size=sizes[1], scale=0.2).astype(np.float32)
        params.append((jnp.asarray(kernel.reshape(sizes)), jnp.asarray(bias)))
    return params


def traced(params):
    def fn(x):
        return forward(params, x)

    return flowgraph.trace(fn, jnp.zeros(784), image=(28, 28))


@pytest.fixture(scope="module")
def net():
    params = network()
    return params, traced(params)


@pytest.fixture(scope="module")
def samples():
    pixels = np.random.default_rng(1).integers(0, 256, (6, 784))
    return pixels.astype(np.float32) / np.float32(255)


@pytest.fixture(scope="module")
def text(net, samples):
    params, graph = net
    labels = ["<script>document.title = 'run'</script>", 1, 2, 3, 4, 5]
    return page(
        graph,
        samples=samples,
        labels=labels,
        fn=lambda x: forward(params, x),
        data=samples,
        title="Six <b>samples</b>",
    )


def test_one_small_file_without_addresses(net, text):
    _, graph = net
    assert len(text.encode()) < 150_000
    addresses = set(re.findall(r"\w+://[^\s\"'`<)]*", text))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert hashlib.sha256(graph.to_json().encode()).hexdigest() in text
    error = re.search(
        r"JAX function: ([\d.e+-]+), over 6 inputs of the data and 6 samples", text
    )
    assert error and float(error[1]) < 1e-4


@pytest.fixture(scope="module")
def pure(browse, net, samples, text):
    """What the page's functions, without its DOM, make of the same graph."""
    script = """
    const [graph] = flow.graphs;
    const count = (output, level) => {
      const view = views.view(graph, [output], level, false);
      return [view.boxes.length, views.links(view).length];
    };
    const counts = graph.outputs.map((_, output) =>
      ["scalar", "dot", "neuron"].map((level) => count(output, level)));
    const grid = sj.data.grid;
    const table = Object.fromEntries(Object.entries(ops).map(([name, op]) =>
      [name, (sj.data.arity[name] === 1 ? grid.map((x) => op(x))
        : grid.flatMap((x) => grid.flatMap((y) => sj.data.arity[name] === 3
          ? grid.map((z) => op(x, y, z)) : [op(x, y)]))).map((v) =>
        Number.isFinite(v) ? v : String(v))]));
    const view = views.view(graph, [0], "neuron", true);
    const values = engine.evaluate(graph, sj.data.x);
    const plain = { coefs: graph.coefs, consts: graph.consts };
    const numbers = view.boxes.map((box) => views.valueOf(graph, box, values, plain));
    const list = views.measure(view, numbers, plain);
    const kept = (rule, amount) => {
      const left = views.hide(view, list, rule, amount);
      return views.links(left).map(({ from, to }) =>
        [left.boxes[from].key, left.boxes[to].key]);
    };
    report({
      counts, table, json: formats.json(graph),
      outputs: sj.data.inputs.map((x) =>
        graph.outputs.map((node) => engine.evaluate(graph, x)[node])),
      edges: list.map((link) => [view.boxes[link.from].key, view.boxes[link.to].key,
        link.contribution]),
      influence: [...views.influence(view, list)].map((share, i) =>
        [view.boxes[i].key, share]),
      abs: kept("abs", 0.5), rel: kept("rel", 50), top: kept("top", 70),
      all: kept("top", 100).length,
    });
    """
    extra = {
        "grid": GRID.tolist(),
        "arity": {name: op.arity or 2 for name, op in OPS.items()},
        "x": samples[0].tolist(),
        "inputs": samples.tolist(),
    }
    return browse(text, f"Object.assign(sj.data, {json.dumps(extra)});{script}")


GRID = np.array(
    [-7.3, -3.0, -2.5, -1.0, -0.5, -1e-9, 0.0, 0.3, 0.5, 1.0, 1.5, 2.5, 9.0]
)


@pytest.mark.parametrize("name", OPS)
def test_operations_are_those_of_the_table(pure, name):
    assert set(pure["table"]) == set(OPS)
    axes = [GRID] * (OPS[name].arity or 2)
    operands = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    with np.errstate(all="ignore"):
        expected = OPS[name].numpy(*operands)
    found = np.array([float(v) for v in pure["table"][name]])
    rtol = 1e-10 if name in ("erf", "erfc") else 1e-12
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-300)


def test_the_page_counts_and_computes_as_python_does(pure, net, samples):
    params, graph = net
    for output, counts in enumerate(pure["counts"]):
        part = graph.subgraph(output)
        levels = [part.at(level) for level in ("scalar", "dot", "neuron")]
        assert counts == [[g.num_vertices, g.num_edges] for g in levels]
    np.testing.assert_allclose(pure["outputs"], forward(params, samples), atol=1e-4)
    assert pure["json"] == graph.to_json()


def test_thresholds(pure):
    edges = [(a, b, abs(c)) for a, b, c in pure["edges"]]
    strongest = {}
    for _, target, size in edges:
        strongest[target] = max(strongest.get(target, 0), size)
    assert pure["abs"] == reaching([(a, b) for a, b, s in edges if s >= 0.5])
    relative = [(a, b) for a, b, s in edges if s >= strongest[b] / 2 and s > 0]
    assert pure["rel"] == reaching(relative)

    # w A + w A^2 + ... with A the contributions into a node, made to sum to 1.
    keys = [key for key, _ in pure["influence"]]
    matrix = np.zeros((len(keys), len(keys)))
    for a, b, size in edges:
        matrix[keys.index(b), keys.index(a)] = size
    matrix /= np.maximum(matrix.sum(axis=1, keepdims=True), 1e-30)
    step = total = np.eye(len(keys))[keys.index("output[0]")]
    while step.any():
        step = step @ matrix
        total = total + step
    np.testing.assert_allclose([share for _, share in pure["influence"]], total)
    share = {key: s for key, s in zip(keys, total, strict=True) if key != "output[0]"}
    kept = {key for edge in pure["top"] for key in edge} - {"output[0]"}
    assert sum(share[key] for key in kept) <= 0.7 * sum(share.values()) + max(
        share.values()
    )
    assert pure["all"] == sum(s > 0 and total[keys.index(b)] > 0 for _, b, s in edges)


def reaching(edges):
    """The edges from which the output can be reached by others of them."""
    kept = {"output[0]"}
    for a, b in reversed(edges):  # readers come after what they read
        if b in kept:
            kept.add(a)
    return [[a, b] for a, b in edges if b in kept]


# ---- Used as a reader would


def test_choosing_editing_and_searching(browse, net, samples, text):
    params, graph = net
    kernels = [np.asarray(kernel) for kernel, _ in params]
    unit = int(
        np.flatnonzero((kernels[2][:, 3] != 0) & (kernels[1] != 0).any(axis=0))[0]
    )
    source = int(np.flatnonzero(kernels[1][:, unit])[0])
    clamped = np.flatnonzero((kernels[2][:, 3] != 0) & (np.arange(32) != unit))[0]
    keys = [f"hidden_1[{unit}]", f"hidden_1[{clamped}]", f"hidden_0[{source}]"]
    script = f"""
    const [unit, clamped, source] = {json.dumps(names_in(graph, params, keys))};
    const found = {{ title: document.title,
      samples: all(".sample").map((s) => s.textContent),
      pressed: one("[data-output][aria-pressed=true]").dataset.output }};
    found.start = [score("output_3"), one(".pane").dataset.vertices,
      one(".pane").dataset.edges];
    found.certificate = one("#certificate").textContent;
    await tap(box(unit));
    found.panel = one(".panel").innerText;
    found.selected = await address("sel");
    await press(button("Remove", one(".panel")));
    found.removed = score("output_3");
    found.before = one(".edits").innerText;
    await tap(box(clamped));
    await type(labelled("Clamp to a value"), "2.5", "change");
    found.clamped = score("output_3");
    await press(button("Reset all"));
    await tap(box(unit));
    await type(labelled(`Weight from ${{source}}`), "-1.25", "change");
    found.weight = score("output_3");
    found.address = await address("edit");
    await type(labelled("Bias"), "1.5", "change");
    found.bias = score("output_3");
    await press(button("Reset all"));
    found.reset = score("output_3");
    await press(all(".sample")[4]);
    found.other = score("output_3");
    await type(one("#find"), "relu>0.5", "input");
    found.hits = [one(".find output").textContent, all(".box.found").length,
      all(".box").filter((b) => b.querySelector(".verb")?.textContent === "relu" ||
        b.classList.contains("picture")).filter((b) => b.dataset.value > 0.5).length];
    const key = (name, element) => element.dispatchEvent(
      new KeyboardEvent("keydown", {{ key: name, bubbles: true }}));
    const marked = all(".box.found").map((b) => b.dataset.key);
    key("Enter", one("#find"));
    found.next = [state.now.selected, marked];
    key("Delete", document.body);
    await frame();
    found.deleted = [all(".edits code").map((c) => c.textContent),
      Number(box(state.now.selected).dataset.value)];
    await press(button("Reset all"));
    await type(one("#find"), "", "input");
    await tap(box(unit));
    box(unit).dispatchEvent(new PointerEvent("pointerover", {{ bubbles: true }}));
    found.lit = all(".box.lit").map((b) => b.dataset.key);
    box(unit).dispatchEvent(new PointerEvent("pointerout", {{ bubbles: true }}));
    await press(button("Pin", one(".panel")));
    await press(button("Only these"));
    found.pinned = all(".box").map((b) => b.dataset.key);
    await press(button("Unpin"));
    await press(button("Dot"));
    found.dot = [one(".pane").dataset.vertices, one(".pane").dataset.edges];
    key("Enter", one("svg.graph"));
    found.focus = document.activeElement.dataset.key;
    key("ArrowUp", document.activeElement);
    found.up = document.activeElement.dataset.key;
    const pad = one(".pad"), place = pad.getBoundingClientRect();
    pad.setPointerCapture = () => 0;
    pad.dispatchEvent(new PointerEvent("pointerdown", {{ bubbles: true,
      clientX: place.x + place.width / 2, clientY: place.y + place.height / 2 }}));
    await frame();
    found.drawn = [one(".input .quiet").textContent, score("output_3") !== found.other,
      score("output_3"), state.now.x,
      (await address("draw")).length];
    const svg = flow.panes[0].file();
    found.svg = [svg.includes("var(--"), (await formats.png(svg)).size > 5000];
    report(found);
    """
    found = browse(text, script, state="out=output_3&smp=2&theme=dark")
    unit_key, clamped_key, source_key = names_in(graph, params, keys)

    def value(params, change=lambda layer, h: h):
        return float(forward(params, jnp.asarray(samples[2]), change)[3])

    def close(number):
        return pytest.approx(number, abs=1e-4)

    assert found["title"] == "Six <b>samples</b>"
    assert found["samples"][0].startswith("<script>document.title = 'run'</script> → ")
    part = graph.subgraph(3)
    neuron = part.at("neuron")
    assert found["pressed"] == "output_3"
    assert found["start"] == [
        close(value(params)),
        str(neuron.num_vertices),
        str(neuron.num_edges),
    ]
    assert (
        float(
            re.findall(r"[\d.]+(?:e−\d+)?$", found["certificate"].strip("."))[
                0
            ].replace("−", "-")
        )
        < 1e-4
    )
    for word in (unit_key, "Bias", "proved by intervals", "observed on 6 inputs", "In"):
        assert word in found["panel"]
    assert found["selected"] == unit_key

    def at(unit, to):
        return lambda layer, h: h.at[unit].set(to) if layer == 1 else h

    without = value(params, at(unit, 0.0))
    assert found["removed"] == close(without) != close(value(params))
    assert "output_3: " in found["before"] and unit_key in found["before"]

    def both(layer, h):
        return at(clamped, 2.5)(layer, at(unit, 0.0)(layer, h))

    assert found["clamped"] == close(value(params, both))
    (k1, b1), second, last = params
    edited = second[0].at[source, unit].set(-1.25)
    assert found["weight"] == close(value([(k1, b1), (edited, second[1]), last]))
    sum_key = next(edit[1] for edit in json.loads(found["address"]))
    assert json.loads(found["address"]) == [["weight", sum_key, source_key, -1.25]]
    shifted = second[1].at[unit].set(1.5)
    assert found["bias"] == close(value([(k1, b1), (edited, shifted), last]))
    assert found["reset"] == close(value(params))
    assert found["other"] == close(float(forward(params, samples[4])[3]))

    number, marked, expected = found["hits"]
    assert number == f"{marked} found" and marked == expected > 0
    assert found["next"][0] in found["next"][1]
    assert found["deleted"] == [[found["next"][0]], 0]
    assert {unit_key, "output[3]"} <= set(found["lit"])
    assert clamped_key not in found["lit"]
    assert unit_key in found["pinned"] and clamped_key not in found["pinned"]
    assert found["dot"] == [str(part.num_vertices), str(part.num_edges)]
    assert found["focus"] == "output[3]" and found["up"] != "output[3]"
    note, changed, drawn, x, length = found["drawn"]
    assert (note, changed, length) == ("your own", True, 4 * 262)
    assert drawn == close(float(forward(params, jnp.asarray(x, jnp.float32))[3]))
    assert found["svg"] == [False, True]


def names_in(graph, params, keys):
    """The graph's own keys of these units, found by what they compute."""
    return [key if key in graph.keys else _unit_key(graph, params, key) for key in keys]


def _unit_key(graph, params, key):
    layer, unit = map(int, re.findall(r"\d+", key))
    x = np.random.default_rng(5).random(784, np.float32)
    caught = []
    forward(params, jnp.asarray(x), lambda i, h: caught.append(h) or h)
    values = np.asarray(graph.evaluate(x))
    relus = [i for i, op in enumerate(graph.ops) if op == "relu"]
    return graph.keys[min(relus, key=lambda i: abs(values[i] - caught[layer][unit]))]


def test_state_in_the_address(browse, net, samples, text):
    _, graph = net
    key = next(k for k, op in zip(graph.keys, graph.ops, strict=True) if op == "relu")
    edits = json.dumps([["clamp", key, 3], ["clamp", "nowhere", 1], ["?"], 7])
    state = (
        f"out=all&smp=5&level=dot&pics=0&by=contribution&hide=abs&amount=1&edit={edits}"
        "&theme=dark&signs=blue-orange"
    )
    found = browse(
        text,
        """
        report({
          pressed: all(".toolbar [aria-pressed=true], .all[aria-pressed=true], " +
            ".sample[aria-pressed=true]")
            .map((b) => b.value || b.dataset.sample || "all"),
          rule: one("#rule").value, shown: one(".shown").textContent,
          lines: Number(one(".pane").dataset.lines), edges: one(".pane").dataset.edges,
          chips: all(".edits .chip code").map((c) => c.textContent),
          badge: one(".box .badge")?.textContent,
        });
        """,
        state,
    )
    assert found["pressed"] == ["5", "all", "dot", "0", "contribution"]
    assert found["rule"] == "abs"
    assert found["edges"] == str(graph.num_edges)
    shown = re.match(r"([\d,]+) of ([\d,]+) edges shown", found["shown"])
    assert shown and int(shown[1]) == found["lines"] < graph.num_edges
    assert shown[2] == f"{graph.num_edges:,}"
    assert found["chips"][0] == key


# ---- Two graphs, sliders, other widths


def test_side_by_side_without_overlaps(browse, net, samples):
    params, graph = net
    (k1, b1), (k2, b2), last = params
    i, j = np.argwhere(np.asarray(k2))[0]
    other = traced([(k1, b1), (k2.at[i, j].multiply(2.0), b2), last])
    text = page(graph, other=other, samples=samples, title="Before and after " * 6)
    reports = browse(
        text,
        """
        const size = (element) => parseFloat(getComputedStyle(element).fontSize);
        const texts = all("body *").filter((element) => element.checkVisibility() &&
          !element.closest("svg") && [...element.childNodes].some((node) =>
            node.nodeType === 3 && node.data.trim()));
        const rects = (selector) => all(selector).filter((e) => e.checkVisibility())
          .map((element) => element.getBoundingClientRect());
        const meet = (a, b) => a.left < b.right - 0.5 && b.left < a.right - 0.5 &&
          a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5;
        const overlaps = (list) => list.flatMap((a, i) =>
          list.slice(i + 1).filter((b) => meet(a, b))).length;
        const panes = all(".pane");
        report({
          differs: panes.map((p) => [...p.querySelectorAll(".differs, .only")]
            .map((b) => b.dataset.key)),
          scores: all("[data-output] .numbers b").length,
          smallest: Math.min(...texts.map(size)),
          scroll: document.documentElement.scrollWidth - innerWidth,
          overlaps: [overlaps(rects("#flow > *, header, footer")),
            overlaps(rects(".band > section")),
            overlaps(rects(".bar button, .bar select, .bar input")),
            overlaps(rects(".zooms, .files, .shown")),
            ...panes.map((p, i) => overlaps(rects(`[data-pane="${i}"] .box > rect`)))],
        });
        """,
        "out=all",
        WIDTHS,
    )
    for width, found in zip(WIDTHS, reports, strict=True):
        first, second = found["differs"]
        assert first == second and len(first) == 1, width
        assert found["scores"] == 20, width
        assert found["smallest"] >= 11, width
        assert found["scroll"] <= 0, width
        assert set(found["overlaps"]) == {0}, width


def test_notes_leave_the_drawing_alone(browse, text):
    """In lines that can be read, between the buttons and the first boxes."""
    widths = [*WIDTHS, 640, 360]
    reports = browse(
        text,
        """
        const rect = (element) => element.getBoundingClientRect();
        const shown = one(".pane .shown"), note = rect(shown);
        const range = document.createRange();
        range.selectNodeContents(shown);
        const lines = [...range.getClientRects()];
        const inside = (a, b) => a.left < b.right - 0.5 && b.left < a.right - 0.5 &&
          a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5;
        const count = (selector) => all(selector).filter((element) =>
          lines.some((line) => inside(line, rect(element)))).length;
        report({
          covered: [count(".box > .shape"), count(".zooms"), count(".files")],
          buttons: inside(rect(one(".zooms")), rect(one(".files"))),
          narrowest: note.width, lines: lines.length,
          scroll: document.documentElement.scrollWidth - innerWidth,
        });
        """,
        width=widths,
    )
    for width, found in zip(widths, reports, strict=True):
        assert found["covered"] == [0, 0, 0] and not found["buttons"], width
        assert found["narrowest"] > 250 and found["lines"] <= 3, width
        assert found["scroll"] <= 0, width


def test_sliders_and_named_operations(browse):
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)

    def fn(x):
        return jax.nn.gelu(jnp.tanh(x @ kernel)) @ kernel.T[:, :2]

    names = ["<img src=x onerror=alert(1)>", "b", "c", "d"]
    graph = flowgraph.trace(fn, jnp.zeros(4), domain=(-2.0, 2.0), names=names)
    text = page(graph, data=np.random.default_rng(0).uniform(-2, 2, (9, 4)))
    x = [0.5, -1.0, 2.0, 0.25]
    found = browse(
        text,
        """
        const found = { images: all("#flow img").length, given: flow.now.sample,
          knobs: all(".knob span").map((s) => s.textContent),
          start: [score("output_0")] };
        await type(all(".knob input[type=range]")[1], "1.5", "input");
        found.moved = score("output_0");
        found.address = await address("x");
        report(found);
        """,
        f"x={json.dumps(x)}",
    )

    def close(number):
        return pytest.approx(float(number), abs=1e-4)

    assert found["images"] == 0 and found["knobs"] == names
    assert found["start"] == [close(fn(jnp.asarray(x))[0])]
    moved = [0.5, 1.5, 2.0, 0.25]
    assert found["moved"] == close(fn(jnp.asarray(moved))[0])
    assert json.loads(found["address"]) == moved


# ---- What must not be claimed, and what is not finite


@pytest.fixture(scope="module")
def small():
    """A net of 8 by 8 pixels: an output in use, one that bounds fix, and a constant."""
    rng = np.random.default_rng(3)
    kernel = jnp.asarray(rng.normal(size=(64, 3)), jnp.float32)

    def fn(x):
        dead = jax.nn.relu(-x[0] - x[9] - 1.0)
        used = jax.nn.relu(x @ kernel) @ jnp.asarray([1.0, -2.0, 0.5])
        return jnp.stack([used, 2.0 * dead + 3.0, jnp.float32(7.0)])

    return fn, flowgraph.trace(fn, jnp.zeros(64), image=(8, 8))


def test_claims_follow_the_edits(browse, small):
    fn, graph = small
    data = np.random.default_rng(4).random((20, 64)).astype(np.float32)
    text = page(graph, samples=data[:2], fn=fn, data=data, title="Small")
    [dead] = [flag.key for flag in graph.flags() if flag.kind == "dead unit"]
    found = browse(
        text,
        """
        const found = { constants: all(".constant").map((c) => c.textContent),
          titles: all("[data-output]").map((b) => b.title.split(":")[0]),
          hint: one("#find").placeholder, alarms: all(".alarm").length };
        const fresh = () => [one(".flags").classList.contains("stale"),
          one(".flags .label").textContent];
        found.before = fresh();
        await type(one("#find"), "x[1,1]", "input");
        found.pixel = all(".box.found").length;
        await type(one("#find"), "", "input");
        for (const chip of all(".flag")) chip.open = true;
        await press(button(DEAD));
        found.jump = [state.now.output, state.now.selected];
        found.known = one(".panel .known").className;
        await press(all("[data-output]")[0]);
        await press(button("Scalar"));
        await press(button("Boxes"));
        const product = all(".box").find((b) => b.dataset.key.includes("*"));
        await tap(product);
        document.body.dispatchEvent(
          new KeyboardEvent("keydown", { key: "Delete", bubbles: true }));
        await frame();
        found.product = product.dataset.key.split("*");
        found.edits = state.now.edits[0];
        found.after = fresh();
        found.left = all(".constant").length;
        await tap(all(".box").find((b) => b.querySelector(".verb")?.textContent ===
          "relu"));
        found.old = [one(".panel .known").className, one(".panel .known").innerText];
        await press(button("Neuron"));
        found.kept = all(".box.selected").length;
        await type(one("#rule"), "abs", "change");
        const svg = flow.panes[0].file(notes.caption(flow.panes[0].scene));
        found.svg = [...new DOMParser().parseFromString(svg, "image/svg+xml")
          .querySelectorAll("svg > text")].map((line) => line.textContent).join(" · ");
        found.dot = formats.dot(flow.panes[0].scene,
          notes.caption(flow.panes[0].scene)).split("\\n")[0];
        found.png = [[300, 200], [20000, 100], [10000, 10000]].map((size) =>
          formats.scaleOf(...size));
        report(found);
        """.replace("DEAD", json.dumps(dead)),
        "out=output_0",
    )
    assert found["constants"] == ["constant", "constant"]
    assert found["titles"] == [
        "output_0",
        "output_1, constant (proof",
        "output_2, constant (proof",
    ]
    assert found["hint"].split(", ")[1] in graph.keys
    assert found["alarms"] == 0
    assert found["before"] == [False, "Noticed"]
    assert found["pixel"] == 3
    assert found["jump"] == ["output_1", dead]
    assert found["known"] == "known"
    owner, operand = found["product"]
    assert found["edits"] == [["weight", owner, operand, 0]]
    assert found["after"] == [True, "Noticed of the network before your edits"]
    assert found["left"] == 1
    assert found["old"][0] == "known stale"
    assert "Of the network before your edits" in found["old"][1]
    assert found["kept"] == 1
    for caption in (found["svg"], found["dot"]):
        for word in (
            "Small",
            "output_0",
            "sample 1",
            "|contribution|",
            "hidden",
            "1 edit",
        ):
            assert word in caption
    assert found["dot"].startswith("// ")
    assert found["png"] == [2, 0.8, 0.8]


def test_domains_without_ends(browse):
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(64, 2)), jnp.float32)

    def fn(x):
        return jnp.exp(x @ kernel)

    graph = flowgraph.trace(fn, jnp.zeros(64), domain=(-np.inf, np.inf), image=(8, 8))
    text = page(graph, fn=fn)
    assert "256 inputs drawn at random" in text and 'class="alarm"' not in text
    samples = np.stack([np.zeros(64), 1e3 * np.sign(kernel[:, 0])])
    text = page(graph, fn=fn, samples=samples, data=samples)
    assert "over 2 inputs of the data and 2 samples; not of" in text
    wrong = page(graph, fn=lambda x: fn(x) + 1.0, samples=samples)
    assert "does not compute what the JAX function does" in wrong
    found = browse(
        text,
        """
        if (state.now.level === "dot") { // as entered below, after the page's reload
          return report({ ...JSON.parse(sessionStorage.found), level: "dot" });
        }
        const found = { alarms: all(".alarm").length };
        await press(all(".sample")[1]);
        found.infinite = one("[data-output=output_0] b").textContent;
        await press(button("Clear"));
        const pad = one(".pad"), place = pad.getBoundingClientRect();
        pad.setPointerCapture = () => 0;
        const at = (name, x) => pad.dispatchEvent(new PointerEvent(name, {
          bubbles: true, buttons: 1, clientX: place.x + x * place.width,
          clientY: place.y + 0.45 * place.height }));
        at("pointerdown", 0.05);
        at("pointermove", 0.95);
        await frame();
        found.row = state.now.x.slice(24, 32);
        found.draw = (await address("draw")).length;
        sessionStorage.found = JSON.stringify(found);
        location.hash = "level=dot";
        """,
    )
    assert found["alarms"] == 0
    assert found["infinite"] == "∞"
    assert min(found["row"]) > 0 and np.isfinite(found["row"]).all()
    assert found["draw"] == 88
    assert found["level"] == "dot"
    narrow = flowgraph.trace(
        lambda x: x @ kernel[:3], jnp.zeros(3), domain=(-np.inf, np.inf)
    )
    found = browse(
        page(narrow, samples=np.array([[5.0, 0, 0], [-1.0, 0, 0]])),
        """
        report({ ends: all(".knob input[type=range]").map((r) => [+r.min, +r.max]) });
        """,
    )
    assert found["ends"] == [[-1, 5], [-1, 1], [-1, 1]]


def test_large_drawings_start_with_a_part(browse):
    rng = np.random.default_rng(0)
    first = jnp.asarray(rng.normal(size=(16, 500)), jnp.float32)
    last = jnp.asarray(rng.normal(size=500), jnp.float32)

    def fn(x):
        return jax.nn.relu(x @ first) @ last

    graph = flowgraph.trace(fn, jnp.zeros(16), image=(4, 4))
    found = browse(
        page(graph, samples=rng.random((1, 16)), fn=fn),
        """
        const boxes = () => Number(one(".pane").dataset.boxes);
        const found = { start: [state.now.rule, boxes(), one(".begun").textContent] };
        await press(button("Show all"));
        found.all = [state.now.rule, boxes(), one(".begun").textContent];
        found.address = await address("hide");
        report(found);
        """,
    )
    rule, count, said = found["start"]
    assert rule == "top" and count < 500 and "of the influence" in said
    assert found["all"] == ["none", 501, ""]
    assert found["address"] == "none"  # whoever gets the address sees all of it too


# ---- What does not fit


def test_bad_arguments(net, samples, tmp_path):
    params, graph = net
    small = flowgraph.trace(lambda x: x * 2.0, jnp.zeros(3))
    with pytest.raises(ValueError, match=r"samples have shape \(6, 28, 28\), expected"):
        page(graph, samples=samples.reshape(6, 28, 28))
    with pytest.raises(ValueError, match="6 samples have 2 labels"):
        page(graph, samples=samples, labels=[1, 2])
    with pytest.raises(ValueError, match="data hold numbers that are not finite"):
        page(graph, data=samples * np.float32(np.nan))
    with pytest.raises(ValueError, match="the two graphs differ in shape"):
        page(graph, other=small)
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(200, 180)), jnp.float32)
    wide = flowgraph.trace(lambda x: kernel @ x, jnp.zeros(180))
    with pytest.raises(ValueError, match=r"36,000 edges to draw.*subgraph"):
        page(wide)
    path = tmp_path / "flow.html"
    with pytest.raises(ValueError, match="labels"):
        graph.save_html(path, samples=samples, labels=[])
    assert not path.exists()
    graph.save_html(path, samples=samples)
    assert path.read_text().startswith("<!doctype html>")
