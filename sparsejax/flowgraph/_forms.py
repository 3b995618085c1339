"""Arrays of affine forms over nodes: what an activation is while a graph is traced.

An array of shape `shape` is `matrix @ nodes + const`, one sparse row for each element,
flattened. Linear operations multiply matrices and make no nodes; only what is nonlinear
turns rows into nodes (`Nodes.of`). So every maximal linear chain becomes one dot
product, and a weight that is zero is never there.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from scipy import sparse

from sparsejax.flowgraph._structure import TooLarge


@dataclasses.dataclass(eq=False)
class Forms:
    """An array of affine forms.

    `Nodes.of` writes the rows that it makes into nodes anew, in terms of these: they
    mean the same, and whoever reads them next reads the nodes.

    Attributes:
        shape: of the array.
        matrix: sparse, (elements, nodes there may be); no explicit zeros.
        const: (elements,).
        mixed: whether a product or a sum over elements made it.
    """

    shape: tuple[int, ...]
    matrix: sparse.csr_array
    const: Float[np.ndarray, " elements"]
    mixed: bool = False

    @property
    def terms(self) -> Int[np.ndarray, " elements"]:
        """How many nodes every element is made of; 0 for a number."""
        return np.diff(np.asarray(self.matrix.indptr))

    @property
    def index(self) -> Int[np.ndarray, "..."]:
        """The row of every element, in the array's shape."""
        return np.arange(len(self.const)).reshape(self.shape)


def constant(array, width: int) -> Forms:
    """An array of numbers as forms without nodes."""
    array = np.asarray(array, np.float64)
    return Forms(array.shape, sparse.csr_array((array.size, width)), array.reshape(-1))


def take(parts: Sequence[Forms], index: ArrayLike) -> Forms:
    """Elements of several arrays, by position among all their elements."""
    rows = np.asarray(index).reshape(-1)
    whole = parts[0].matrix
    if len(parts) > 1:
        whole = sparse.vstack([part.matrix for part in parts], format="csr")
    const = np.concatenate([part.const for part in parts])
    chosen = sparse.csr_array(sparse.csr_array(whole)[rows])
    return Forms(np.shape(index), chosen, const[rows], any(p.mixed for p in parts))


def broadcast(forms: Forms, shape: tuple[int, ...]) -> Forms:
    """Repeat elements, as NumPy would."""
    if forms.shape == shape:
        return forms
    return take([forms], np.broadcast_to(forms.index, shape))


def add(a: Forms, b: Forms) -> Forms:
    """The sum of two arrays of one shape."""
    matrix = _clean(a.matrix + b.matrix)
    return Forms(a.shape, matrix, a.const + b.const, a.mixed or b.mixed)


def scale(forms: Forms, factors: np.ndarray) -> Forms:
    """Every element times a number of its own; 0 times anything is 0."""
    diagonal = sparse.diags_array(factors, format="csr")
    matrix = _clean(diagonal @ forms.matrix)
    with np.errstate(invalid="ignore"):
        const = np.where(factors == 0, 0.0, factors * forms.const)
    return Forms(forms.shape, matrix, const, forms.mixed)


def product(kernel: sparse.csr_array, forms: Forms, shape) -> Forms:
    """Weighted sums of elements, one a row of `kernel` (results, elements)."""
    matrix = _clean(sparse.csr_array(kernel @ forms.matrix))
    return Forms(tuple(shape), matrix, kernel @ forms.const, mixed=True)


def kernel(rows, columns, weights, results: int, elements: int) -> sparse.csr_array:
    """A sparse matrix from its entries, in parts; column -1 is padding."""
    rows, columns, weights = (
        np.concatenate([np.ravel(part) for part in parts] or [np.zeros(0)])
        for parts in (rows, columns, weights)
    )
    there = (columns >= 0) & (weights != 0)
    entries = weights[there], (rows[there], columns[there])
    return sparse.csr_array(sparse.coo_array(entries, (results, elements)))


def _clean(matrix) -> sparse.csr_array:
    matrix = sparse.csr_array(matrix)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


# Operations that are infinite or not a number somewhere; overflow is not counted.
PARTIAL = frozenset(
    "log log1p sqrt rsqrt div rem pow arcsin arccos arccosh arctanh".split()
)


class Nodes:
    """The nodes made so far; equal ones are shared.

    A node is (op, args, coefs, const, key); a key is (layer, unit). `limit` is also the
    width of every matrix of forms; `partial` are the operations that are not finite
    everywhere.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.rows: list[tuple] = []
        self.total: list[bool] = []  # whether a node is finite whatever is read
        self.partial: set[str] = set(PARTIAL)
        self._known: dict[tuple, int] = {}

    def add(self, op, args=(), coefs=(), const=0.0, key=("", "")) -> int:
        """The node that computes this, new or not."""
        what = (op, args, coefs, const + 0.0)  # no negative zero
        node = self._known.get(what)
        if node is None:
            if len(self.rows) >= self.limit:
                raise TooLarge(f"the graph has more than {self.limit:,} nodes")
            node = self._known[what] = len(self.rows)
            self.rows.append((*what, key))
            self.total.append(
                op not in self.partial and all(self.total[a] for a in args)
            )
        return node

    def input(self, position: int, name: str) -> None:
        """The node of an input; these come first."""
        self.rows.append(("input", (), (), 0.0, (name, None)))
        self.total.append(True)
        assert len(self.rows) == position + 1

    def constant(self, value: float, key=("constant", "")) -> int:
        """A node that is a number."""
        if not math.isfinite(value):
            raise ValueError(f"an operand is {value}")
        layer, unit = key
        return self.add("const", const=value, key=(layer, unit or f"[{value:g}]"))

    def of(self, forms: Forms, layer: str) -> Int[np.ndarray, " elements"]:
        """A node for each element, -1 for the constant ones.

        An element that is a node already stays that; another becomes an affine node.
        """
        matrix, const = forms.matrix, forms.const
        starts = np.asarray(matrix.indptr)
        columns, weights = np.asarray(matrix.indices), np.asarray(matrix.data)
        if not np.isfinite(weights).all():
            raise ValueError("a weight is not finite")
        lengths = forms.terms
        nodes = np.full(len(const), -1)
        single = lengths == 1
        first = starts[:-1][single]
        plain = (weights[first] == 1) & (const[single] == 0)
        nodes[np.flatnonzero(single)[plain]] = columns[first[plain]]
        fixed = (lengths == 0) | np.isinf(const)  # nodes are finite
        rest = np.flatnonzero(~fixed & (nodes < 0))
        if np.isnan(const).any():
            raise ValueError("a constant is not a number")
        if not len(rest):
            return nodes
        spans, offsets = starts.tolist(), const.tolist()
        columns, weights = columns.tolist(), weights.tolist()
        for i in rest.tolist():
            span = slice(spans[i], spans[i + 1])
            args, coefs = tuple(columns[span]), tuple(weights[span])
            key = layer, unit(forms.shape, i)
            nodes[i] = self.add("affine", args, coefs, offsets[i], key)
        same = place(nodes, const, forms.shape, self.limit)
        forms.matrix, forms.const = same.matrix, same.const
        return nodes

    def apply(
        self, op: str, fold: Callable, operands: Sequence[Forms], layer: str
    ) -> Forms:
        """An operation, element by element, on arrays of one shape.

        Args:
            op: its name.
            fold: the same on NumPy arrays, for the elements that are constant.
            operands: arrays of one shape.
            layer: what the new nodes' keys begin with.
        """
        made = [self.of(operand, f"{layer}.in") for operand in operands]
        consts = [operand.const for operand in operands]
        fixed = np.all([nodes < 0 for nodes in made], axis=0)
        values, results = np.zeros(len(fixed)), np.full(len(fixed), -1)
        if fixed.any():
            with np.errstate(all="ignore"):
                values[fixed] = fold(*(const[fixed] for const in consts))
        shape = operands[0].shape
        for i in np.flatnonzero(~fixed).tolist():
            args = tuple(
                int(nodes[i]) if nodes[i] >= 0 else self.constant(float(const[i]))
                for nodes, const in zip(made, consts, strict=True)
            )
            results[i], values[i] = self._node(op, args, (layer, unit(shape, i)))
        return place(results, values, shape, self.limit)

    def gather(self, op: str, forms: Forms, groups: np.ndarray, layer: str) -> Forms:
        """The largest or the smallest ("max", "min") of groups of elements.

        Args:
            groups: positions of elements, `(*shape, members)`; -1 is padding.
        """
        nodes = self.of(forms, f"{layer}.in")
        worst = -math.inf if op == "max" else math.inf
        choose = max if op == "max" else min
        shape = groups.shape[:-1]
        flat = groups.reshape(-1, groups.shape[-1])
        results, values = np.full(len(flat), -1), np.full(len(flat), worst)
        for i, group in enumerate(flat.tolist()):
            members = dict.fromkeys(int(nodes[j]) for j in group if j >= 0)
            fixed = [forms.const[j] for j in group if j >= 0 and nodes[j] < 0]
            members.pop(-1, None)
            least = choose(fixed, default=worst)
            if not members:
                values[i] = least
                continue
            if least != worst:
                members[self.constant(float(least))] = None
            args = tuple(members)
            key = layer, unit(shape, i)
            results[i], values[i] = (
                (args[0], 0.0) if len(args) == 1 else self._node(op, args, key)
            )
        return place(results, values, shape, self.limit)

    def _node(self, op: str, args: tuple[int, ...], key) -> tuple[int, float]:
        """(node, 0) or, where the operands alone tell the value, (-1, value)."""
        if len(args) == 2 and args[0] == args[-1]:
            if op in ("eq", "ge", "le", "ne", "gt", "lt") and self.total[args[0]]:
                return -1, float(op in ("eq", "ge", "le"))
            if op in ("max", "min", "and", "or"):
                return args[0], 0.0
            if op == "mul":
                return self.add("square", args[:1], (1.0,), 0.0, key), 0.0
        if op == "select" and len(set(args[1:])) == 1:
            return args[-1], 0.0
        return self.add(op, args, (1.0,) * len(args), 0.0, key), 0.0


def place(nodes: np.ndarray, values: np.ndarray, shape, width: int) -> Forms:
    """An array whose elements are nodes, or numbers where the node is -1."""
    there = nodes >= 0
    rows = np.flatnonzero(there)
    entries = np.ones(len(rows)), (rows, nodes[there])
    matrix = sparse.csr_array(sparse.coo_array(entries, (len(nodes), width)))
    return Forms(tuple(shape), matrix, np.where(there, 0.0, values))


def unit(shape: Sequence[int], position: int) -> str:
    """The index of an element, without axes of one: "[3,4]"."""
    parts = []
    for size in reversed(shape):
        position, part = divmod(position, size)
        if size > 1:
            parts.insert(0, str(part))
    return f"[{','.join(parts)}]" if parts else ""
