"""Where the operations of a graph are defined: outside of that nothing is proved.

A logarithm that is multiplied by 0, or taken twice and subtracted, is not in a graph:
but the function is not a number where its operand is negative. So whatever a function
computes is looked at, and not only what its graph still needs.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float

from sparsejax.flowgraph import _ranges
from sparsejax.flowgraph._fixed import fixed
from sparsejax.flowgraph._forms import PARTIAL
from sparsejax.flowgraph._graph import Graph
from sparsejax.flowgraph._relaxation import Relaxation
from sparsejax.flowgraph._structure import Structure
from sparsejax.flowgraph._trace import whole

STEPS = 20  # that improve the lines where the first ones do not settle it
Ends = tuple[np.ndarray, np.ndarray]


class Guarded:
    """A function's graph, and the operands of what is not defined everywhere.

    Args:
        fn: of one array.
        inputs: its shape and dtype.

    Raises:
        ValueError: as `trace`; for a function that rounds to 16 bits, too.
    """

    def __init__(self, fn: Callable, inputs: jax.ShapeDtypeStruct):
        everything = whole(fn, inputs, strict=True)
        self._graph = everything.live()
        self._guards: Graph | None = None
        self._ops: list[tuple[str, list[int]]] = []
        bodies = (body.ops for body in everything.functions.values())
        if not PARTIAL.isdisjoint(set(everything.ops).union(*bodies)):
            self._guard(whole(fn, inputs, boxes=(), strict=True))

    def _guard(self, graph: Graph) -> None:
        """Keep what operands are computed from."""
        place: dict[int, int] = {}
        for i, op in enumerate(graph.ops):
            if op in PARTIAL:
                args = graph.operands(i)[0].tolist()
                at = [place.setdefault(node, len(place)) for node in args]
                self._ops.append((op, at))
        nodes = np.array([*place], int)
        self._guards = dataclasses.replace(graph, outputs=nodes).live()

    def on(self, low: np.ndarray, high: np.ndarray) -> tuple[Structure, bool]:
        """The graph on a box, and whether it is defined in all of it, for sure."""
        small = fixed(self._graph, low, high)
        if self._guards is None:
            return small, True
        return small, _defined(fixed(self._guards, low, high), self._ops)


def _defined(guards: Structure, ops: list[tuple[str, list[int]]]) -> bool:
    """Whether all operands lie where their operations are defined, for sure."""
    wide = _ranges.ranges(guards, guards.low[:, None], guards.high[:, None])
    ends = np.stack([end[guards.outputs, 0] for end in wide])
    for steps in (None, 0, STEPS):
        if steps is not None:
            relaxation = Relaxation(guards, guards.low, guards.high, wide=wide)
            narrow = relaxation.bounds(guards.outputs[open_], steps)
            ends[0, open_] = np.maximum(ends[0, open_], narrow[0])
            ends[1, open_] = np.minimum(ends[1, open_], narrow[1])
        outside = [at for op, at in ops if not defined(op, [ends[:, i] for i in at])]
        open_ = sorted({i for at in outside for i in at})
        if not open_ or not len(guards.inputs):
            break
    return not open_


def defined(op: str, operands: list[Float[np.ndarray, " 2"]]) -> bool:
    """Whether an operation is finite wherever its operands lie in intervals."""
    (low, high), (least, most) = operands[0], operands[-1]
    if op in ("log", "rsqrt"):
        return bool(low > 0)
    if op == "sqrt":
        return bool(low >= 0)
    if op == "log1p":
        return bool(low > -1)
    if op in ("arcsin", "arccos"):
        return bool(low >= -1 and high <= 1)
    if op == "arccosh":
        return bool(low >= 1)
    if op == "arctanh":
        return bool(low > -1 and high < 1)
    if op in ("div", "rem"):
        return bool(least > 0 or most < 0)
    if op == "pow":
        positive = low > 0 or (low >= 0 and least >= 0)
        whole_ = least == most == np.round(least)
        return bool(positive or (whole_ and (least >= 0 or high < 0)))
    raise AssertionError(f"{op} is everywhere defined, or unknown")
