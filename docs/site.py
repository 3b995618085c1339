"""The documentation site is the repository: every page at its own path.

So links between README, results and these pages hold on the site as in a checkout. The
pages of functions are one for each package, from its docstrings, whose section of an
example is renamed for the reader of docstrings, which knows it in the plural alone.
"""

import ast
from pathlib import Path

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "LICENSE", "docs/*.md", "benchmarks/*.md", "examples/*.py")
PAGES += ("results/**/*.*",)
LEFT_OUT = ROOT / "results" / "runs"
PACKAGES = ("lift", "naming", "masks", "prune", "train", "sweep", "meshes", "models")
PACKAGES += ("pretrained", "data", "hypercube", "circuits", "removal", "relevance")
PACKAGES += ("flowgraph", "features", "dissect", "weights", "rl", "runs", "plots")
INNER = {"checks", "experiments", "interpret", "pages", "trees"}  # for contributors


def on_config(config):
    nav = config.nav
    for section in nav:
        if "Functions" in section:
            section["Functions"] = [{n: f"docs/api/{n}.md"} for n in _packages()]
    return config


def on_files(files, config):
    theirs = [file for file in files if file.src_dir != config.docs_dir]
    pages = sorted({path for pattern in PAGES for path in ROOT.glob(pattern)})
    ours = [
        File(str(path.relative_to(ROOT)), str(ROOT), config.site_dir,
             config.use_directory_urls)
        for path in pages
        if path.is_file() and LEFT_OUT not in path.parents
    ]  # fmt: skip
    api = [
        File.generated(config, f"docs/api/{name}.md", content=_page(name))
        for name in _packages()
    ]
    return Files([*theirs, *ours, *api])


class Example(griffe.Extension):
    def on_object(self, *, obj, **_):
        if obj.docstring:
            text = obj.docstring.value
            obj.docstring.value = text.replace("\nExample:\n", "\nExamples:\n")


def _packages() -> list[str]:
    """All of `PACKAGES`, if these are all that are public."""
    names = {path.stem for path in (ROOT / "sparsejax").glob("[a-z]*")}
    names -= {"py"} | INNER  # py.typed
    if names != {*PACKAGES}:
        raise PluginError(f"docs/site.py misses or invents {names ^ {*PACKAGES}}")
    return [*PACKAGES]


def _page(name: str) -> str:
    """A package's own words, and what it offers, in the order of its `__all__`."""
    folder = ROOT / "sparsejax"
    file = folder / name / "__init__.py"
    tree = ast.parse((file if file.exists() else folder / f"{name}.py").read_text())
    names = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    members = "".join(f"        - {name}\n" for name in names)
    options = f"    options:\n      members:\n{members}"
    return f"# sparsejax.{name}\n\n::: sparsejax.{name}\n{options}"
