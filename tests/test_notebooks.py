"""Notebooks: sources and outputs, as they lie here. `make notebooks` runs them."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

import sparsejax as sj

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
NAMES = {"masks", "subsets", "biases", "spade", "circuit", "reading"}
LIBRARIES = {"sparsejax", "jax", "numpy", "matplotlib", "optax", "flax"}
MOST_BYTES = 300_000
PLACES = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|Users|usr|mnt)/|C:\\\\")


def cells(name, kind):
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def code(name):
    return "\n".join("".join(cell["source"]) for cell in cells(name, "code"))


def chains(tree):
    """Every `sj.a.b.c` of a program, as names."""
    for node in ast.walk(tree):
        names = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if names and isinstance(node, ast.Name) and node.id == "sj":
            yield names


def test_these_are_all():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == NAMES
    readme = (FOLDER.parent.parent / "README.md").read_text(encoding="utf-8")
    nav = (FOLDER.parent.parent / "mkdocs.yml").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"docs/notebooks/{name}.ipynb" in readme
        assert f"docs/notebooks/{name}.md" in nav


@pytest.mark.parametrize("name", sorted(NAMES))
def test_sources_use_public_names(name):
    tree = ast.parse(code(name))
    for node in ast.walk(tree):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert {module.split(".")[0] for module in modules} <= LIBRARIES
        assert not any(module.startswith("sparsejax.") for module in modules)
    used = list(chains(tree))
    assert used
    for names in used:
        value = sj
        for attribute in names:
            if not hasattr(value, "__all__"):
                break
            if attribute not in value.__all__:
                importlib.import_module(f"{value.__name__}.{attribute}")
            assert attribute[0] != "_"
            value = getattr(value, attribute)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_outputs_are_small_and_of_no_machine(name):
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    assert not PLACES.search(text)
    for cell in cells(name, "code"):
        assert cell["execution_count"], "run it: docs/notebooks/run.py --write"
        for output in cell["outputs"]:
            assert output["output_type"] != "error" and output.get("name") != "stderr"
    assert any(
        {"text/html", "image/svg+xml"} & set(output.get("data", {}))
        for cell in cells(name, "code")
        for output in cell["outputs"]
    )


@pytest.mark.parametrize("name", sorted(NAMES))
def test_text_asks_and_concludes(name):
    text = "\n".join("".join(cell["source"]) for cell in cells(name, "markdown"))
    assert text.startswith("# ") and re.search(r"^\*\*.+\?\*\*$", text, re.MULTILINE)
    assert "## What to conclude, and what not" in text
    assert "control" in text
    for link in re.findall(r"\]\((\w+)\.ipynb\)", text):
        assert link in NAMES
