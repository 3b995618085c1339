"""Bounds of nodes by lines: what a node is at least, as a sum over the inputs.

A sum of nodes is followed back to the inputs: an operation that it adds is replaced by
a line below, one that it subtracts by a line above (`_lines`), and what is left is a
sum over the inputs, whose least value on a box is known. Unlike intervals this does not
forget that two nodes read the same input. Any mixture of two lines holds; `steps` of
projected gradient choose the mixtures that give the highest bound.

References: Zhang et al., "Efficient neural network robustness certification with
general activation functions", 2018 (arXiv 1811.00866); Xu et al., "Fast and complete",
2021 (arXiv 2011.13824), whose slopes are optimized.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from sparsejax.flowgraph import _inline, _lines, _ranges
from sparsejax.flowgraph._structure import PLAIN, Structure

CELLS = 2**22  # numbers that are followed back at a time
_MOVE, _SLOWER = 0.5, 0.85  # of shares in a step, and from step to step


class _Sum(NamedTuple):
    """Nodes that are weighted sums: of `reads`, by `weights` (reads, members)."""

    members: np.ndarray
    reads: np.ndarray
    weights: sparse.csr_array
    consts: np.ndarray


class _Operation(NamedTuple):
    """Nodes of an operation; `reads` and `spread` (reads, members) for each operand."""

    members: np.ndarray
    args: np.ndarray
    reads: list[np.ndarray]
    spread: list[sparse.csr_array]
    lines: _lines.Lines


class Relaxation:
    """The lines of a graph's nodes on a box, and intervals narrowed by them.

    Attributes:
        graph: with max and min written as relus.
        place: where the nodes of the graph that was given are in it.
        least, most: ends of its nodes, shape (nodes,).
    """

    def __init__(
        self,
        graph: Structure,
        low: Float[np.ndarray, " inputs"],
        high: Float[np.ndarray, " inputs"],
        wide: tuple[np.ndarray, np.ndarray] | None = None,
    ):
        self.graph, self.place = _inline.with_relus(graph)
        self._low, self._high = (end[self.graph.inputs] for end in (low, high))
        wide = wide or _ranges.ranges(graph, low[:, None], high[:, None])
        known = np.full((2, len(self.graph)), [[-np.inf], [np.inf]])
        np.maximum.at(known[0], self.place, wide[0][:, 0])
        np.minimum.at(known[1], self.place, wide[1][:, 0])
        self._known = known
        self._steps: list[_Sum | _Operation] = []
        self._needed = _needed(self.graph)
        least, most = _ranges.ranges(
            self.graph, low[:, None], high[:, None], refine=self._refine
        )
        self.least, self.most = least[:, 0], most[:, 0]

    def bounds(
        self, nodes: Int[np.ndarray, " k"], steps: int = 0
    ) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """Least and most of nodes of the graph that was given."""
        at = self.place[nodes]
        low, high = self._followed(at, steps)
        return _narrowed(self.least[at], self.most[at], low, high)

    # ---- Forward: intervals, and lines where they are known

    def _refine(self, op, members, operands, least, most) -> None:
        least[members, 0], most[members, 0] = _narrowed(
            least[members, 0], most[members, 0], *self._known[:, members]
        )
        if op in PLAIN:
            self._steps.append(self._sum(members))
            low, high = least[members, 0], most[members, 0]
            open_, turning = self._needed[:, members]
            at = members[(open_ & (low < high)) | (turning & (low < 0) & (high > 0))]
            if op == "affine" and len(at):
                low, high = self._followed(at, 0)
                least[at, 0], most[at, 0] = _narrowed(
                    least[at, 0], most[at, 0], low, high
                )
            return
        flat = [(low[:, 0], high[:, 0]) for low, high in operands]
        own = least[members, 0], most[members, 0]
        found = _lines.lines(self.graph, op, flat, own)
        self._steps.append(self._operation(members, len(operands), found))

    def _sum(self, members: np.ndarray) -> _Sum:
        graph = self.graph
        counts = np.diff(graph.starts)[members]
        chosen = np.zeros(len(graph), bool)
        chosen[members] = True  # members are in order
        edges = np.flatnonzero(np.repeat(chosen, np.diff(graph.starts)))
        reads, rows = np.unique(graph.args[edges], return_inverse=True)
        owner = np.repeat(np.arange(len(members)), counts)
        weights = sparse.csr_array(
            (graph.coefs[edges], (rows, owner)), shape=(len(reads), len(members))
        )
        return _Sum(members, reads, weights, graph.consts[members])

    def _operation(self, members, count: int, lines: _lines.Lines) -> _Operation:
        args = self.graph.args[self.graph.starts[members, None] + np.arange(count)]
        reads, spread = [], []
        for column in args.T:
            nodes, rows = np.unique(column, return_inverse=True)
            entries = np.ones(len(rows)), (rows, np.arange(len(rows)))
            reads.append(nodes)
            spread.append(sparse.csr_array(entries, shape=(len(nodes), len(rows))))
        return _Operation(members, args, reads, spread, lines)

    # ---- Backward: from sums of nodes to the inputs

    def _followed(self, nodes: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Least and most of nodes of this graph, by lines alone."""
        ends = np.zeros((2, len(nodes)))
        size = max(1, CELLS // (2 * len(self.graph)))
        for start in range(0, len(nodes), size):
            part = nodes[start : start + size]
            sums = np.zeros((len(self.graph), 2, len(part)))
            sums[part, 0, range(len(part))] = 1.0
            sums[part, 1, range(len(part))] = -1.0
            found = self._best(sums.reshape(len(self.graph), -1), steps)
            ends[:, start : start + size] = found.reshape(2, -1) * [[1.0], [-1.0]]
        return ends[0], ends[1]

    def _best(self, sums: np.ndarray, steps: int) -> np.ndarray:
        """Lower bounds of sums of nodes, with the best mixtures of `steps`."""
        shares = [self._start(step) for step in self._steps]
        best, trace = self._back(sums, shares)
        move = _MOVE
        for _ in range(steps):
            shares = self._moved(shares, trace, move)
            bound, trace = self._back(sums, shares)
            best = np.maximum(best, bound)
            move *= _SLOWER
        return best

    @staticmethod
    def _start(step) -> np.ndarray | None:
        """Shares of the second lines, lower and upper: (2, members, 1)."""
        if isinstance(step, _Sum):
            return None
        start = step.lines.start
        return np.stack([start, np.where(start == 0, 0.0, 0.5)])[..., None]

    def _back(self, sums: np.ndarray, shares) -> tuple[np.ndarray, tuple]:
        """Lower bounds of the columns of `sums` (nodes, columns), and how they came."""
        sums, total, signs = sums.copy(), np.zeros(sums.shape[1]), []
        for step, share in zip(self._steps[::-1], shares[::-1], strict=True):
            here = sums[step.members]
            signs.append(here)
            if isinstance(step, _Sum):
                total += step.consts @ here
                if len(step.reads):
                    sums[step.reads] += step.weights @ here
                continue
            up, down = np.maximum(here, 0), np.minimum(here, 0)
            slopes, consts = _mixed(step.lines, share)
            total += _times(up, consts[0]) + _times(down, consts[1])
            for k, (reads, spread) in enumerate(zip(step.reads, step.spread)):
                sums[reads] += spread @ (up * slopes[0, :, k] + down * slopes[1, :, k])
        inputs = sums[: len(self._low)]
        low, high = self._low[:, None], self._high[:, None]
        total += _times(np.maximum(inputs, 0), low) + _times(
            np.minimum(inputs, 0), high
        )
        return total, (signs[::-1], np.where(inputs > 0, low, high))

    def _moved(self, shares, trace, move: float) -> list:
        """Shares a step up the gradient of the bounds.

        The derivative of a bound to a share is what the node weighs in the sum times
        how far apart the two lines are at the inputs, and on the lines, of the bound.
        """
        signs, inputs = trace
        values = np.zeros((len(self.graph), inputs.shape[1]))
        values[: len(inputs)] = np.where(np.isfinite(inputs), inputs, 0.0)
        new = []
        for step, share, here in zip(self._steps, shares, signs, strict=True):
            if isinstance(step, _Sum):
                values[step.members] = (
                    step.weights.T @ values[step.reads] + step.consts[:, None]
                )
                new.append(None)
                continue
            slopes, consts = step.lines.slopes, step.lines.consts
            at = [
                sum(
                    (slopes[k, :, j, None] * values[step.args[:, j]]
                     for j in range(slopes.shape[2])),
                    np.where(np.isfinite(consts[k]), consts[k], 0.0)[:, None],
                )
                for k in range(4)
            ]  # fmt: skip
            both = np.stack([at[1] - at[0], at[3] - at[2]])
            gain = both * np.stack([np.maximum(here, 0), np.minimum(here, 0)])
            new.append(np.clip(share + move * np.sign(gain), 0.0, 1.0))
            lower, upper = (at[k] + share[k // 2] * both[k // 2] for k in (0, 2))
            values[step.members] = np.where(here > 0, lower, upper)
        return new


def _narrowed(low, high, other_low, other_high) -> tuple[np.ndarray, np.ndarray]:
    """The part of intervals that lies in others, which they may miss by rounding."""
    least = np.minimum(np.maximum(other_low, low), high)
    most = np.maximum(np.minimum(other_high, high), low)
    return np.minimum(least, most), np.maximum(least, most)


def _needed(graph: Structure) -> np.ndarray:
    """Sums of sums whose ends matter to who reads them; and those whose sign does."""
    needed = np.zeros((2, len(graph)), bool)
    for k, turning in enumerate((False, True)):
        readers = np.array(
            [op not in PLAIN and (op in ("relu", "abs")) == turning for op in graph.ops]
        )
        needed[k, graph.args[np.repeat(readers, np.diff(graph.starts))]] = True
    return needed & (graph.depth > 1)  # intervals of sums of inputs are exact


def _mixed(lines: _lines.Lines, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (2, members, operands, columns) and constants of the mixtures."""
    slopes, consts = lines.slopes[..., None], lines.consts[..., None]
    with np.errstate(invalid="ignore"):
        moved = consts[::2] + share * (consts[1::2] - consts[::2])
    return (
        slopes[::2] + share[:, :, None] * (slopes[1::2] - slopes[::2]),
        np.where(np.isnan(moved), consts[::2], moved),  # both are infinite
    )


def _times(factors: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums over rows of products in which 0 times infinity is 0."""
    with np.errstate(invalid="ignore"):
        return np.where(factors == 0, 0.0, factors * values).sum(axis=0)
