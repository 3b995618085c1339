"""Relevance as a line, and as a table of what adds up to the output."""

from collections.abc import Mapping
from itertools import chain, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import pages, trees
from sparsejax.pages import bar, listing, output, signed, tag

_MOST = 12  # examples of a batch, and parts of one example


def text(r: Any) -> str:
    """What it is of, in one line that needs none of its values."""
    parts = r.bias, r.constants, r.nodes
    if not all(isinstance(part, Mapping) for part in parts):  # as axes of a `vmap` are
        fields = zip(r._fields, r, strict=True)
        return f"Relevance({', '.join(f'{name}={part!r}' for name, part in fields)})"
    shapes = ", ".join(
        f"{name or 'input'} {jnp.shape(leaf)}"
        for name, leaf in trees.by_path(r.input).items()
    )
    batch = f"output {jnp.shape(r.output)}, " if jnp.ndim(r.output) else ""
    counts = (
        pages.counted(len(r.bias), "bias", "biases"),
        pages.counted(len(r.constants), "constant"),
        pages.counted(len(r.nodes), "named activation"),
    )
    return f"Relevance({batch}{shapes}, {', '.join(counts)})"


def html(r: Any) -> str:
    """One example: its parts and a map of the input. Several: a row of sums each."""
    r = jax.tree.map(np.asarray, r)
    return _batch(r) if r.output.ndim else _single(r)


def _single(r: Any) -> str:
    inputs = trees.by_path(r.input)
    groups = [
        *((name or "input", leaf.sum()) for name, leaf in inputs.items()),
        *((f"bias {name}", part.sum()) for name, part in r.bias.items()),
        *((f"constant {name}", part) for name, part in r.constants.items()),
        *((f"absorbed by {name}", part) for name, part in r.absorbed.items()),
    ]
    scale = max((abs(float(value)) for _, value in groups), default=0)
    rows = [(name, _digits(value), bar(value, scale)) for name, value in groups]
    total = sum(float(value) for _, value in groups)
    sums = [
        (tag("b", "sum"), _digits(total), ""),
        (tag("b", "output"), _digits(r.output), ""),
        ("residual", _small(total - float(r.output)), ""),
    ]
    many = len(rows) > _MOST
    shown = [
        listing(rows, ("part", "relevance", ""), most=_MOST),
        listing(sums, ("", "relevance", "")),
    ]
    if not many:
        shown = [listing([*rows, *sums], ("part", "relevance", ""), most=_MOST + 3)]
    maps = [signed(leaf, "relevance of the input") for leaf in inputs.values()][:2]
    return output(*shown, *maps)


def _batch(r: Any) -> str:
    axes = r.output.ndim

    def totals(parts):
        zero = np.zeros_like(r.output)
        sums = [p.sum(tuple(range(axes, p.ndim))) for p in parts]
        return np.sum([zero, *sums], axis=0).ravel()

    names = ("input", "biases", "constants", "absorbed")
    parts = [
        totals(jax.tree.leaves(part))
        for part in (r.input, r.bias, r.constants, r.absorbed)
    ]
    residual = sum(parts) - r.output.ravel()
    numbers = enumerate(zip(*parts, r.output.ravel(), residual, strict=True))
    rows = [
        (i, *map(_digits, row[:-1]), _small(row[-1]))
        for i, row in islice(numbers, _MOST)
    ]
    header = ("example", *names, "output", "residual")
    return output(listing(chain(rows, numbers), header, title="Relevance", most=_MOST))


def _digits(value: Any) -> str:
    """Four decimals or four digits, so that points line up."""
    number = float(value)
    large = abs(number) >= 1000 or 0 < abs(number) < 1e-3
    text = f"{number:.4g}" if large else f"{number:.4f}"
    return text.replace("-", "−")


def _small(value: Any) -> str:
    return f"{float(value):.2g}".replace("-", "−")
