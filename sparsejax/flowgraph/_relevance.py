"""What every node, edge and bias of a graph has to do with one of its outputs.

Multipliers Q go back from the output, whose own is 1: a weighted sum passes weight x Q,
a function b = f(s) of a sum (f(s) - f(0)) / s x Q, so that f(0) is a constant. The
relevance of a node is value x Q, of an edge the value that it brings x Q of where it
leads. Shares and biases add up to the output; as everything is a number, that can be
read off at every node. The page computes the same (page/relevance.js).

Two values that both depend on the input have half of their product each; a maximum of
such is its (first) largest operand's; what is flat, a comparison or a rounding, is a
constant.

Reference: Bach et al., "On Pixel-Wise Explanations for Non-Linear Classifier Decisions
by Layer-Wise Relevance Propagation", 2015.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float

from sparsejax import pages
from sparsejax.flowgraph._evaluate import batch_shape, in_numpy, numpy_function
from sparsejax.flowgraph._structure import Structure, arity, output_position

FLAT = frozenset("sign floor ceil round not gt ge lt le eq ne and or xor".split())
TINY = 1e-10  # closer to zero than this, a quotient gives way to the derivative
STEP = 1e-5  # of that derivative, by differences

Values = Float[np.ndarray, "... batch"]


class Relevance(NamedTuple):
    """Relevance for one output; every field has the batch's axes first.

    sum(input) + sum(bias) + sum(constants) = output

    Attributes:
        output: the value of the output.
        input: of every element of the function's input, shape `(*batch, *shape)`.
        nodes: value x multiplier of every node.
        multipliers: Q of every node.
        edges: what every edge brings; the edges into a weighted sum, with its bias,
            add up to the relevance of the sum.
        bias: of the number that every node adds to its sum.
        constants: of every node's other numbers: f(0), constants, what is flat.
    """

    output: Float[np.ndarray, "*batch"]
    input: Float[np.ndarray, "..."]
    nodes: Float[np.ndarray, "*batch nodes"]
    multipliers: Float[np.ndarray, "*batch nodes"]
    edges: Float[np.ndarray, "*batch edges"]
    bias: Float[np.ndarray, "*batch nodes"]
    constants: Float[np.ndarray, "*batch nodes"]

    @pages.display
    def _repr_html_(self) -> str:
        if self.output.ndim:
            return pages.output(f"Relevance for {self.output.size} outputs.")
        rows = [
            ("input", float(self.input.sum())),
            ("biases", float(self.bias.sum())),
            ("constants", float(self.constants.sum())),
            ("output", float(self.output)),
        ]
        table = pages.listing(rows, ("part", "relevance"))
        return pages.output(table, pages.signed(self.input, "relevance of the input"))

    def residual(self) -> Float[np.ndarray, "*batch"]:
        """input + bias + constants - output."""
        axes = tuple(range(self.output.ndim, self.input.ndim))
        numbers = self.bias.sum(axis=-1) + self.constants.sum(axis=-1)
        return np.asarray(self.input.sum(axis=axes) + numbers - self.output)


def relevance(
    graph: Structure, x: ArrayLike | Any, output: int | str | None = None
) -> Relevance:
    """See `Graph.relevance`."""
    batch = batch_shape(graph, x)
    x = np.asarray(x, np.float64)
    if output is None and len(graph.outputs) > 1:
        raise ValueError(
            f"the graph has {len(graph.outputs)} outputs; say which one to explain, "
            f"by its position or its name, such as {graph.output_names[0]!r}"
        )
    target = int(graph.outputs[output_position(graph, 0 if output is None else output)])
    values = in_numpy(graph, x.reshape(-1, *graph.shape)).T  # nodes first, then batch
    multipliers, edges, bias, constants = _pass_back(graph, values, target)
    nodes = _times(multipliers, values)
    _check_finite(graph, values[target], nodes)
    whole = np.zeros((len(graph.low), values.shape[1]))
    whole[graph.inputs] = nodes[: len(graph.inputs)]

    def restore(part):
        return part.T.reshape(*batch, len(part))

    return Relevance(
        values[target].reshape(batch),
        whole.T.reshape(*batch, *graph.shape),
        *map(restore, (nodes, multipliers, edges, bias, constants)),
    )


def _pass_back(graph: Structure, values: Values, target: int) -> tuple[Values, ...]:
    """Multipliers of nodes, relevance of edges, biases and constants, by node."""
    q = np.zeros_like(values)
    edges = np.zeros((graph.num_edges, values.shape[1]))
    bias, constants = np.zeros_like(q), np.zeros_like(q)
    depends = _depends(graph)
    q[target] = 1.0
    for i in range(target, -1, -1):
        op = graph.ops[i]
        if op == "input" or not q[i].any():
            continue
        if op == "const" or op in FLAT:
            constants[i] = _times(q[i], values[i])
            continue
        args, coefs = graph.operands(i)
        if op in ("affine", "output") or arity(graph, op) == 1:
            passed, constants[i] = _through_sum(graph, i, values, q[i])
            bias[i] = graph.consts[i] * passed
            back = coefs[:, None] * passed
        else:
            back, constants[i] = _through(graph, i, values, depends[args], q[i])
        span = slice(graph.starts[i], graph.starts[i + 1])
        edges[span] = _times(back, values[args])
        np.add.at(q, args, back)
    return q, edges, bias, constants


def _depends(graph: Structure) -> np.ndarray:
    """Which nodes depend on the input, with a derivative."""
    found = np.zeros(len(graph), bool)
    for i, op in enumerate(graph.ops):
        found[i] = op == "input" or (
            op not in FLAT and bool(found[graph.operands(i)[0]].any())
        )
    return found


def _times(q: Values, values: Values) -> Values:
    """q x values; what has no part in the output has none even where it is infinite."""
    with np.errstate(invalid="ignore"):
        return np.where(q == 0, 0.0, q * values)


def _through_sum(graph: Structure, i: int, values: Values, q: Values) -> tuple:
    """The multiplier of a node's weighted sum, and the relevance of f(0)."""
    op, (args, coefs) = graph.ops[i], graph.operands(i)
    if op in ("affine", "output"):
        return q, np.zeros_like(q)
    total = np.tensordot(coefs, values[args], 1) + graph.consts[i]
    if op == "relu":
        return np.where(total > 0, q, 0.0), np.zeros_like(q)
    return _through_function(numpy_function(graph, op), total, values[i], q)


def _through_function(f, a: Values, b: Values, q: Values) -> tuple:
    """The slope rule: the multiplier of a where b = f(a), the relevance of f(0)."""
    with np.errstate(all="ignore"):
        zero = f(np.zeros_like(a))
        zero = np.where(np.isfinite(zero), zero, 0.0)  # log, 1 / a: all of it is a's
        far = np.abs(a) >= TINY
        slope = (b - zero) / np.where(far, a, 1.0)
        derivative = (f(a + STEP) - f(a - STEP)) / (2 * STEP)
    return _times(q, np.where(far, slope, derivative)), _times(q, zero)


def _through(graph: Structure, i: int, values: Values, depends, q: Values) -> tuple:
    """Multipliers of the operands of an operation of several, and a constant's part."""
    op, args = graph.ops[i], graph.operands(i)[0]
    operands, b = values[args], values[i]
    back = np.zeros_like(operands)
    several = depends.sum() != 1
    if op == "select":
        back[1], back[2] = np.where(operands[0] > 0, [0 * q, q], [q, 0 * q])
    elif op in ("max", "min") and (several or len(args) > 2):
        winner = operands.argmax(0) if op == "max" else operands.argmin(0)
        np.put_along_axis(back, winner[None], q[None], 0)
    elif not several:
        k = int(depends.argmax())
        f = numpy_function(graph, op)

        def one(a):
            return f(*operands[:k], a, *operands[k + 1 :])

        back[k], constant = _through_function(one, operands[k], b, q)
        return back, constant
    else:
        return _shared(op, operands, b, depends if depends.any() else ~depends, q)
    return back, np.zeros_like(q)


def _shared(op: str, operands: Values, b: Values, sharing, q: Values) -> tuple:
    """The same relevance for every operand that shares."""
    part = q / sharing.sum()
    if op == "mul":
        return np.stack([part * operands[1], part * operands[0]]), np.zeros_like(q)
    whole = sharing[:, None] & (np.abs(operands) >= TINY)
    back = np.where(whole, part * b / np.where(whole, operands, 1.0), 0.0)
    if op == "div":
        back[0] = part / operands[1]
    return back, q * b - (back * operands).sum(axis=0)


def _check_finite(graph: Structure, output: Values, nodes: Values) -> None:
    wrong = ~np.isfinite(nodes).all(axis=1)
    if wrong.any() or not np.isfinite(output).all():
        where = graph.keys[int(wrong.argmax())] if wrong.any() else "the output"
        raise ValueError(
            f"relevance is not finite at {where!r}; look for NaNs, infinities and "
            "divisions by zero in the input and in the graph's values"
        )
