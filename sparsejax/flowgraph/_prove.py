"""Whether a graph's outputs stay below a limit on a box: intervals, lines, programs.

The cheapest proof first, and the next one only for the outputs that are still open.
What HiGHS finds above the limit is evaluated before it counts.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sparsejax.flowgraph import _encodings, _evaluate, _exact, _inline, _ranges
from sparsejax.flowgraph._exact import TOLERANCE
from sparsejax.flowgraph._relaxation import Relaxation
from sparsejax.flowgraph._structure import Structure

STEPS = 20  # that improve the lines where the first ones do not settle it
_ROUNDING = 1e-9


class Verdict(NamedTuple):
    """What is known of the largest output on a box.

    Attributes:
        proved: whether no output exceeds the limit; None where it is not known.
        bound: no output exceeds this.
        by: the method that settled it, or the last that was tried.
        witness: flat input at which an output exceeds the limit, where one was found.
    """

    proved: bool | None
    bound: float
    by: str
    witness: np.ndarray | None = None


def prove(
    graph: Structure,
    signs: Float[np.ndarray, " signs"],
    limit: float,
    time_limit: float,
    largest: bool = False,
    lap: Callable[[str], None] = lambda step: None,
) -> Verdict:
    """Whether `sign * output <= limit` on the graph's domain, for all of them.

    Args:
        graph: its `low` and `high` are the box.
        signs: (1,), or (1, -1) for both ends of every output.
        limit: that none may exceed.
        time_limit: seconds for each mixed-integer program.
        largest: whether to go on to the largest output where the limit is exceeded;
            `proved` then says whether the witness reaches the bound.
        lap: called with the name of every step, when it ends.

    Raises:
        ValueError: if an output has no limits in the box.
    """
    low, high = graph.low, graph.high
    least, most = _ranges.ranges(graph, low[:, None], high[:, None])
    tops = _tops(least[graph.outputs, 0], most[graph.outputs, 0], signs)
    lap("interval")
    if tops.max() <= limit:
        return Verdict(True, float(tops.max()), "interval")
    relaxation = Relaxation(graph, low, high, wide=(least, most))
    for steps in (0, STEPS):
        open_ = np.flatnonzero((tops > limit).any(axis=0))
        ends = relaxation.bounds(graph.outputs[open_], steps)
        tops[:, open_] = np.minimum(tops[:, open_], _tops(*ends, signs))
        if tops.max() <= limit:
            break
    lap("linear")
    if tops.max() <= limit:
        return Verdict(True, float(tops.max()), "linear")
    if not np.isfinite(tops).all():
        raise ValueError(_without_limits(graph, least[:, 0], most[:, 0]))
    programs = _Programs(graph, relaxation, signs, time_limit)
    verdict = programs.verdict(tops, limit, largest)
    lap("exact")
    return verdict


def _without_limits(graph: Structure, least: np.ndarray, most: np.ndarray) -> str:
    """Which operation makes values without limits, of limited ones."""
    lost = np.isinf(least) | np.isinf(most)
    for i in np.flatnonzero(lost).tolist():
        if not lost[graph.operands(i)[0]].any():
            return (
                f"node {graph.keys[i]!r} ({graph.ops[i]}) has no limits on this box, "
                "so that nothing can be proved; choose a smaller box"
            )
    return "an output has no limits on this box, so that nothing can be proved"


def value(graph: Structure, x: np.ndarray, signs: np.ndarray) -> float:
    """The largest `sign * output` at a flat input, in float64."""
    outputs = _evaluate.in_numpy(graph, x.reshape(graph.shape))[graph.outputs]
    return float((signs[:, None] * outputs).max())


def _tops(low: np.ndarray, high: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """What `sign * output` is at most, (signs, outputs)."""
    return np.where(signs[:, None] > 0, high, -low)


def _outwards(ends: np.ndarray, sign: int) -> np.ndarray:
    """Ends moved by more than rounding, so that programs have solutions; not past 0."""
    moved = ends + sign * _ROUNDING * (1 + np.abs(ends))
    return np.where((ends * sign <= 0) & (moved * sign > 0), 0.0, moved)


class _Programs:
    """Mixed-integer programs of a graph's outputs, in ranges narrowed by lines."""

    def __init__(self, graph, relaxation: Relaxation, signs, time_limit: float):
        self.graph, self.signs, self.time_limit = graph, signs, time_limit
        self.flat, self.place = _inline.inlined(graph)
        low, high = _exact.intervals(
            graph, self.flat, self.place, graph.low, graph.high
        )
        least, most = (
            _outwards(end[relaxation.place], sign)
            for end, sign in ((relaxation.least, -1), (relaxation.most, 1))
        )
        np.maximum.at(low, self.place, least)
        np.minimum.at(high, self.place, most)
        self.ends = low, high

    def verdict(self, tops: np.ndarray, limit: float, largest: bool) -> Verdict:
        """One program for each output and sign that is open, the least sure first."""
        witness = None
        for at in np.argsort(-tops, axis=None):
            k, output = np.unravel_index(at, tops.shape)
            if tops[k, output] <= limit:
                break
            node = int(self.place[self.graph.outputs[output]])
            try:
                program, columns = _encodings.encode(self.flat, node, *self.ends)
            except ValueError:  # a curve, or values without limits
                return Verdict(None, float(tops.max()), "linear", witness)
            top, solution = self._reach(
                program, columns[node], self.signs[k], -np.inf if largest else limit
            )
            tops[k, output] = min(tops[k, output], top)
            if solution is None:
                continue
            x = self._input(columns, solution)
            reached = value(self.graph, x, self.signs)
            if reached > limit and not largest:
                return Verdict(False, float(tops.max()), "exact", x)
            if reached > limit:
                limit, witness = reached, x
        slack = 5 * TOLERANCE * (1 + abs(limit)) if largest else 0.0
        settled = bool(tops.max() <= limit + slack)
        return Verdict(settled or None, float(tops.max()), "exact", witness)

    def _reach(self, program, column: int, sign: float, limit: float):
        """What a column is at most, times its sign, and a solution that is there.

        Any solution above the limit will do; for one that only touches it, and without
        a limit, the largest is looked for.
        """
        if np.isfinite(limit):
            room = TOLERANCE * (1 + abs(limit))
            program.row((sign, column), low=limit - room)
            proved, solution = _exact.minimize(
                program, column, -sign, self.time_limit, first=True
            )
            program.rows.pop()
            if proved == np.inf:
                return limit, None
            if solution is None or sign * solution[column] > limit + room:
                return -proved + TOLERANCE * (1 + abs(proved)), solution
        proved, solution = _exact.minimize(program, column, -sign, self.time_limit)
        return -proved + TOLERANCE * (1 + abs(proved)), solution

    def _input(self, columns: dict[int, int], solution: np.ndarray) -> np.ndarray:
        """The input of a solution; in the middle of the box where it says nothing."""
        low, high = self.graph.low, self.graph.high
        x = np.clip((low + high) / 2, low, high)
        read = [i for i in range(len(self.flat.inputs)) if i in columns]
        x[self.flat.inputs[read]] = solution[[columns[i] for i in read]]
        return np.clip(x, low, high)
