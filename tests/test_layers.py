"""Imports go down only; a few libraries are imported in one place each."""

import ast
import functools
import graphlib
import itertools as it
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Every module may import what stands further down, and its own package.
LAYERS = [
    {"__main__"},
    {"_launch"},
    {"_flags"},
    {"_merge"},
    {"experiments"},
    {"plots", "removal", "hypercube", "prune", "relevance", "flowgraph", "dissect"}
    | {"weights", "features", "rl", "circuits"},
    {"train", "sweep", "models", "pretrained", "data"},
    {"lift", "masks", "naming"},
    {"interpret"},
]
GROUND = {"runs", "pages", "trees", "checks", "meshes"}
GROUND |= {"_words", "_interrupts", "_processes", "_labels", "_patterns", "_untrusted"}
GROUND |= {"_highs", "_pickles", "_progress", "_threads", "_programs"}
ONLY = {
    "flax": {"models"},
    "sklearn": {"data"},
    "PIL": {"data"},
    "matplotlib": {"plots", "experiments"},
    "gymnasium": {"rl"},
    "pydot": {"flowgraph"},
    "absl": {"_flags", "_launch", "_merge"},
}
# `masks` makes what `lift` applies; `plots` writes through `runs`.
WITHIN = {("lift", "masks")}
# Launchers are lines that call the command line; it reads configs as `_study` does. A
# benchmark measures what no user calls.
FRIENDS = {
    ("benchmarks", "sparsejax._launch"),
    ("benchmarks", "sparsejax.experiments.lottery._run"),
    ("benchmarks", "sparsejax.flowgraph._export"),
    ("benchmarks", "sparsejax.flowgraph._layout"),
    ("benchmarks", "sparsejax.interpret._compiled"),
    ("benchmarks", "sparsejax.interpret._convolution"),
    ("benchmarks", "sparsejax.train._groups"),
    ("launch", "sparsejax._launch"),
    ("sparsejax", "sparsejax.experiments._study"),
}


def modules():
    for path in sorted((ROOT / "sparsejax").rglob("*.py")):
        name = path.relative_to(ROOT / "sparsejax").parts[0].removesuffix(".py")
        if name != "__init__":
            yield path, name


@functools.cache
def imports(path):
    """Full names of what a file imports when it runs, wherever in the file."""
    tree, full = ast.parse(path.read_text()), []
    folder = path.relative_to(ROOT).parts
    typed = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in node.body
        for part in ast.walk(inner)
    }
    for node in ast.walk(tree):
        if node in typed:
            continue
        if isinstance(node, ast.Import):
            full += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (
                [*folder[: -node.level], node.module] if node.level else [node.module]
            )
            full += [".".join(filter(None, [*base, a.name])) for a in node.names]
    return full


def level(name):
    return next((i for i, layer in enumerate(LAYERS) if name in layer), None)


@pytest.mark.parametrize("path, name", list(modules()), ids=str)
def test_imports_go_down(path, name):
    assert name in GROUND or level(name) is not None, f"{name} has no layer"
    for full in imports(path):
        top, *rest = full.split(".")
        if top != "sparsejax":
            assert name in ONLY.get(top, {name}), f"{path} imports {top}"
            if top == "jax" and rest[:1] in (["extend"], ["_src"], ["interpreters"]):
                # JAX has no public way to give its persistent cache other files.
                assert name in ("interpret", "_programs"), f"{path} imports {full}"
            continue
        other = rest[0]
        if other in {name, "__version__", *GROUND} or (name, other) in WITHIN:
            continue
        assert name not in GROUND, f"{path}: the ground floor imports {other}"
        assert level(other) is not None, f"{path} imports unknown {other}"
        assert level(name) < level(other), f"{path}: {name} imports {other}"


def test_the_ground_floor_needs_no_jax():
    for path, name in modules():
        if name in ("runs", "pages"):
            own = (f"sparsejax.{name}.", "sparsejax._untrusted", "sparsejax.pages")
            others = {full for full in imports(path) if not full.startswith(own)}
            tops = {full.split(".")[0] for full in others}
            assert not tops & {"jax", "flax", "optax", "sparsejax"}


def test_launchers_are_short_and_only_map_flags():
    for path in (ROOT / "launch").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 100
        inside = {f for f in imports(path) if f.startswith("sparsejax")}
        known = ("sparsejax._launch", "sparsejax.experiments", "sparsejax.runs")
        assert all(full.startswith(known) for full in inside)


def imported_files(path, files):
    """The files of `sparsejax` that one of them imports, by module name."""
    for full in imports(path):
        yield from [m for m in (full, full.rpartition(".")[0]) if m in files][:1]


def test_no_file_imports_itself_by_way_of_others():
    """`from package import _part` is an import of the part, not of the package."""
    files = {}
    for path in sorted((ROOT / "sparsejax").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        files[".".join(p for p in parts if p != "__init__")] = path
    edges = {m: set(imported_files(path, files)) - {m} for m, path in files.items()}
    assert edges["sparsejax.flowgraph"] and sum(map(len, edges.values())) > 100
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"files import one another: {' <- '.join(error.args[1])}")


def test_private_modules_are_imported_by_their_own_package_alone():
    """Tests may import those of the package that they test."""
    private = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "sparsejax").rglob("_*")
        if path.name[:2] != "__" and (path.suffix == ".py" or path.is_dir())
    }
    assert {"sparsejax.prune._remove", "sparsejax.experiments._study"} <= private
    folders = [ROOT / name for name in ("sparsejax", "launch", "benchmarks")]
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        package = ".".join(path.parent.relative_to(ROOT).parts)
        for full in imports(path):
            for module in {*it.accumulate(full.split("."), "{}.{}".format)} & private:
                owner = module.rpartition(".")[0]
                own = f"{package}.".startswith(f"{owner}.")
                assert own or (package, module) in FRIENDS, f"{path} imports {module}"


def test_experiments_stand_alone():
    """But for faces: of `lottery`, whose runs are read and end with a graph, and for
    `reproduce`, which runs them all."""
    folder, prefix = ROOT / "sparsejax" / "experiments", "sparsejax.experiments."
    names = {path.parent.name for path in folder.glob("*/_run.py")}
    assert len(names) == 14
    for path in sorted(folder.glob("*/**/*.py")):
        own = path.relative_to(folder).parts[0]
        allowed = {own, "_study"}
        if own != "_study":
            allowed |= {"subjects", "lottery"}
        if own == "lottery":
            allowed.add("flowgraph")
        if own == "reproduce":
            allowed |= names
        for full in imports(path):
            if not full.startswith(prefix):
                continue
            first, *inner = full.removeprefix(prefix).split(".")
            assert first in allowed, f"{path} imports {full}"
            if first not in (own, "_study") and inner:
                face = not (folder / first / f"{inner[0]}.py").exists()
                assert face, f"{path} reaches into {full}"
