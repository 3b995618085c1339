"""Code in Markdown files: run as readers run it, with what it is said to print."""

import contextlib
import doctest
import io
import re
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import sparsejax as sj

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "bring_your_own_model.md"
GUIDES = ROOT / "docs" / "guides"
BLOCK = re.compile(r"^#+ ([^\n]*)$|^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def sections(path):
    """Of every heading the blocks of code and of output under it, `(kind, text)`."""
    blocks, heading = {}, ""
    for title, kind, text in BLOCK.findall(path.read_text()):
        if kind:
            blocks[heading].append((kind, text))
        else:
            heading = title
            blocks[heading] = []
    return blocks


def run(blocks, names):
    """Run code; every block of text that follows must be what was printed."""
    printed = ""
    for kind, text in blocks:
        if kind == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(text, names)
            printed = output.getvalue()
        elif kind == "text":
            fits = doctest.OutputChecker().check_output(text, printed, FLAGS)
            assert fits, f"expected\n{text}\nprinted\n{printed}"


def run_page(path, headings=None):
    """Run all code of a page, or of some headings, in order and as a reader would."""
    names: dict = {"__name__": path.stem}
    parts = sections(path)
    blocks = [parts[heading] for heading in headings or parts]
    with jax.numpy_dtype_promotion("standard"), jax.debug_key_reuse(False):
        run(sum(blocks, []), names)
    return names


class Library(NamedTuple):
    """A row of the page's table."""

    lines: int
    name: str
    back: str


def libraries():
    rows = re.findall(
        r"^\| \[(.+?)\]\([^)]+\) \| (\d) \| `(.+?)` \| (.+?) \|$",
        PAGE.read_text(),
        re.MULTILINE,
    )
    return {
        title: Library(int(lines), name, re.findall("`(.+?)`", back)[0])
        for title, lines, name, back in rows
    }


def anchor(heading):
    """Where GitHub lets links to a heading lead."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def check_library(title, guide, heading, x, own):
    """The model of a guide: names, masks and the way back into the model.

    Args:
        title: of the library, in the table.
        guide: name of the page.
        heading: of the section of the page that has the model.
        x: what the page calls the input.
        own: how the library's users call their model.
    """
    row = libraries()[title]
    names: dict = {}
    kind, code = sections(GUIDES / f"{guide}.md")[heading][0]
    run([(kind, code)], names)
    assert len(code.strip().split("\n\n")[-1].splitlines()) == row.lines
    fn, params, x = names["fn"], names["params"], names[x]
    masks = sj.masks.ones(sj.named(fn, row.name), params, x)
    keep = jax.random.bernoulli(jax.random.key(3), 0.5, masks.nodes[row.name].shape)
    some = masks._replace(nodes={row.name: keep.astype(jnp.float32)})
    weights = sj.masks.bernoulli(jax.random.key(4), masks.weights, 0.9)
    names["params"] = fewer = sj.masks.apply(params, weights)
    apply = sj.masked(sj.named(fn, row.name))
    results = jax.jit(
        lambda p, fewer, x: (fn(p, x), apply(p, masks, x), apply(p, some, x),
                             fn(fewer, x))
    )  # fmt: skip
    plain, ones, masked, pruned = results(params, fewer, x)
    np.testing.assert_array_equal(ones, plain)
    assert np.abs(masked - plain).max() > 1e-4
    assert np.abs(pruned - plain).max() > 1e-4
    exec(row.back, names)
    np.testing.assert_allclose(eval(own, names), pruned, rtol=1e-5, atol=1e-5)
