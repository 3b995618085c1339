"""The documentation site is the repository: every page at its own path.

So links between README, results and these pages hold on the site as in a checkout. The
pages of functions are one for each package, from its docstrings, whose section of an
example is renamed for the reader of docstrings, which knows it in the plural alone.
Notebooks become pages with what they showed when they were last run, and links to them
lead there.
"""

import ast
import functools
import json
import re
from base64 import b64encode
from html import escape
from pathlib import Path

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "LICENSE", "docs/**/*.md", "docs/site.css", "docs/worker.js")
PAGES += ("benchmarks/*.md", "examples/*.py", "results/**/*.*")
WORKER = "https://unpkg.com/iframe-worker/shim"  # the theme's; ours loads nothing
LEFT_OUT = ROOT / "results" / "runs"
PACKAGES = ("lift", "naming", "masks", "prune", "train", "sweep", "meshes", "models")
PACKAGES += ("pretrained", "data", "hypercube", "circuits", "removal", "relevance")
PACKAGES += ("flowgraph", "features", "dissect", "weights", "rl", "runs", "plots")
NOTEBOOKS = "docs/notebooks"
WORD = re.compile(r"(?<!<pre>)(?<!</span>)<code>([^<]*-[^<]*)</code>")
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
    notebooks = [
        File.generated(config, f"{NOTEBOOKS}/{name}.md", content=text)
        for name, (text, _) in _notebooks().items()
    ]
    return Files([*theirs, *ours, *api, *notebooks])


def on_page_markdown(markdown, page, **_):
    return re.sub(r"\]\(((?:[\w./]*/)?\w+)\.ipynb\)", r"](\1.md)", markdown)


def on_page_content(html, page, **_):
    """Outputs go in last: Markdown would read what is in them."""
    html = WORD.sub(_whole, html)
    folder, _, name = page.file.src_uri.rpartition("/")
    if folder != NOTEBOOKS:
        return html
    _, outputs = _notebooks()[name.removesuffix(".md")]
    for i, output in enumerate(outputs):
        html = html.replace(f"<p>OUTPUT{i}.</p>", f'<div class="output">{output}</div>')
    return html


def on_post_page(output, page, **_):
    """Search from files; and nothing on a page comes from elsewhere."""
    output = output.replace(WORKER, get_relative_url("docs/worker.js", page.url))
    if elsewhere := re.search(r'<(script|img|iframe)[^>]* src="https?:[^"]*"', output):
        raise PluginError(f"{page.file.src_uri} loads {elsewhere[0]}: not offline")
    return output


def on_post_template(output_content, template_name, **_):
    return output_content.replace(WORKER, "docs/worker.js")


def _whole(match):
    """Inline code that breaks between words, not after the hyphens of a flag."""
    words = re.sub(r"\S+", r'<span class="whole">\g<0></span>', match[1])
    return f"<code>{words}</code>"


class Example(griffe.Extension):
    def on_object(self, *, obj, **_):
        if obj.docstring:
            text = obj.docstring.value
            obj.docstring.value = text.replace("\nExample:\n", "\nExamples:\n")


@functools.cache
def _notebooks() -> dict[str, tuple[str, list[str]]]:
    """The Markdown of every notebook, with places for its outputs, and these."""
    notebooks = {}
    for path in sorted((ROOT / NOTEBOOKS).glob("*.ipynb")):
        parts, outputs = [], []
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                parts.append(source)
                continue
            parts.append(f"```python\n{source}\n```")
            for output in cell["outputs"]:
                parts.append(f"OUTPUT{len(outputs)}.")
                outputs.append(_output(output))
        notebooks[path.stem] = ("\n\n".join(parts), outputs)
    return notebooks


def _output(output: dict) -> str:
    """What a notebook shows: a page or table as it is, a drawing, or text."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "text/html" in data:
        return "".join(data["text/html"])
    if "image/svg+xml" in data:
        drawing = b64encode("".join(data["image/svg+xml"]).encode()).decode()
        return f'<img alt="figure" src="data:image/svg+xml;base64,{drawing}">'
    return f"<pre>{escape(''.join(data['text/plain']))}</pre>"


def _packages() -> list[str]:
    """All of `PACKAGES`, if these are all that are public."""
    names = {path.stem for path in (ROOT / "sparsejax").glob("[a-z]*")}
    names -= {"py"} | INNER  # py.typed
    if names != {*PACKAGES}:
        raise PluginError(f"docs/site.py misses or invents {names ^ {*PACKAGES}}")
    return [*PACKAGES]


def _page(name: str) -> str:
    """A package's own words, and what it offers; then its public modules likewise."""
    names = _exported(ROOT / "sparsejax" / name)
    modules = [part for part in names if _source(ROOT / "sparsejax" / name / part)]
    text = _section(f"sparsejax.{name}", [n for n in names if n not in modules], 1)
    for part in modules:
        offered = _exported(ROOT / "sparsejax" / name / part)
        text += _section(f"sparsejax.{name}.{part}", offered, 2)
    return text


def _section(path: str, names: list[str], level: int) -> str:
    names = sorted(names, key=lambda name: name[0].isupper())  # functions, then classes
    members = "".join(f"        - {name}\n" for name in names)
    options = (
        f"    options:\n      heading_level: {level + 1}\n      members:\n{members}"
    )
    return f"{'#' * level} {path}\n\n::: {path}\n{options}\n"


def _exported(module: Path) -> list[str]:
    """`__all__` of a package or a module."""
    source = _source(module)
    assert source, module
    return next(
        ast.literal_eval(node.value)
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )


def _source(module: Path) -> Path | None:
    files = module / "__init__.py", module.with_suffix(".py")
    return next((file for file in files if file.exists()), None)
