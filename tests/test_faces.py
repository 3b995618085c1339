"""What users and their editors see of a module is what it offers, and no more."""

import importlib
import inspect
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import sparsejax as sj

ROOT = Path(__file__).parent.parent
USER = """import sparsejax as sj

reveal_type(sj.prune.remove)
reveal_type(sj.masked)
reveal_type(sj.rl.dqn.Config)
sj.prune.remoove
sj.remoove
sj.experiments.remoove
"""


# Whole experiments, and the figures that only one of them draws, lie apart.
PUBLIC = [
    module.name
    for module in pkgutil.walk_packages(sj.__path__, "sparsejax.")
    if not module.name.startswith(("sparsejax.experiments", "sparsejax.plots."))
    and "._" not in module.name
]
# What the site shows (see `docs/site.py`).
SHOWN = [
    name
    for name in ["sparsejax", *PUBLIC]
    if not re.match(r"sparsejax\.(checks|interpret|pages|trees)\b", name)
]
EXAMPLE = re.compile(r"^Example:\n(?:(?:    .*)?\n)*?    (>>> |    \S)", re.MULTILINE)
# Their examples are there to be read: they need files from elsewhere, or minutes.
NOT_RUN = {
    "sparsejax.data": {"broden", "cifar10", "fashion_mnist", "mnist"},
    "sparsejax.pretrained": {"load", "pth"},
    "sparsejax.rl.dqn": {"make_train", "train"},
}


@pytest.mark.parametrize("name", ["sparsejax", *PUBLIC])
def test_dir_shows_the_public_names_alone(name):
    module = importlib.import_module(name)
    assert dir(module) == sorted(module.__all__)
    assert len(module.__all__) == len(set(module.__all__))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_face_offers_all_that_it_imports(name):
    """Of a package, what no `__all__` names can only be a module inside."""
    module = importlib.import_module(name)
    inside = {n for n in vars(module) if n[0] != "_"} - set(module.__all__)
    kinds = {type(getattr(module, n)) for n in inside if hasattr(module, "__path__")}
    assert kinds <= {types.ModuleType}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_modules_are_named_where_they_lie(name):
    package, _, last = name.rpartition(".")
    assert last in importlib.import_module(package).__all__


@pytest.mark.parametrize("name", SHOWN)
def test_public_functions_have_examples(name):
    module = importlib.import_module(name)
    values = {n: getattr(module, n) for n in module.__all__}
    no_functions = type, types.GenericAlias
    functions = {
        n: EXAMPLE.search(inspect.getdoc(value) or "")
        for n, value in values.items()
        if callable(value) and not isinstance(value, no_functions)
    }
    assert [n for n, example in functions.items() if not example] == []
    not_run = {n for n, example in functions.items() if example[1] != ">>> "}
    assert not_run == NOT_RUN.get(name, set())


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'sparsejax' has no attribute 'remoove'"):
        sj.remoove  # noqa: B018


def test_pyright_sees_signatures_and_wrong_names(tmp_path):
    pyright = pytest.importorskip("pyright")
    bundled = Path(pyright.__file__).parent / "dist"
    if not bundled.exists() or not shutil.which("node"):
        pytest.skip("pyright would have to be downloaded")
    (tmp_path / "user.py").write_text(USER)
    settings = {"include": ["user.py"], "extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson"]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    lines = json.loads(done.stdout)["generalDiagnostics"]
    said = {line["range"]["start"]["line"] + 1: line for line in lines}
    assert '"(scores:' in said[3]["message"] and "fraction:" in said[3]["message"]
    assert '"(fn:' in said[4]["message"]
    assert "type[Config]" in said[5]["message"]
    for line in (6, 7, 8):
        assert said[line]["severity"] == "error" and "remoove" in said[line]["message"]
