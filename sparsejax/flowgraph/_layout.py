"""Where to draw the nodes of a graph: layer under layer, with few crossings.

Chains (a product, a bias, a nonlinearity that one node reads) are contracted first,
so that a neuron moves as a whole. The rest is Sugiyama's method: layers by depth,
dummy nodes on long edges, sweeps that sort each layer by the mean position of its
neighbours. Many random starts are swept at once, as rows of one array; the best of
them is improved by exchanging neighbours. Same graph, same layout.

Reference: Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical
system structures", 1981.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sparsejax.flowgraph._structure import Structure

FEWEST, MOST, SWEEPS = 8, 24, 4  # random starts; sweeps of each
MOST_CELLS = 4_000_000  # of a table of all pairs in one layer


class Layout(NamedTuple):
    """Positions in units of one box; y grows from the inputs down.

    Attributes:
        x: of every node; at least 1 apart within a row.
        y: row of every node, a whole number; operands are above their readers.
        routes: inner points `(x, y)` of the edges that pass other layers, by edge.
    """

    x: Float[np.ndarray, " nodes"]
    y: Float[np.ndarray, " nodes"]
    routes: dict[int, list[tuple[float, float]]]


class _Core(NamedTuple):
    """The graph of blocks that is left when chains are contracted.

    Attributes:
        block: of every node; for links, the chains on edges between blocks, -1.
        top, foot: nodes at the ends of the chain that a node is part of.
        edges: edges of the graph that enter a block.
        source, target: blocks of these edges.
        layer: of every block.
    """

    block: np.ndarray
    top: np.ndarray
    foot: np.ndarray
    edges: np.ndarray
    source: np.ndarray
    target: np.ndarray
    layer: np.ndarray


class _Levels(NamedTuple):
    """Blocks and dummy nodes, layer by layer.

    Attributes:
        sizes: number of nodes in every layer.
        ends: for every gap between layers, places of the upper and the lower ends.
        slot: of every block, then every dummy: its place, all layers in a row.
        layers: layer of these.
        dummies: of every edge of the core, its first dummy, and how many there are.
    """

    sizes: np.ndarray
    ends: list[np.ndarray]
    slot: np.ndarray
    layers: np.ndarray
    dummies: np.ndarray


class _Gap(NamedTuple):
    """The edges between two layers, sorted by their ends in the one that is sorted."""

    other: np.ndarray
    first: np.ndarray
    degree: np.ndarray
    has: np.ndarray


def layout(graph: Structure) -> Layout:
    """A layered drawing with few crossings.

    Inputs and constants stand just above their first reader, outputs that nothing
    reads in the last layer.

    Returns:
        A position for every node. Crossings of the straight lines between them are
        what `crossings` counts.
    """
    if not len(graph):
        return Layout(np.zeros(0), np.zeros(0), {})
    core = _contract(graph)
    levels = _layered(core)
    return _place(graph, core, levels, _order(levels.sizes, levels.ends))


def crossings(graph: Structure, layout: Layout) -> int:
    """Number of pairs of edges that cross, drawn as straight lines between nodes.

    Lines that only touch, as those from one node do, do not cross. Works for any
    positions, also those of another program.
    """
    target = np.repeat(np.arange(len(graph)), np.diff(graph.starts))
    ends = np.stack([graph.args, target])
    ends = np.take_along_axis(ends, np.argsort(layout.y[ends], axis=0), axis=0)
    ends = ends[:, np.argsort(layout.y[ends[0]], kind="stable")]
    (x0, x1), (y0, y1) = layout.x[ends], layout.y[ends]
    slope = (x1 - x0) / np.where(y1 > y0, y1 - y0, 1.0)
    total = 0
    for i in range(0, len(x0), 128):
        rows = np.arange(i, min(i + 128, len(x0)))[:, None]
        upto = np.searchsorted(y0, y1[rows].max())  # later ones begin below
        others = np.arange(i + 1, max(upto, i + 1))
        at = np.maximum(y0[rows], y0[others]), np.minimum(y1[rows], y1[others])
        gap = [
            (x0[rows] + slope[rows] * (y - y0[rows]))
            - (x0[others] + slope[others] * (y - y0[others]))
            for y in at
        ]
        apart = np.minimum(np.abs(gap[0]), np.abs(gap[1])) > 1e-7
        cross = (gap[0] * gap[1] < 0) & apart & (at[0] < at[1])
        total += int((cross & (others > rows)).sum())
    return total


def inversions(values: Int[np.ndarray, "rows n"]) -> Int[np.ndarray, " rows"]:
    """Number of pairs `i < j` with `values[i] > values[j]`, in every row."""
    rows, n = values.shape
    width = 32
    total = np.zeros(rows, np.int64)
    if n == 0:
        return total
    pad = -n % width
    most = np.full((rows, pad), np.iinfo(values.dtype).max, values.dtype)
    blocks = np.concatenate([values, most], axis=1).reshape(rows, -1, width)
    later = np.triu(np.ones((width, width), bool), 1)
    above = blocks[..., :, None] > blocks[..., None, :]
    total += (above & later).sum(axis=(1, 2, 3))
    while blocks.shape[1] > 1:  # merge sort, all pairs of runs at once
        if blocks.shape[1] % 2:
            last = np.full((rows, 1, width), np.iinfo(values.dtype).max, values.dtype)
            blocks = np.concatenate([blocks, last], axis=1)
        blocks = np.sort(blocks, axis=2).reshape(rows, -1, 2 * width)
        order = np.argsort(blocks, axis=2, kind="stable")
        left = order < width
        before = np.cumsum(left, axis=2)
        total += np.where(left, 0, width - before).sum(axis=(1, 2))
        blocks = np.take_along_axis(blocks, order, axis=2)
        width *= 2
    return total


def _contract(graph: Structure) -> _Core:
    """Neurons as blocks: a sum, its bias and its nonlinearity, linked by products."""
    n, into = len(graph), np.diff(graph.starts)
    owner, out = np.repeat(np.arange(n), into), np.bincount(graph.args, minlength=n)
    linear = np.array([op == "affine" for op in graph.ops])
    linear[graph.outputs] = False
    chain = linear & (into == 1) & (out == 1)
    links = np.flatnonzero(chain)
    above, below = np.zeros(n, np.int64), np.zeros(n, np.int64)
    above[links], below[graph.args] = graph.args[graph.starts[links]], owner
    top, foot = _follow(links, above), _follow(links[::-1], below)

    edges = np.flatnonzero(~chain[owner])
    source, target = top[graph.args[edges]], owner[edges]
    read = np.bincount(source, minlength=n)
    same = linear[source] & (read[source] == 1) & (into[target] == 1)
    head = np.arange(n)
    for u, v in zip(source[same].tolist(), target[same].tolist(), strict=True):
        head[v] = head[u]
    head[chain] = np.where(head[foot] != foot, head[foot], -1)[chain]
    whole = head == np.arange(n)
    block = np.where(head < 0, -1, (np.cumsum(whole) - 1)[head])
    source, target = block[source[~same]], block[target[~same]]
    layer = _layers(int(whole.sum()), source, target)
    return _Core(block, top, foot, edges[~same], source, target, layer)


def _follow(links: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Where every node gets to from link to link."""
    end = list(range(len(step)))
    for i, near in zip(links.tolist(), step[links].tolist(), strict=True):
        end[i] = end[near]
    return np.array(end)


def rows(graph: Structure) -> np.ndarray:
    """Depth; what reads one node or none is as low as its readers let it."""
    args, starts = graph.args.tolist(), graph.starts.tolist()
    row = [0] * len(graph)
    for i in range(len(graph)):
        for a in args[starts[i] : starts[i + 1]]:
            if row[a] >= row[i]:
                row[i] = row[a] + 1
    last = max(row)
    lowest = [last] * len(graph)
    for i in range(len(graph) - 1, -1, -1):
        operands = args[starts[i] : starts[i + 1]]
        if len(operands) < 2 or lowest[i] == last:
            row[i] = lowest[i]
        for a in operands:
            if row[i] <= lowest[a]:
                lowest[a] = row[i] - 1
    return np.array(row)


def _layers(count: int, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Longest path from above; sources just above their first reader, sinks last."""
    depth = [0] * count
    for u, v in zip(source.tolist(), target.tolist(), strict=True):
        depth[v] = max(depth[v], depth[u] + 1)
    layer = np.array(depth)
    last = layer.max()
    layer[~np.isin(np.arange(count), source)] = last
    sources = ~np.isin(np.arange(count), target)
    first = np.full(count, last + 1)
    np.minimum.at(first, source, layer[target])
    layer[sources] = first[sources] - 1
    return layer


def _layered(core: _Core) -> _Levels:
    """The blocks in their layers, with dummy nodes."""
    count, span = len(core.layer), core.layer[core.target] - core.layer[core.source]
    passed = span - 1
    first = count + np.cumsum(passed) - passed
    edge = np.repeat(np.arange(len(span)), passed)
    step = np.arange(len(edge)) - np.repeat(first - count, passed)
    layers = np.concatenate([core.layer, core.layer[core.source[edge]] + 1 + step])
    dummies = count + np.arange(len(edge))
    upper = np.concatenate([core.source, dummies])
    following = dummies + 1
    long = passed > 0
    following[(first + passed - 1)[long] - count] = core.target[long]
    lower = np.concatenate([np.where(long, first, core.target), following])
    order = np.argsort(layers, kind="stable")
    sizes, slot = np.bincount(layers), np.empty(len(layers), np.int64)
    slot[order] = np.arange(len(layers))
    place = slot - (np.cumsum(sizes) - sizes)[layers]
    gap = layers[upper]
    pairs = np.stack([place[upper], place[lower]])[:, np.argsort(gap, kind="stable")]
    number = np.bincount(gap, minlength=len(sizes) - 1)[: len(sizes) - 1]
    ends = [] if len(sizes) == 1 else np.split(pairs, np.cumsum(number)[:-1], axis=1)
    return _Levels(sizes, ends, slot, layers, np.stack([first, passed]))


def _order(sizes: np.ndarray, ends: list[np.ndarray]) -> list[np.ndarray]:
    """Rank of every node in its layer."""
    rng = np.random.default_rng(0)
    nodes = int(sizes.sum())
    starts = max(1, min(MOST, max(FEWEST, nodes // 10), 200_000 // nodes))
    down, up = [_gap(*e) for e in ends], [_gap(*e[::-1]) for e in ends]
    rank = [np.argsort(rng.random((starts, n)), axis=1) for n in sizes.tolist()]
    for sweep in range(SWEEPS):
        for k in range(len(ends)):
            if sweep % 2:
                rank[k + 1] = _sort(down[k], rank[k], rank[k + 1])
            else:
                rank[-k - 2] = _sort(up[-k - 1], rank[-k - 1], rank[-k - 2])
    best = int(np.argmin(_count(rank, ends, sizes))) if ends else 0
    return _exchange([r[best] for r in rank], ends)


def _gap(other: np.ndarray, own: np.ndarray) -> _Gap:
    by = np.argsort(own, kind="stable")
    has, first, degree = np.unique(own[by], return_index=True, return_counts=True)
    return _Gap(other[by], first, degree, has)


def _sort(gap: _Gap, other: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Ranks by the mean rank of the neighbours; ties, and nodes without, as before."""
    n = own.shape[1]
    key = own * ((other.shape[1] - 1) / max(n - 1, 1))
    if len(gap.has):
        key[:, gap.has] = (
            np.add.reduceat(other[:, gap.other], gap.first, 1) / gap.degree
        )
    order = np.argsort(key + own * (1e-6 / n), axis=1)
    rank = np.empty_like(own)
    rank[np.arange(len(own))[:, None], order] = np.arange(n)
    return rank


def _count(rank, ends, sizes) -> np.ndarray:
    """Crossings between neighbouring layers, for every start."""
    keys, base = [], 0
    for k, (upper, lower) in enumerate(ends):
        keys.append(
            (base + rank[k][:, upper]) * int(sizes.max()) + rank[k + 1][:, lower]
        )
        base += sizes[k]
    whole = np.sort(np.concatenate(keys, axis=1), axis=1)
    layer = np.repeat(np.arange(len(ends)), [e.shape[1] for e in ends])
    return inversions(layer * sizes.max() + whole % sizes.max())


def _exchange(rank: list[np.ndarray], ends: list[np.ndarray]) -> list[np.ndarray]:
    """Exchange neighbours in a layer as long as that removes crossings."""
    for k in range(len(rank) - 1, -1, -1):
        n = len(rank[k])
        if not 1 < n * n <= MOST_CELLS:
            continue
        cost = np.zeros((n, n), np.int64)
        if k and ends[k - 1].size:
            _add_pairs(cost, ends[k - 1][1], rank[k - 1][ends[k - 1][0]])
        if k < len(ends) and ends[k].size:
            _add_pairs(cost, ends[k][0], rank[k + 1][ends[k][1]])
        rank[k][_exchanged(np.argsort(rank[k]), cost - cost.T)] = np.arange(n)
    return rank


def _add_pairs(cost: np.ndarray, own: np.ndarray, other: np.ndarray) -> None:
    """Add the crossings of the edges of u and v, u before v, to a table of pairs."""
    n = len(cost)
    has = np.bincount(other * n + own, minlength=(int(other.max()) + 1) * n)
    before = np.cumsum(has.reshape(-1, n), axis=0) - has.reshape(-1, n)
    by = np.argsort(own, kind="stable")
    nodes, first = np.unique(own[by], return_index=True)
    # not a product of matrices: BLAS starts threads for it
    cost[nodes] += np.add.reduceat(before[other[by]], first, axis=0)


def _exchanged(order: np.ndarray, cost: np.ndarray) -> np.ndarray:
    for step in range(2 * len(order)):
        at = np.arange(step % 2, len(order) - 1, 2)
        worse = at[cost[order[at], order[at + 1]] > 0]
        order[worse], order[worse + 1] = order[worse + 1], order[worse]
        if step > 2 and not len(worse):
            break
    return order


def _place(graph: Structure, core: _Core, levels: _Levels, rank) -> Layout:
    """Columns from the ranks: every layer is spread over the whole width."""
    row = rows(graph)
    width = float(max(np.bincount(row).max(), levels.sizes.max()))
    spread = (np.concatenate(rank)[levels.slot] + 0.5) * width
    spread /= levels.sizes[levels.layers]  # of blocks and dummies
    home = np.where(core.block < 0, core.block[core.foot], core.block)
    x, second = spread[home], spread[core.block[core.top]]
    order = np.lexsort([second, x, row])
    for members in np.split(order, np.cumsum(np.bincount(row))[:-1]):
        if len(members) > 1 and np.diff(x[members]).min() < 1 - 1e-9:
            x[members] = (np.arange(len(members)) + 0.5) * (width / len(members))

    inner = np.bincount(graph.args, minlength=len(graph)) * np.diff(graph.starts) > 0
    inner &= core.block >= 0
    routes = {}
    for i in np.flatnonzero(levels.dummies[1]).tolist():
        edge, (first, number) = int(core.edges[i]), levels.dummies[:, i].tolist()
        while core.block[graph.args[edge]] < 0:
            edge = int(graph.starts[graph.args[edge]])
        points = []
        for dummy in range(first, first + number):
            beside = row[inner & (core.layer[core.block] == levels.layers[dummy])]
            ends = sorted({int(beside.min()), int(beside.max())}) if len(beside) else []
            points += [(float(spread[dummy]), float(y)) for y in ends]
        routes[edge] = points
    return Layout(x, row.astype(float), routes)
