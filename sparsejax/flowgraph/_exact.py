"""Exact ranges of nodes: the two ends of each are mixed-integer linear programs.

Every node that the target depends on is a variable; an operation that switches (relu,
abs, max, min, a comparison) has a 0-1 variable where intervals leave open which way it
goes, and is linear elsewhere. `scipy.optimize.milp` (HiGHS) then gives a bound that is
proved and an input that comes closest to it. Use `Graph.bounds("exact")`.

Seconds for networks of some hundred weights; for dense or deep ones, a time limit cuts
it short, with a gap. For local boxes first narrow `low` and `high`.

HiGHS lets constraints be violated by 1e-6, so bounds are moved outwards by as much,
relative to 1 + |bound|. At a tie a comparison may go either way: the range of a
function that jumps there is that of its closure, and may show a gap.

Reference: Tjeng, Xiao, Tedrake, "Evaluating robustness of neural networks with mixed
integer programming", 2019 (arXiv 1711.07356).
"""

import math

import numpy as np
from scipy import optimize, sparse

from sparsejax import _highs
from sparsejax.flowgraph import _encodings, _evaluate, _inline, _ranges
from sparsejax.flowgraph._encodings import Program
from sparsejax.flowgraph._structure import Structure

TOLERANCE = 1e-6


def solve(
    graph: Structure, nodes: np.ndarray, low: np.ndarray, high: np.ndarray, limit: float
) -> tuple[np.ndarray, ...]:
    """Low, high, gap and both witnesses of `Bounds`, for a flat box."""
    flat, place = _inline.inlined(graph)
    least, most = intervals(graph, flat, place, low, high)
    targets = place[nodes]
    bound = np.zeros((len(nodes), 2))
    inputs = np.tile(np.clip(0.0, low, high), (len(nodes), 2, 1))
    for k, node in enumerate(targets.tolist()):
        program, columns = _encodings.encode(flat, node, least, most)
        read = [i for i in range(len(flat.inputs)) if i in columns]
        for end, sign in enumerate((1.0, -1.0)):
            proved, values = minimize(program, columns[node], sign, limit)
            known = (least[node], -most[node])[end]
            bound[k, end] = max(proved - TOLERANCE * (1 + abs(proved)), known)
            if values is not None:
                inputs[k, end, flat.inputs[read]] = values[[columns[i] for i in read]]
    inputs = np.clip(inputs, low, high)
    shaped = inputs.reshape(len(nodes), 2, *graph.shape)
    values = _evaluate.in_numpy(flat, shaped)[np.arange(len(nodes)), :, targets]
    reached = values * (1.0, -1.0)  # like bound: both ends from below
    bound = np.minimum(bound, reached)
    gap = reached - bound
    gap[gap <= 5 * TOLERANCE * (1 + np.abs(reached))] = 0.0
    return bound[:, 0], -bound[:, 1], gap, shaped[:, 0], shaped[:, 1]


def intervals(graph, flat, place, low, high) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of the inlined graph, and where known the tighter ones of functions."""
    ends = low[:, None], high[:, None]
    least, most = (end[:, 0] for end in _ranges.ranges(flat, *ends))
    if graph.functions:
        tight = _ranges.ranges(graph, *ends)
        np.maximum.at(least, place, tight[0][:, 0])
        np.minimum.at(most, place, tight[1][:, 0])
    return least, most


def minimize(
    program: Program, column: int, sign: float, limit: float, first: bool = False
) -> tuple[float, np.ndarray | None]:
    """A proved lower bound of `sign * column`, and the best columns found.

    Args:
        program: its columns and rows.
        column: what is made small, times `sign`.
        sign: 1 or -1.
        limit: seconds.
        first: whether any solution will do; infinity is the bound where there is none.
    """
    cost = np.zeros(len(program.low))
    cost[column] = sign
    terms = [terms for terms, *_ in program.rows]
    starts = np.cumsum([0, *map(len, terms)])
    flat = [term for row in terms for term in row]
    data = np.array([c for c, _ in flat], np.float64)
    where = np.array([k for _, k in flat], np.int64)
    rows = sparse.csr_array((data, where, starts), shape=(len(terms), len(cost)))
    lows, highs = (np.array([row[k] for row in program.rows]) for k in (1, 2))
    with _highs.quiet():
        result = optimize.milp(
            cost,
            integrality=np.array(program.whole),
            bounds=(np.array(program.low), np.array(program.high)),
            constraints=(rows, lows, highs) if terms else (),
            options={"time_limit": limit, "mip_rel_gap": 1e9 if first else 0.0},
        )
    if first and result.status == 2:
        return math.inf, None
    proved = result.get("mip_dual_bound")
    if proved is None:
        proved = result.fun if result.status == 0 else -math.inf
    return float(proved), result.x
