"""The guides to bring your own network: what they show runs and prints what they say.

Guides to libraries that tests do not depend on are in `peers/test_peer_own_model.py`.
"""

import re

import fuzz_readers as fuzz
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import snippets

from sparsejax import models, trees
from sparsejax.experiments import lottery

ZOO = {"equinox_zoo", "haiku", "keras"}
PAGES = sorted(path.stem for path in snippets.GUIDES.glob("*.md"))


@pytest.mark.parametrize(
    "title, guide, x, own",
    [
        ("Flax Linen", "linen", "x", "model.apply(params, x, train=False)"),
        ("Flax NNX", "nnx", "x", "model(x)"),
        ("Equinox", "equinox", "chw", "jax.vmap(model)(chw)"),
        ("Bare JAX", "bare_jax", "tokens", "model(params, tokens)"),
    ],
)
def test_libraries(title, guide, x, own):
    snippets.check_library(title, guide, "Your model", x, own)


def write_tensors(path, arrays):
    """A file in the safetensors format."""
    header, raw = {}, b""
    for name, array in arrays.items():
        body = np.ascontiguousarray(array, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [len(raw), len(raw) + len(body)]}  # fmt: skip
        raw += body
    head = fuzz.safetensors_file(header, 0)
    path.write_bytes(head + raw)


def checkpoint(folder):
    """The files that the guide to checkpoints reads."""
    shapes = {"conv.weight": (6, 3, 3, 3), "conv.bias": (6,), "fc.weight": (10, 6),
              "fc.bias": (10,)}  # fmt: skip
    rng = np.random.default_rng(0)
    net = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    write_tensors(folder / "net.safetensors", net)
    model = models.resnet(20, widths=(4, 8, 8))
    params = model.init(jax.random.key(0), jnp.zeros((32, 32, 3)))
    kinds = {"kernel": "weight", "scale": "weight", "mean": "running_mean",
             "var": "running_var", "bias": "bias"}  # fmt: skip
    arrays = {}
    for path, array in trees.by_path(params).items():
        module, _, kind = path.rpartition("/")
        turned = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim, (0,))
        name = f"{module.replace('/', '.')}.{kinds[kind]}"
        arrays[name] = np.asarray(array).transpose(turned)
    write_tensors(folder / "resnet.safetensors", arrays)


def experiment(folder):
    """The run that the guide to experiments looks at."""
    config = lottery.Config(
        widths=(4,), rounds=1, epochs=1, barrier=False, arms=("rewind",), seeds=(0,)
    )
    lottery.run(config, folder / "results" / "lottery", log=lambda line: None)


FILES = {"checkpoint": checkpoint, "own_experiment": experiment}


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ZOO])
def test_guides_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FILES.get(page, lambda folder: None)(tmp_path)
    names = snippets.run_page(snippets.GUIDES / f"{page}.md")
    if page == "transformer":
        whole = names["apply"](names["params"], names["no_head_2"], names["tokens"])
        assert abs(names["change"]).max() > 1e-3 < abs(names["y"] - whole).max()
        assert {*names["scores"]} == {*names["masks"].nodes}
    if page == "linen":  # removed weights stay away, in training too
        removed = jax.tree.map(lambda mask: mask == 0, names["half"])
        params = names["state"].params
        assert not any(
            np.any(np.where(gone, w, 0)) for gone, w in
            zip(jax.tree.leaves(removed), jax.tree.leaves(params), strict=True)
        )  # fmt: skip


@pytest.mark.parametrize("path", [snippets.PAGE, *sorted(snippets.GUIDES.glob("*.md")),
                                  snippets.ROOT / "docs" / "data.md"],
                         ids=lambda path: path.stem)  # fmt: skip
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text()):
        file, _, place = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        if place:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert place in map(snippets.anchor, headings), link


@pytest.mark.parametrize("page", PAGES)
def test_guides_have_one_form(page):
    text = (snippets.GUIDES / f"{page}.md").read_text()
    assert "**You have**" in text and "**You" in text.split("**You have**")[1]
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[-1] == "Pitfalls" and text.count("\n") <= 180
    assert f"guides/{page}.md" in snippets.PAGE.read_text()
    assert f"guides/{page}.md" in (snippets.ROOT / "mkdocs.yml").read_text()
