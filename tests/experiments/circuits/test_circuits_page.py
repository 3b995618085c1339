"""The page of circuits in a headless browser: its table, and its network against JAX.

A script at the page's end uses it as a reader would, and leaves its report in the DOM.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import circuits as circuits_
from sparsejax import hypercube, lift, pages
from sparsejax.experiments import circuits
from sparsejax.experiments.circuits import instrument, losses, networks
from sparsejax.masks import Masks

CONFIG = circuits.Config(layers=2, heads=2, width=8, vocabulary=6, num_sequences=3)
ABLATIONS = "zero", "mean", "position_mean", "resample"
MASKS = 15, 0, 6, 13

SCRIPT = """
const report = (found) => {
  const text = JSON.stringify(found);
  if (parent !== window) return parent.postMessage(text, "*");
  document.body.append(sj.el("pre", { id: "found", hidden: true }, text));
};
const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const fact = (name) => one(`[data-fact="${name}"]`).textContent;
const pressed = () => all(".node").map((node) =>
  Number(node.getAttribute("aria-pressed") === "true"));
const { failed } = document.documentElement.dataset;
const found = { start: pressed(), failed: failed != null };
found.startLoss = fact("loss");
one('[data-node="1"]').click();
found.clicked = pressed();
found.clickedLoss = fact("loss");
one('[data-node="2"]').dispatchEvent(
  new MouseEvent("click", { shiftKey: true, bubbles: true }));
found.alone = pressed();
found.others = fact("others");
found.worst = fact("worst");
found.rank = fact("rank");
const slider = one(".size input");
slider.value = 3;
slider.dispatchEvent(new Event("input"));
found.three = pressed();
found.chips = all(".chip").length;
found.rows = all(".table tbody tr").length;
const text = all(".chart text").map((node) => node.textContent);
found.axes = text.includes("nodes kept") && text.includes(sj.data.unit);
found.smallest = Math.min(...all("#circuits *").filter((node) =>
  node.childNodes.length && [...node.childNodes].some((child) =>
    child.nodeType === 3 && child.textContent.trim())).map((node) =>
  parseFloat(getComputedStyle(node).fontSize)));
found.overflow = document.documentElement.scrollWidth - innerWidth;
found.logits = PARTS.map((part) => MASKS.map((mask) =>
  network.x.map((ids, i) => network.run(0, ids, network.replaced(0, part, mask,
    network.corrupted[i])).logits.map((row) => [...row]))));
found.shown = Number(one("[data-loss]").dataset.loss);
const before = one("[data-loss]").dataset.loss;
one(".token").click();
found.changed = one("[data-loss]").dataset.loss !== before;
report(found);
"""


@pytest.fixture(scope="module")
def case():
    return networks.of(CONFIG, 0, None)


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(0).uniform(0.1, 3, 16).astype(np.float32)


@pytest.fixture(scope="module")
def found(case, table, read_page, tmp_path_factory):
    """What is seen in a wide window, and in a narrow one."""
    best = hypercube.best(table)
    keep = best.subsets[:, None] >> np.arange(4) & 1 > 0
    curve = np.linspace(3, 1, 5)
    arrays = {
        "best/keep": keep, "best/losses": best.values, "table": table,
        "sizes": np.arange(5), "worst": curve + 1, "supersets": curve,
        "random": curve, "controls/untrained": curve,
    }  # fmt: skip
    record = {
        "part": "circuit", "metric": "cross_entropy", "target": 0.5, "size": 2,
        "exact": True, "alternatives": {"sets": [[0, 1], [2, 3]], "slack": 0.1},
        "minimal": [[0]], "minimal_count": 1, "necessary": [0], "faithful": False,
        "gates": [{"kind": "or", "nodes": [0, 1], "index": 1.0, "gain": 0.4}],
        "reasons": ["so"], "seed": 0,
    }  # fmt: skip
    rows = [{**record, "ablation": name} for name in ABLATIONS]
    rows += [{"part": "finder", "seed": 0, "ablation": "zero", "finder": "eliminate",
              "size": 2, "gap": 0.0, "mean_gap": 0.1, "evaluations": 9}]  # fmt: skip
    places = {(0, name): arrays for name in ABLATIONS}
    data = instrument.data(CONFIG, {0: case}, rows, places)
    script = SCRIPT.replace("PARTS", "[0, 1, 2, 3]").replace("MASKS", str([*MASKS]))
    text = pages.page(
        "Circuits", pages.slot("circuits"), footer="none", data=data,
        script=f"{instrument.script()}\n{script}", style=instrument.style(),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text(text)
    _, reports = read_page((folder / "index.html").as_uri(), width=[1400, 420])
    return reports


def test_nodes_are_switched_by_table(found, table):
    wide = found[0]
    best = hypercube.best(table).subsets
    start = (best[2] >> np.arange(4) & 1).tolist()
    assert not wide["failed"] and wide["start"] == start
    assert float(wide["startLoss"]) == pytest.approx(table[best[2]], rel=5e-3)
    flipped = [*start]
    flipped[1] = 1 - flipped[1]
    assert wide["clicked"] == flipped
    number = int(np.dot(flipped, 1 << np.arange(4)))
    assert float(wide["clickedLoss"]) == pytest.approx(table[number], rel=5e-3)
    assert wide["alone"] == [0, 0, 1, 0]
    others = hypercube.over_supersets(table, 0.5)[4]
    assert float(wide["others"]) == pytest.approx(others, rel=5e-3)
    assert float(wide["worst"]) == pytest.approx(hypercube.worst(table)[4], rel=5e-3)
    rank = 1 + sum(table[1 << i] < table[4] for i in range(4))
    assert wide["rank"] == f"{rank} of 4"
    assert wide["three"] == (best[3] >> np.arange(4) & 1).tolist()
    assert wide["chips"] == 3 and wide["rows"] == 0 + 1


def test_it_can_be_read_at_every_width(found):
    for one in found:
        assert one["overflow"] <= 0 and one["axes"] and one["smallest"] >= 11


def test_the_network_in_the_page_is_that_of_jax(found, case):
    x, _, corrupted = case.examples
    ones = jax.tree.map(lambda _: jnp.ones(()), case.params)
    for part, ablation in enumerate(ABLATIONS):
        values = losses.values(case, ablation, case.examples, case.params)
        apply = jax.jit(
            lambda m, v: lift.masked(case.fn, ablate=v)(case.params, Masks(ones, m), x)
        )
        for k, mask in enumerate(MASKS):
            bits = jnp.asarray(mask >> np.arange(4) & 1, jnp.float32).reshape(2, 2, 1)
            nodes = {"z_0": bits[0], "z_1": bits[1]}
            expected = np.asarray(apply(nodes, values))
            shown = np.asarray(found[0]["logits"][part][k])[:, 2:5]
            np.testing.assert_allclose(shown, expected, atol=1e-5, rtol=1e-5)


def test_a_token_that_is_changed_changes_the_loss(found):
    assert found[0]["changed"] and found[0]["shown"] > 0


def test_without_a_network_or_a_table_there_is_still_a_page(case):
    many = {"best/keep": np.tri(4, 3, -1, dtype=bool), "best/losses": np.arange(4.0)}
    many |= {k: np.arange(4.0) for k in ("worst", "supersets", "random")}
    record = {
        "part": "circuit", "metric": "kl", "target": 0.5, "size": 0, "exact": False,
        "alternatives": {"sets": [[0]], "slack": 0.1}, "faithful": None, "reasons": (),
        "seed": 0, "ablation": "zero",
    }  # fmt: skip
    one = networks.of(circuits.Config(network="addition"), 0, None)
    arrays = {(0, "zero"): {**many, "sizes": np.arange(4)}}
    data = instrument.data(CONFIG, {0: one}, [record], arrays)
    assert data["network"] is None and data["parts"][0]["table"] is None
    assert data["parts"][0]["labels"] == ["neurons[0]", "neurons[1]", "neurons[2]"]
    assert not re.search("fetch|XMLHttpRequest|import", instrument.script())
    assert circuits_.subset([0], one.nodes).tolist() == [True, False, False]
