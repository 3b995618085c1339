"""Examples of the README, and of the tour after them, run and say what one expects."""

import inspect
import re

import numpy as np
import pytest
import snippets

import sparsejax as sj

README = snippets.ROOT / "README.md"
TOUR = snippets.ROOT / "docs" / "tour.md"


def test_examples_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages = [*snippets.sections(README).values(), *snippets.sections(TOUR).values()]
    blocks = sum(pages, [])
    examples = [code for kind, code in blocks if kind == "python"]
    first, second, third, fourth, circuit, fifth, sixth = examples
    assert max(len(code.strip().splitlines()) for code in examples) <= 20
    names: dict = {}
    exec(first, names)
    printed = capsys.readouterr().out
    assert printed.startswith("0.5 ")
    assert names["flat"](names["test"])[0].shape == (360, 64)
    accuracy = float(re.search(r"'accuracy': Array\(([\d.]+)", printed)[1])
    assert accuracy > 0.9
    assert {*names["masks"].nodes} == {"params/layers_0:post", "params/layers_2:post"}
    exec(second, names)
    assert capsys.readouterr().out.startswith("Graph(")
    assert (tmp_path / "graph.html").stat().st_size > 50_000
    assert "def predict" in names["program"]
    exec(third, names)
    exact = sj.hypercube.shapley(names["losses"])
    away = np.abs(names["sampled"].values - exact)
    assert (away <= 6 * names["sampled"].errors + 1e-6).all()
    exec(fourth, names)
    found = names["r"]
    assert abs(found.residual()) <= 1e-6 * found.magnitude()
    assert names["maps"].shape == (360, 64)
    capsys.readouterr()
    exec(circuit, names)
    assert capsys.readouterr().out.startswith("circuit of ")
    exec(fifth, names)
    assert capsys.readouterr().out.startswith("0.2")
    exec(sixth, names)
    assert capsys.readouterr().out.startswith("(64, 10) [")


def test_the_tour_counts_the_finders():
    """Functions of `(loss, nodes)`; the two others are what finders are made of."""
    values = {n: getattr(sj.circuits, n) for n in sj.circuits.__all__}
    first = {
        n: list(inspect.signature(value).parameters)[:2]
        for n, value in values.items()
        if inspect.isfunction(value)
    }
    finders = {n for n, names in first.items() if names == ["loss", "nodes"]}
    assert len(finders - {"by_scores", "flat"}) == 13
    assert TOUR.read_text("utf-8").lower().count("thirteen finders") == 2


def test_it_is_a_front_door():
    assert len(README.read_text("utf-8").splitlines()) < 250


@pytest.mark.parametrize("page", [README, TOUR], ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text("utf-8"))
    assert links
    for link in links:
        assert (page.parent / link).exists(), link
