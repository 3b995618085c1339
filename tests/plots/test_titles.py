"""Titles and labels may be any text; names are cut between letters that are seen."""

import itertools as it
import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from importlib import resources

import numpy as np
import pytest

from sparsejax import plots
from sparsejax._words import cut, graphemes
from sparsejax.experiments.lottery import charts
from sparsejax.plots.style import COLORS

TEXTS = ["a $5 b $6", "$\\frac{$", "$$", "_hidden", "__", "\\$x$", "a\x00b\x0bc",
         "<b>&", "\ud83d", "x\n\ny", "%s {x}", "\\undefined", "^_^", "", "\u200b",
         "e\u0301" * 400]  # fmt: skip
SHARES, VALUES = np.array([1.0, 0.5]), np.array([[0.9], [0.8]])


def drawn(name):
    """Figures with this name in all places."""
    curve = plots.Curve(name, np.ones(2))
    yield plots.against_density({name: (SHARES, VALUES), "b": (SHARES, VALUES)},
                                title=name, ylabel=name)  # fmt: skip
    yield plots.counts_against_density({name: {name: (SHARES, VALUES)}}, title=name)
    yield plots.densities(
        [0.0, 1.0], [curve], title=name, xlabel=name, line=(0.5, name)
    )
    yield charts.weights_per_layer({name: [[9]]}, {name: 9}, title=name)


@pytest.mark.filterwarnings("ignore:constrained_layout")  # of very long ones
@pytest.mark.parametrize("name", TEXTS, ids=lambda name: ascii(name[:12]))
def test_any_title_and_label(name, tmp_path):
    several = 4 if name in TEXTS[:4] else 1
    for number, figure in enumerate(it.islice(drawn(name), several)):
        plots.save(figure, tmp_path / "a.svg")
        text = "".join(ET.parse(tmp_path / "a.svg").getroot().itertext())
        shown = name.strip("\u200b").strip()
        if shown.isprintable() and len(shown) < 300:
            assert text.count(shown) > 1, number  # in the legend too
    plots.save(figure, tmp_path / "a.png")


def test_what_begins_with_an_underscore_is_in_the_legend():
    figure = plots.against_density({"_a": (SHARES, VALUES)}, title="", ylabel="")
    (legend,) = [axes.get_legend() for axes in figure.axes]
    assert [text.get_text().strip("\u200b") for text in legend.get_texts()] == ["_a"]
    assert legend.legend_handles[0].get_color() == COLORS[0]


# A family, flags, accents, a hand with a colour, three scripts.
LETTERS = ["\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1eb\U0001f1f7",
           "\U0001f1e9\U0001f1ea", "e\u0301\u0323", "\U0001f44d\U0001f3fd", "a", "字",
           "नि"]  # fmt: skip


def test_graphemes():
    assert graphemes("".join(LETTERS)) == LETTERS
    assert cut("".join(LETTERS), 4) == "".join(LETTERS[:3]) + "…"
    assert cut("".join(LETTERS), 8) == "".join(LETTERS)


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_pages_cut_as_readers_see():
    script = resources.files("sparsejax.flowgraph.page").joinpath("formats.js")
    code = script.read_text("utf-8") + (
        "const name = JSON.parse(process.argv[1]);"
        "console.log(JSON.stringify([formats.graphemes(name), formats.cut(name, 6, 2),"
        "formats.cut('hidden_units_of_layer_12', 22, 8), formats.cut('short', 22, 8)]))"
    )
    name = json.dumps("".join(LETTERS))
    done = subprocess.run(["node", "-e", code, name], capture_output=True, text=True,
                          check=True, encoding="utf-8")  # fmt: skip
    parts, short, plain, whole = json.loads(done.stdout)
    assert parts == LETTERS
    assert short == "".join(LETTERS[:3]) + "…" + "".join(LETTERS[-2:])
    assert plain == "hidden_units_…layer_12" and whole == "short"
