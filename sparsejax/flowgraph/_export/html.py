"""A graph as one interactive HTML file: offline, and it evaluates the network itself.

The whole graph is in it, so that its JSON button gives what `Graph.to_json` gives,
whatever is shown. What runs in it lies in `flowgraph/page` (see `scripts`).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike

from sparsejax import pages, runs
from sparsejax.flowgraph import _evaluate
from sparsejax.flowgraph._export import json, packed, scripts
from sparsejax.flowgraph._structure import Structure, TooLarge
from sparsejax.pages import counted

MOST_EDGES = 30_000  # apart from those inside pictures: more cannot be looked at
SHOWN_EDGES = 5_000  # of a graph that shows itself, unasked
RANDOM = 256  # inputs for the comparison where none are given
FAR = 1e-3  # difference, relative to the largest output, that the page warns of


class PageExtra(NamedTuple):
    """What a caller adds to the page.

    Attributes:
        script: runs after the page's own, with its constants: `flow.actions.feed`
            changes the input, `flow.after` are called whenever the page has drawn.
        style: CSS.
        data: for the script, in `sj.data.extra`.
    """

    script: str
    style: str
    data: Any


def save_html(graph: Structure, path: str | Path, **options: Any) -> None:
    """Write the page; `options` are those of `html`."""
    runs.write_text(Path(path), html(graph, **options))


def shown(graph: Structure) -> str:
    """What a notebook shows of a graph: its page, or in short what a large one is."""
    if graph.num_edges <= SHOWN_EDGES:
        try:
            return html(graph)._repr_html_()
        except TooLarge:
            pass  # pictures have limits of their own
    operations = Counter(graph.ops).most_common()
    text = pages.tag("code", "graph.save_html(path)")
    return pages.output(
        pages.listing(operations, ("operation", "nodes"), title=repr(graph)),
        pages.tag("p", "Too large to run here; ", text, " may still write its page."),
    )


def html(
    graph: Structure,
    *,
    samples: ArrayLike | None = None,
    labels: Sequence[int | str] | ArrayLike | None = None,
    fn: Callable | None = None,
    data: ArrayLike | None = None,
    exact: Any = None,
    other: Structure | None = None,
    title: str = "Flow graph",
    lead: str | None = None,
    footer: str | None = None,
    extra: PageExtra | None = None,
) -> pages.Page:
    """The page's text; the arguments are those of `Graph.save_html`."""
    inputs = _batch(graph, samples, "samples")
    observed = None if data is None else _batch(graph, data, "data")
    if observed is not None and not len(observed):
        raise ValueError("data has no input")
    named = None if labels is None else [str(label) for label in np.asarray(labels)]
    if named is not None and len(named) != len(inputs):
        raise ValueError(f"{len(inputs)} samples have {len(named)} labels")
    _check_size(graph)
    graphs = [
        packed.pack(graph, inputs, observed, exact, "A" if other is not None else None)
    ]
    if other is not None:
        _check_other(graph, other)
        graphs.append(packed.pack(other, inputs, observed, None, "B"))
    more = {} if extra is None else {"extra": extra.data}
    added = PageExtra("", "", None) if extra is None else extra
    compared, alarm = _comparison(graph, fn, inputs, observed)
    notes = [
        footer,
        compared,
        _contents(graph),
        pages.tag("span", id="certificate"),
    ]
    return pages.page(
        title,
        *([] if alarm is None else [pages.tag("p", alarm, class_="alarm")]),
        pages.slot("flow"),
        lead=lead,
        footer=pages.join(
            *(pages.tag("p", note) for note in notes if note is not None)
        ),
        data={
            "graphs": graphs,
            "samples": packed.samples(inputs),
            "labels": named,
            **more,
        },
        script="\n".join(
            [*(scripts.lean(f"{name}.js") for name in scripts.ORDER), added.script]
        ),
        style=scripts.lean("page.css") + added.style,
    )


# ---- What the footer says


def _comparison(graph: Structure, fn, inputs, observed) -> tuple[str, str | None]:
    """What the footer says, and what is said at the top where it is bad."""
    if fn is None:
        return "The graph was not compared with a JAX function.", None
    batches = {"of the data": observed, "sample": inputs}
    batches = {k: v for k, v in batches.items() if v is not None and len(v)}
    if not batches:
        batches = {"drawn at random from the domain": _random(graph)}
    outputs = {
        k: np.asarray(_evaluate.outputs(graph, batch)) for k, batch in batches.items()
    }
    finite = {k: np.isfinite(out).all(axis=1) for k, out in outputs.items()}
    comparable = [batch[finite[k]] for k, batch in batches.items() if finite[k].any()]
    # One that is not a number stays the largest.
    error = float(
        np.max([0.0, *(_evaluate.check(graph, fn, batch) for batch in comparable)])
    )
    # Samples are often a part of the data: each has a count of its own.
    where = " and ".join(_counted(name, len(batch)) for name, batch in batches.items())
    left = sum(int((~rows).sum()) for rows in finite.values())
    without = f"; not of {left:,} of these, with outputs that are not finite"
    said = (
        "Largest difference between the graph and the JAX function: "
        f"{error:.2g}, over {where}{without if left else ''}."
    )
    largest = max(np.abs(out[finite[k]]).max(initial=0) for k, out in outputs.items())
    if error <= FAR * largest or error == 0:
        return said, None
    return said, (
        "The graph does not compute what the JAX function does: they differ by up to "
        f"{error:.2g}, the largest output is {largest:.2g}."
    )


def _counted(name: str, count: int) -> str:
    if name == "sample":
        return counted(count, "sample")
    return f"{counted(count, 'input')} {name}"


def _random(graph: Structure) -> np.ndarray:
    """Inputs from the domain: normal ones, clipped, where it has no end."""
    rng = np.random.default_rng(0)
    finite = np.isfinite(graph.low) & np.isfinite(graph.high)
    low, high = np.where(finite, graph.low, 0), np.where(finite, graph.high, 1)
    # A mean of the ends: their difference may be too large for a number.
    share = rng.random((RANDOM, len(low)))
    uniform = low * (1 - share) + high * share
    normal = np.clip(rng.normal(size=share.shape), graph.low, graph.high)
    drawn = np.where(finite, uniform, normal).astype(np.float32)
    return drawn.reshape(RANDOM, *graph.shape)


def _contents(graph: Structure) -> pages.Html:
    digest = hashlib.sha256(json.to_json(graph).encode()).hexdigest()
    return pages.join(
        f"The full graph has "
        f"{counted(graph.num_vertices, 'vertex', 'vertices')} and "
        f"{counted(graph.num_edges, 'edge')} at level {graph.level!r}; the JSON "
        f"button saves it whole, SHA-256 ",
        pages.tag("code", digest),
        ". One file, no network: made with sparsejax.",
    )


# ---- Checks


def _batch(graph: Structure, x: ArrayLike | None, name: str) -> np.ndarray:
    if x is None:
        return np.zeros((0, *graph.shape), np.float32)
    array = np.asarray(x, np.float32)
    if array.ndim != len(graph.shape) + 1 or array.shape[1:] != graph.shape:
        expected = ", ".join(map(str, ("k", *graph.shape)))
        raise ValueError(f"{name} have shape {array.shape}, expected ({expected})")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} hold numbers that are not finite")
    return array


def _check_size(graph: Structure) -> None:
    edges = graph.num_edges
    if graph.image is not None:
        edges -= sum(_pictured(graph))
    if edges > MOST_EDGES:
        raise TooLarge(
            f"the graph has {edges:,} edges to draw, a page holds {MOST_EDGES:,}; save "
            "a part of it such as graph.subgraph(0), or prune the network further"
        )


def _pictured(graph: Structure) -> list[int]:
    """Edges of the affine nodes that read inputs alone: the page draws pictures."""
    used = len(graph.inputs)
    return [
        len(args)
        for i, op in enumerate(graph.ops)
        if op == "affine" and (args := graph.operands(i)[0]).max(initial=-1) < used
    ]


def _check_other(graph: Structure, other: Structure) -> None:
    for field in ("shape", "image", "output_names", "level"):
        mine, theirs = getattr(graph, field), getattr(other, field)
        if mine != theirs:
            raise ValueError(
                f"the two graphs differ in {field}: {mine!r} and {theirs!r}; side by "
                "side they need the same inputs and outputs"
            )
    _check_size(other)
