"""A drawing of a graph: one SVG file that stands alone, laid out by `_layout`.

As in the source, inputs are blue and outputs yellow, `<low, high>` bounds every node
over the domain, and where the input is a picture, the first layer's dot products are
drawn as pictures: green for positive weights, red for negative ones, grey for none.
With an input, boxes also hold their `[value]`, lines are as wide as the value they
carry and coloured by its sign, and beside every picture is its product with the input.

Reference: Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?", 2020.
"""

import textwrap
from html import escape
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float

from sparsejax import checks, pages
from sparsejax._words import cut
from sparsejax.flowgraph import _bounds, _evaluate, _structure
from sparsejax.flowgraph._export import dot
from sparsejax.flowgraph._layout import Layout, layout
from sparsejax.flowgraph._structure import AnyStructure, Structure

NOTE = 6.4  # mean width of a letter of the note
MOST_BOXES, MOST_LABELS, ROW = 1500, 90, 16
LINE, CHARACTER, PICTURE, GAP = 15, 6.6, 64, 16
COLORS = {"input": ("#dcebfd", "#5b94d6"), "output": ("#ffefad", "#d1a213")}
COLORS |= {"const": ("#eef0f3", "#9aa3ad"), "": ("#ffffff", "#8c96a3")}
STYLE = """
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1d2733;
  text-anchor: middle; font-variant-numeric: tabular-nums }
.op { font-weight: 600 } .range { font-size: 11px; fill: #5c6773 }
.value { font-weight: 600; fill: #0b5cad }
.weight { font-size: 11px; paint-order: stroke; stroke: #fff; stroke-width: 4px }
.note { font-size: 11px; fill: #5c6773; text-anchor: start }
path { fill: none; stroke-linecap: round } image { image-rendering: pixelated }
"""


DARK = """
@media (prefers-color-scheme: dark) {
  text { fill: #e9eaed } .range, .note { fill: #a3a8b2 } .value { fill: #72acff }
  .weight { stroke: #1b1d21 } rect { fill: #1b1d21 }
  .input rect { fill: #1c3350 } .output rect { fill: #463a10 }
  .const rect { fill: #232529 }
}
"""


class _Box(NamedTuple):
    lines: list[tuple[str, str]]  # class and text
    width: float
    height: float
    pictures: list[str]  # as addresses


def to_svg(graph: Structure, x: ArrayLike | Any = None) -> str:
    """The drawing as text.

    Args:
        x: one input of shape `graph.shape`, whose values are shown.

    Raises:
        ValueError: if there would be too many boxes to read, or `x` is not one input.
    """
    values = None
    if x is not None:
        checks.array(x, before="")
        x = np.asarray(x)
        if x.shape != graph.shape:
            raise ValueError(
                f"expected one input of shape {graph.shape}, got {x.shape}"
            )
        values = np.asarray(_evaluate.nodes(graph, x))
    shown, nodes = pictures(graph)
    dot.check_size(shown, MOST_BOXES)
    values = None if values is None else values[nodes]
    bounds = _bounds.bounds(graph)
    ranges = np.stack([bounds.low, bounds.high], axis=1)[nodes]
    weights = _weights(graph, nodes, None if x is None else x.reshape(-1))
    boxes = [
        _box(shown, i, ranges[i], None if values is None else values[i], weights[i])
        for i in range(len(shown))
    ]
    at = layout(shown)
    place, size = _places(at, boxes)
    body = [*_edges(shown, at, place, boxes, values)]
    for i, box in enumerate(boxes):
        body += _drawn(shown, i, box, *place[i])
    width = max(size[0], 320)
    note = _note(graph, values is not None, bool(len(nodes) < len(graph)))
    lines = textwrap.wrap(note, int((width - 32) / NOTE))
    height = size[1] + 32 + 16 * len(lines)
    middle = f'<g transform="translate({(width - size[0]) / 2:.0f} 0)">'
    body = [middle, *body, "</g>"] if width > size[0] else body
    for i, line in enumerate(lines):
        y = size[1] + 24 + 16 * i
        body += [f'<text class="note" x="16" y="{y:.0f}">{escape(line)}</text>']
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">'
    )
    paper = f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>'
    return (
        "\n".join([head, f"<style>{STYLE}{DARK}</style>", paper, *body, "</svg>"])
        + "\n"
    )


def pictures(graph: AnyStructure) -> tuple[AnyStructure, np.ndarray]:
    """The graph to draw: what reads pixels alone becomes a picture, a leaf.

    Returns:
        The graph with the pixels left out that nothing else reads, and which nodes
        of the first graph its nodes are. Without a picture as input, the same graph.
    """
    if graph.image is None or graph.level == "scalar":
        return graph, np.arange(len(graph))
    nodes = _structure.nodes(graph)
    whole = [_reads_pixels(graph, i) for i in range(len(graph))]
    read = np.zeros(len(graph), bool)
    read[graph.outputs] = True
    for (_, args, *_), leaf in zip(nodes, whole, strict=True):
        read[args] |= not leaf
    kept = [i for i, op in enumerate(graph.ops) if op != "input" or read[i]]
    new = {old: i for i, old in enumerate(kept)}
    rows = [
        (
            op,
            [] if whole[i] else [new[a] for a in args],
            [] if whole[i] else coefs,
            *rest,
        )
        for i in kept
        for op, args, coefs, *rest in [nodes[i]]
    ]
    used = [i for i in range(len(graph.inputs)) if read[i]]
    outputs = np.array([new[node] for node in graph.outputs.tolist()])
    inputs = graph.inputs[used]
    return _structure.build(rows, graph, inputs=inputs, outputs=outputs), np.array(kept)


def _reads_pixels(graph: Structure, node: int) -> bool:
    args, _ = graph.operands(node)
    sums = graph.ops[node] == "affine" or (
        graph.level == "neuron"
        and graph.ops[node] not in _structure.PLAIN
        and _structure.arity(graph, graph.ops[node]) == 1
    )
    return sums and len(args) > 0 and bool((args < len(graph.inputs)).all())


def _weights(graph: Structure, nodes: np.ndarray, x) -> list[list[str]]:
    """The pictures of every node: its weights, and these times the input."""
    if graph.image is None or graph.level == "scalar":
        return [[] for _ in nodes]
    leaves = [i for i in nodes.tolist() if _reads_pixels(graph, i)]
    most = max((np.abs(graph.operands(i)[1]).max() for i in leaves), default=1.0)
    found = dict.fromkeys(nodes.tolist(), [])
    for i in leaves:
        args, coefs = graph.operands(i)
        flat = np.zeros(len(graph.low))
        flat[graph.inputs[args]] = coefs
        found[i] = [_picture(flat.reshape(graph.image), most)]
        if x is not None:
            scale = most * max(float(np.abs(x).max()), 1e-9)
            found[i].append(_picture((flat * x).reshape(graph.image), scale))
    return [found[i] for i in nodes.tolist()]


def _picture(values: Float[np.ndarray, "height width ..."], most: float) -> str:
    """Green for positive, red for negative, grey for zero; channels side by side."""
    if values.ndim == 3:
        values = np.concatenate(np.moveaxis(values, 2, 0), axis=1)
    strength = np.sqrt(np.clip(np.abs(values) / max(most, 1e-12), 0, 1))[..., None]
    full = np.where(values[..., None] > 0, [4, 126, 57], [197, 3, 27])
    pixels = np.round(np.array([229, 231, 235]) * (1 - strength) + full * strength)
    return pages.data_uri(pages.png(pixels.astype(np.uint8)), "image/png")


def _box(graph: Structure, node: int, span, value, pictures: list[str]) -> _Box:
    title = dot.title(graph, node)
    if graph.ops[node] == "input":
        title = [graph.keys[node]]
    lines = [("op" if i == 0 else "", cut(text, 22)) for i, text in enumerate(title)]
    if graph.ops[node] != "const":
        low, high = (_number(float(v)) for v in span)
        lines.append(("range", f"<{low}, {high}>"))
    if value is not None:
        lines.append(("value", f"[{_number(float(value))}]"))
    text = max(len(text) for _, text in lines) * CHARACTER + 16
    width = max(text, 52.0, len(pictures) * (PICTURE + 6) + 10)
    height = len(lines) * LINE + 10 + (PICTURE + 8) * bool(pictures)
    return _Box(lines, width, height, pictures)


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\u2212")


def _places(at: Layout, boxes: list[_Box]):
    """Centres in pixels; a row of many boxes is broken into several, one by one."""
    x, center, top = np.array(at.x), np.zeros((len(boxes), 2)), 24.0
    shelves = []
    for y in np.unique(at.y):
        row = np.flatnonzero(at.y == y)
        row = row[np.argsort(x[row], kind="stable")]
        parts = -(-len(row) // ROW)
        shelves.append([row[k::parts] for k in range(parts)])
    scale = 60.0
    for shelf in (part for parts in shelves for part in parts):
        width = np.array([boxes[i].width for i in shelf])
        apart = (width[1:] + width[:-1]) / 2 + GAP
        scale = max(scale, (apart / np.diff(x[shelf])).max(initial=0.0))
    for parts in shelves:
        for part in parts:
            height = max(boxes[i].height for i in part)
            center[part, 1] = top + height / 2
            top += height + 20
        top += 20 + min(60.0, 3.0 * max(len(part) for part in parts))
    left = min(x[i] * scale - box.width / 2 for i, box in enumerate(boxes))
    center[:, 0] = x * scale - left + 24
    right = max(center[i, 0] + box.width / 2 for i, box in enumerate(boxes))
    bottom = max(center[i, 1] + box.height / 2 for i, box in enumerate(boxes))
    return center, (right + 24, bottom + 8)


def _edges(graph: Structure, at: Layout, place, boxes, values) -> list[str]:
    target = np.repeat(np.arange(len(graph)), np.diff(graph.starts))
    carried = graph.coefs if values is None else values[graph.args]
    most = max(float(np.abs(carried).max(initial=0.0)), 1e-12)
    rank = {
        y: [place[i, 1] for i in np.flatnonzero(at.y == y)] for y in np.unique(at.y)
    }
    per = np.ptp(place[:, 0]) / max(np.ptp(at.x), 1e-9)
    high = np.array([box.height for box in boxes]) / 2
    rows = [(y, at.y == y) for y in rank]
    under = {y: (place[row, 1] + high[row]).max() + 4 for y, row in rows}
    over = {y: (place[row, 1] - high[row]).min() - 4 for y, row in rows}
    lines, labels = [], []
    for e in np.argsort(np.abs(carried), kind="stable").tolist():
        a, b, v = int(graph.args[e]), int(target[e]), float(carried[e])
        start = (place[a, 0], place[a, 1] + boxes[a].height / 2)
        end = (place[b, 0], place[b, 1] - boxes[b].height / 2)
        inner = [
            (place[a, 0] + (px - at.x[a]) * per, float(np.mean(rank[py])))
            for px, py in at.routes.get(e, [])
        ]
        points = [start, *(p for p in inner if start[1] < p[1] < end[1]), end]
        # straight through the other rows of a layer, curved between layers
        points[0] = (start[0], max(start[1], under[at.y[a]]))
        points[-1] = (end[0], min(end[1], over[at.y[b]]))
        path = f"M{start[0]:.1f},{start[1]:.1f}V{points[0][1]:.1f}"
        for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
            middle = (y0 + y1) / 2
            path += f"C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}"
        path += f"V{end[1]:.1f}"
        plain = values is None and v == 1
        color = dot.GREEN if v > 0 else dot.RED if v < 0 else dot.GRAY
        color = dot.GRAY if plain else color
        width = 0.7 + (2.8 if values is None else 5.3) * abs(v) / most * (not plain)
        shade = 0.35 + 0.6 * abs(v) / most if v else 0.9
        dashes = "" if v else ' stroke-dasharray="3 4"'
        lines.append(
            f'<path d="{path}" stroke="{color}" stroke-width="{width:.2f}" '
            f'stroke-opacity="{shade:.2f}"{dashes}/>'
        )
        boxed = graph.level == "scalar"  # there the product is a box
        if len(graph.args) <= MOST_LABELS and graph.coefs[e] != 1 and not boxed:
            # near the source and at different heights, or labels would meet
            t = (0.3, 0.42, 0.36, 0.48)[(e - int(graph.starts[b])) % 4]
            (x0, y0), (x1, y1) = points[:2]
            # the curve's point at t, of control points half way down
            along, down = 3 * t * t - 2 * t**3, 1.5 * t * (1 - t) + t**3
            where = f'x="{x0 + along * (x1 - x0):.1f}" '
            where += f'y="{y0 + down * (y1 - y0) + 4:.1f}"'
            text = _number(float(graph.coefs[e]))
            labels.append(f'<text class="weight" {where}>{text}</text>')
    return [*lines, *labels]


def _drawn(graph: Structure, node: int, box: _Box, x: float, y: float) -> list[str]:
    kind = "output" if node in graph.outputs else graph.ops[node]
    fill, stroke = COLORS.get(kind, COLORS[""])
    left, top = x - box.width / 2, y - box.height / 2
    key = escape("".join(c if c.isprintable() else "?" for c in graph.keys[node]))
    parts = [
        f'<g class="{kind}"><title>{key}</title>'
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="7" fill="{fill}" stroke="{stroke}"/>'
    ]
    start = x - (len(box.pictures) * (PICTURE + 6) - 6) / 2
    for i, address in enumerate(box.pictures):
        parts.append(
            f'<image x="{start + i * (PICTURE + 6):.1f}" y="{top + 7:.1f}" '
            f'width="{PICTURE}" height="{PICTURE}" href="{address}"/>'
        )
    base = top + 17 + (PICTURE + 8) * bool(box.pictures)
    for i, (kind, text) in enumerate(box.lines):
        text = escape("".join(c if c.isprintable() else "?" for c in text))
        parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{base + i * LINE:.1f}">{text}</text>'
        )
    return [*parts, "</g>"]


def _note(graph: Structure, valued: bool, pictured: bool) -> str:
    low, high = graph.low.min(initial=np.inf), graph.high.max(initial=-np.inf)
    parts = [f"<low, high>: bounds for inputs in [{low:.4g}, {high:.4g}]"]
    if pictured:
        parts.append("pictures: weights, green +, red \u2212")
    if valued:
        parts.append("[value] and lines for one input")
    return "; ".join(parts) + "."
