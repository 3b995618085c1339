"""The page "Bring your own model": what it shows runs and prints what it says.

Libraries that tests do not depend on are in `peers/test_peer_own_model.py`.
"""

import re

import pytest
import snippets


@pytest.mark.parametrize(
    "heading, x, own",
    [
        ("Flax Linen", "x", "model.apply(params, x, train=False)"),
        ("Flax NNX", "x", "model(x)"),
        ("Equinox", "chw", "jax.vmap(model)(chw)"),
        ("Bare JAX", "tokens", "model(params, tokens)"),
    ],
)
def test_libraries(heading, x, own):
    snippets.check_library(heading, x, own)


def test_the_rest_of_the_page():
    page = snippets.sections(snippets.PAGE)
    scanned: dict = {}
    snippets.run(page["Your library"] + page["Bare JAX"] + page["Loops"], scanned)
    names: dict = {}
    snippets.run(page["Your library"], names)
    headings = [*page]
    for heading in headings[headings.index("Choose what to name") :]:
        if heading != "Loops":
            snippets.run(page[heading], names)
    masked = names["apply"](names["params"], names["no_head_2"], names["tokens"])
    assert abs(names["change"]).max() > 1e-3 < abs(names["y"] - masked).max()
    assert {*names["scores"]} == {*names["masks"].nodes}


def test_links_lead_somewhere():
    text = snippets.PAGE.read_text()
    anchors = {snippets.anchor(heading) for heading in snippets.sections(snippets.PAGE)}
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", text)
    assert len(links) > 8
    for link in links:
        path, _, place = link.partition("#")
        assert (snippets.PAGE.parent / path).exists() if path else place in anchors
