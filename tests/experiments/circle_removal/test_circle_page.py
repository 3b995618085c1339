"""The circle page in a headless browser, against NumPy in float64.

A script at the page's end uses it as a reader would, and leaves its report in the DOM.
"""

import re

import matplotlib
import numpy as np
import pytest

from sparsejax import hypercube
from sparsejax.experiments.circle_removal import nodes_page

RADIUS = 0.8
KEEPS = [0.25, 0.5, 0.75]

HELP = """
const report = (found) => document.body.append(
  sj.el("pre", { id: "found", hidden: true }, JSON.stringify(found)));
const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const wait = (time) => new Promise((done) => setTimeout(done, time));
const button = (text) => all("button").find((b) => b.textContent === text);
const press = (text) => button(text).click();
const fact = (name) => Number(one(`[data-fact="${name}"] dd`).dataset.value);
const nodes = () => all(".node");
const mask = () => nodes().reduce((sum, node, i) =>
  sum + 2 ** i * (node.getAttribute("aria-pressed") === "true"), 0);
const to = (wanted) => nodes().forEach((node, i) => { // by clicks alone
  if ((wanted >> i & 1) !== (mask() >> i & 1)) node.click();
});
const pixels = (canvas) => Array.from(
  canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
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
        dom, found = read_page(address, width=width)
        assert not re.search("<html[^>]*data-failed", dom), dom[-3000:]
        assert isinstance(found, dict), found
        return found

    return open_page


# ---- The oracle


class Net:
    """A random network with strong interactions, and all that follows from it."""

    def __init__(self, n, points=60, seed=0):
        rng = np.random.default_rng(seed)

        def draw(*shape):
            return rng.normal(size=shape).astype(np.float32)

        self.n = n
        self.w0, self.b0, self.w1, self.b1 = draw(2, n), draw(n), draw(n, 2), draw(2)
        self.x = rng.uniform(-1, 1, (points, 2)).astype(np.float32)
        self.y = (np.hypot(*self.x.T) > RADIUS).astype(np.int32)
        self.subsets = np.arange(1 << n)[:, None] >> np.arange(n) & 1
        z = self.subsets @ self.votes(self.x).T + self.shift
        sign = np.where(self.y == 1, -1, 1)
        self.losses = np.logaddexp(0, sign * z).mean(axis=1)
        self.accuracies = ((z > 0) == (self.y == 1)).mean(axis=1)
        self.size = self.subsets.sum(axis=1)

    @property
    def shift(self):
        return np.float64(self.b1[1]) - np.float64(self.b1[0])

    def votes(self, x):
        w0, b0, w1 = (a.astype(np.float64) for a in (self.w0, self.b0, self.w1))
        return np.maximum(x @ w0 + b0, 0) * (w1[:, 1] - w1[:, 0])

    def params(self):
        return {
            "dense_0": {"kernel": self.w0, "bias": self.b0},
            "dense_1": {"kernel": self.w1, "bias": self.b1},
        }

    def page(self, **options):
        test = (self.x, self.y)
        return nodes_page.page(
            self.params(), test, self.losses, radius=RADIUS, **options
        )

    def better(self, m, keep):
        """The share of networks with a higher loss, at a keep probability."""
        chance = keep**self.size * (1 - keep) ** (self.n - self.size)
        return chance[self.losses > self.losses[m] + 1e-9].sum()

    def rank(self, m):
        same = self.losses[self.size == self.size[m]]
        return 1 + (same < self.losses[m] - 1e-9).sum()


@pytest.fixture(scope="module")
def net():
    return Net(6, seed=8)


VISITED = [63, 0, 1, 37, 22, 58]

SCRIPT = """
const found = { start: mask(), seen: [],
  focusable: nodes().every((node) => node.tabIndex >= 0) };
for (const wanted of VISITED) {
  to(wanted);
  const better = [];
  for (const keep of [0.25, 0.5, 0.75]) {
    all('[aria-label="Keep probability"] button').find((b) => b.value == keep).click();
    better.push(fact("better"));
  }
  found.seen.push({ mask: mask(), loss: fact("loss"), accuracy: fact("accuracy"),
    kept: fact("kept"), rank: fact("rank"), better, text: one('[data-fact="loss"] dd')
      .textContent, flips: nodes().map((node) => Number(node.dataset.change)),
    next: nodes().findIndex((node) => node.classList.contains("next")) });
}
press("Undo");
found.undone = mask();
to(37);
press("Flip all");
found.flipped = mask();
press("All off");
found.off = mask();
press("All on");
found.on = mask();

const input = one(".slider input");
const slide = (k) => { input.value = k; input.dispatchEvent(new Event("input")); };
found.best = [];
found.top = [];
for (let k = 0; k <= 6; k++) {
  slide(k);
  found.best.push([mask(), fact("loss"), button(`Best ${k}`).ariaPressed]);
}
for (let k = 0; k <= 6; k++) {
  slide(k);
  press(`Top ${k} by Shapley`);
  found.top.push(mask());
}
slide(3);
found.remembered = mask();
all(".bysize .spot.best")[2].dispatchEvent(new MouseEvent("click"));
found.spot = mask();

to(22);
press("Random walk");
found.walk = [mask()];
for (let k = 0; k < 6; k++) { press("Step"); found.walk.push(mask()); }
found.ended = [button("Step").disabled, button("Play").disabled];
found.said = one(".walk + .say").textContent;
to(22);
press("Random walk");
found.running = button("Pause") !== undefined;
await wait(4000);
found.played = mask();
to(0);
press("Downhill");
await wait(4000);
found.low = [mask(), one(".nodes + .say").textContent];

to(37);
const canvases = all(".stage canvas");
found.surface = pixels(canvases[0]);
found.width = canvases[0].width;
const box = canvases[0].getBoundingClientRect();
canvases[0].dispatchEvent(new PointerEvent("pointermove", {
  clientX: box.left + box.width * 0.75, clientY: box.top + box.height * 0.25 }));
found.read = all(".stage + .say").map((said) => said.textContent);
found.pointwise = [...circle.now.second];
press("Gradient");
nodes()[2].dispatchEvent(new Event("pointerenter"));
found.gradient = [...circle.now.second];
found.requests = performance.getEntriesByType("resource").length;
found.images = document.images.length;
found.title = one("h1").textContent;
await wait(400);
found.address = location.hash;
report(found);
"""


@pytest.fixture(scope="module")
def found(net, browse):
    page = net.page(
        title="<img src=x onerror=alert(1)>", lead="a <b>", footer="</script>"
    )
    return browse(page, SCRIPT.replace("VISITED", str(VISITED)))


def test_what_is_shown_of_a_network_is_what_numpy_computes(found, net):
    assert found["start"] == 63 and found["focusable"]
    for m, seen in zip(VISITED, found["seen"], strict=True):
        assert seen["mask"] == m
        assert seen["loss"] == pytest.approx(net.losses[m], abs=1e-9)
        assert seen["text"] == f"{net.losses[m]:#.3g}"
        assert seen["accuracy"] == pytest.approx(net.accuracies[m])
        assert seen["kept"] == net.size[m]
        flips = net.losses[m ^ (1 << np.arange(6))] - net.losses[m]
        np.testing.assert_allclose(seen["flips"], flips, atol=1e-9)
        assert seen["next"] == (flips.argmin() if flips.min() < 0 else -1)


def test_the_place_among_all_is_exact(found, net):
    for m, seen in zip(VISITED, found["seen"], strict=True):
        assert seen["rank"] == net.rank(m)
        exact = [net.better(m, keep) for keep in KEEPS]
        np.testing.assert_allclose(seen["better"], exact, atol=1e-12)


def test_buttons_change_the_whole_network(found):
    # The last network was reached from 22 by several clicks.
    assert np.bitwise_count(found["undone"] ^ VISITED[-1]) == 1
    assert found["flipped"] == 63 ^ 37
    assert (found["off"], found["on"]) == (0, 63)


def test_the_slider_loads_the_best_of_a_size_or_the_top_by_shapley(found, net):
    order = np.argsort(hypercube.shapley(net.losses), kind="stable")
    for k, (m, loss, pressed) in enumerate(found["best"]):
        of_size = np.flatnonzero(net.size == k)
        assert m == of_size[net.losses[of_size].argmin()]
        assert loss == pytest.approx(net.losses[m]) and pressed == "true"
        assert found["top"][k] == sum(1 << int(i) for i in order[:k])
    assert found["remembered"] == found["top"][3]
    assert found["spot"] == found["best"][2][0]


def test_a_random_walk_flips_every_node_once_and_ends_at_the_complement(found):
    walk = found["walk"]
    flips = [a ^ b for a, b in zip(walk, walk[1:])]
    assert walk[0] == 22 and walk[-1] == 63 ^ 22
    assert sorted(flips) == [1, 2, 4, 8, 16, 32]
    assert found["ended"] == [True, True] and "complement" in found["said"]
    assert found["running"] and found["played"] == 63 ^ 22


def test_downhill_follows_the_largest_fall_to_a_local_minimum(found, net):
    m, flips = 0, 1 << np.arange(6)
    while (net.losses[m ^ flips] < net.losses[m]).any():
        m ^= flips[net.losses[m ^ flips].argmin()]
    minima = hypercube.local_minima(net.losses)
    assert found["low"][0] == m and m in minima
    assert f"one of {len(minima)}:" in found["low"][1]


def test_a_dead_node_hides_no_minimum(browse):
    net = Net(6)
    minima = hypercube.local_minima(net.losses)
    script = """
      press("All off");
      press("Downhill");
      await wait(4000);
      report({ mask: mask(), said: one(".nodes + .say").textContent });
    """
    found = browse(net.page(), script)
    m, flips = found["mask"], 1 << np.arange(6)
    assert (net.losses[m ^ flips] > net.losses[m] - 1e-9).all()
    assert found["said"].startswith(f"A local minimum, one of {len(minima)}:")


def test_the_maps_are_those_of_the_network(found, net):
    pixels = found["width"]
    at = ((np.arange(pixels) + 0.5) / pixels * 2 - 1) * 2
    points = np.stack(np.meshgrid(at, -at), axis=-1).reshape(-1, 2)  # row 0 on top
    votes, kept = net.votes(points), net.subsets[37]
    z, outside = votes @ kept + net.shift, np.hypot(*points.T) > RADIUS
    inside = 1 / (1 + np.exp(z))
    expected = matplotlib.colormaps["viridis"](inside)[:, :3] * 255
    colors = np.reshape(found["surface"], (-1, 4))
    assert np.abs(colors[:, :3] - expected).max() <= 4 and (colors[:, 3] == 255).all()
    loss = np.logaddexp(0, np.where(outside, -z, z))
    there = np.hypot(*(points - 1).T).argmin()
    where = "x₁ = 1.00, x₂ = 1.00: "
    assert found["read"][0] == f"{where}P(inside) = {inside[there]:.3f}"
    assert found["read"][1] == f"{where}loss = {loss[there]:#.3g}"
    np.testing.assert_allclose(found["pointwise"], loss, atol=1e-9)
    # The gradient by differences: node 2 at 1.001 and at 0.999 times its strength.
    step = 1e-3 * votes[:, 2]
    ends = [np.logaddexp(0, np.where(outside, -1, 1) * (z + s)) for s in (step, -step)]
    difference = (ends[0] - ends[1]) / 2e-3
    np.testing.assert_allclose(found["gradient"], difference, atol=1e-4)


def test_the_page_asks_for_nothing_and_labels_are_inert(found, net):
    assert found["requests"] == found["images"] == 0
    assert found["title"] == "<img src=x onerror=alert(1)>"
    text = net.page(footer="</script>")
    assert "&lt;/script&gt;" in text and "default-src 'none'" in text
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {
        "http://www.w3.org/2000/svg"
    }


def test_the_address_holds_the_network(found, net, browse):
    assert "mask=101001" in found["address"] and "node=2" in found["address"]
    script = 'report({ mask: mask(), keep: one(\'[aria-label="Keep probability"] '
    script += "[aria-pressed=true]').value });"
    state = "mask=011010&keep=0.75&map=gradient&node=99"
    assert browse(net.page(), script, state) == {"mask": 22, "keep": "0.75"}


def test_few_kept_losses_place_a_network_among_many_to_a_thousandth(browse):
    net = Net(13, seed=1)  # 1,716 subsets of 6 nodes: more than are kept
    assert (net.size == 6).sum() > nodes_page.HEAD + nodes_page.STEPS
    best = hypercube.best(net.losses).subsets[6]
    drawn = np.random.default_rng(0).choice(1 << 13, 20, replace=False)
    visited = [int(best), *map(int, drawn)]
    script = """
      const seen = [];
      for (const wanted of VISITED) {
        to(wanted);
        seen.push([fact("better"), fact("rank")]);
      }
      report({ seen });
    """
    seen = browse(net.page(), script.replace("VISITED", str(visited)))["seen"]
    better, rank = np.transpose(seen)
    exact = [net.better(m, 0.5) for m in visited]
    np.testing.assert_allclose(better, exact, atol=1e-3)
    ranks = np.array([net.rank(m) for m in visited])
    of = np.array([(net.size == net.size[m]).sum() for m in visited])
    assert rank[0] == 1
    assert np.abs((rank - ranks) / of).max() < 1e-3
    np.testing.assert_array_equal(rank[ranks <= 64], ranks[ranks <= 64])


@pytest.mark.parametrize("n, width", [(1, 1400), (20, 900)])
def test_everything_fits(n, width, browse):
    net = Net(n, points=5)
    script = """
      press("All off");
      const box = (part) => part.getBoundingClientRect();
      const wider = (a) => a.scrollWidth > a.clientWidth + 1;
      const apart = (a, b) => a.left > b.right - 1 || b.left > a.right - 1 ||
        a.top > b.bottom - 1 || b.top > a.bottom - 1;
      const panels = all(".panel").map(box);
      report({
        wide: document.documentElement.scrollWidth - innerWidth,
        out: all(".facts dd, .panel, .node").filter(wider).map((a) => a.className),
        over: panels.filter((a, i) => panels.slice(i + 1).some((b) => !apart(a, b)))
          .length,
        small: all("#circle *").filter((a) =>
          a.textContent && parseFloat(getComputedStyle(a).fontSize) < 11).length,
        panels: panels.length,
      });
    """
    found = browse(net.page(), script, width=width)
    assert found == {
        "wide": found["wide"],
        "out": [],
        "over": 0,
        "small": 0,
        "panels": 6,
    }
    assert found["wide"] <= 0


# ---- Bad input


def with_params(layer, name, value):
    def change(given):
        params = {key: dict(leaves) for key, leaves in given["params"].items()}
        if value is None:
            del params[layer][name]
        else:
            params[layer][name] = value
        return {"params": params}

    return change


BAD = {
    "no kernel": (with_params("dense_0", "kernel", None), "no dense_0/kernel"),
    "three inputs": (with_params("dense_0", "kernel", np.ones((3, 6))), r"\(3, 6\)"),
    "one output": (with_params("dense_1", "kernel", np.ones((6, 1))), r"\(6, 1\)"),
    "a NaN": (with_params("dense_1", "bias", np.full(2, np.nan)), "not finite"),
    "too many": (with_params("dense_0", "bias", np.ones(25)), "1 to 24 nodes"),
    "no table": (lambda g: {"losses": g["losses"][:-1]}, r"\(63,\); 6 nodes"),
    "infinite": (lambda g: {"losses": g["losses"] + np.inf}, "not finite"),
    "negative": (lambda g: {"losses": g["losses"] - 9}, "above 0"),
    "reversed": (lambda g: {"losses": g["losses"][::-1]}, r"losses\[0\] is .* nodes"),
    "1-d points": (lambda g: {"test": (g["test"][0][:, 0], g["test"][1])}, "P, 2"),
    "fewer classes": (lambda g: {"test": (g["test"][0], g["test"][1][1:])}, r"\(59,\)"),
    "class 2": (lambda g: {"test": (g["test"][0], g["test"][1] + 1)}, "0 .inside"),
    "radius": (lambda g: {"radius": 0.0}, "radius must be"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name, net):
    change, message = BAD[name]
    given = {
        "params": net.params(),
        "test": (net.x, net.y),
        "losses": net.losses,
        "radius": RADIUS,
    }
    with pytest.raises(ValueError, match=message):
        nodes_page.page(**{**given, **change(given)})
