"""A function while it is traced: the nodes made so far, their names, and messages.

`Tracer.rule` runs one primitive of a jaxpr on arrays of affine forms, by the rules in
`_rules`, which call back what they share: making nodes, naming them, limits, errors.
"""

import math
from collections import Counter
from collections.abc import Mapping

import jax
import numpy as np
from scipy import sparse

from sparsejax import interpret
from sparsejax.flowgraph import _boxes, _evaluate, _forms, _structure
from sparsejax.flowgraph._forms import PARTIAL, Forms, Nodes
from sparsejax.flowgraph._graph import Graph, function
from sparsejax.flowgraph._ops import OPS
from sparsejax.flowgraph._rules import RULES, Rule
from sparsejax.flowgraph._structure import TooLarge
from sparsejax.interpret import primitives as families

# Steps that are the same for integers of 32 bits as for numbers, overflow aside.
_EXACT = families.MOVES | families.ADDITIONS | families.SUMS | families.PRODUCTS
_EXACT |= families.MAXIMA | families.BOUNDS | {"select_n", "mul", "abs"}
# What may be inside: operations on elements, and moving numbers that are all alike.
_LOCAL = families.ELEMENTWISE & RULES.keys() | families.CALLS | {"broadcast_in_dim"}
_LOCAL |= families.IDENTITIES - {"name"}  # a name makes nodes of its own


class Tracer:
    """What the rules share: the nodes made so far, their names, and messages.

    `strict` is for proofs: what rounds to fewer than 32 bits is refused, and messages
    name no rules, which certificates do not take.
    """

    def __init__(
        self,
        boxes: frozenset[str],
        rules: Mapping[str, Rule],
        max_nodes: int,
        strict: bool = False,
    ):
        self.boxes, self.rules, self.max_nodes = boxes, rules, max_nodes
        self.strict = strict
        self.nodes = Nodes(max_nodes)
        self.functions: dict[str, Graph] = {}
        self._layers: Counter[str] = Counter()
        self._names: Counter[str] = Counter()
        self._renamed: dict[str, str] = {}

    def rule(self, step, arguments) -> list:
        """Run one primitive."""
        if not any(isinstance(argument, Forms) for argument in arguments):
            return step.run(*arguments)
        results, inside = step.shared
        if not results:  # prints and other effects
            return []
        self._settle(step, arguments, inside)
        outs = self._run(step, arguments)
        self._settle(step, outs, results)
        return outs

    def _run(self, step, arguments) -> list:
        if step.name == "name":
            return [self._name(step, arguments[0])]
        if step.enter:
            if step.label in self.boxes and _is_local(step, arguments):
                return [self._box(step, arguments)]
            return step.enter(arguments, self.rule)
        if step.name not in self.rules:
            mend = interpret.unrolling(step) or "rewrite that line with others"
            if not self.strict:
                mend += f", or pass rules={{{step.name!r}: rule}} (see flowgraph.RULES)"
            raise self.error(step, f"has no rule; {mend}")
        if self.strict and _is_narrow(step):
            raise self.error(
                step, "rounds to fewer than 32 bits, which proofs do not model; cast "
                "parameters and inputs to float32"
            )  # fmt: skip
        if not _is_real(step):
            raise self.error(step, f"computes in {step.dtype}, whose rules are its own")
        try:
            self.room(step, math.prod(step.shape))
            return self.rules[step.name](self, step, arguments)
        except TooLarge as error:
            raise TooLarge(f"{error}, at {step.place}; {_SMALLER}") from None
        except (TypeError, IndexError) as error:
            raise self.error(step, f"is used as its rule cannot: {error}") from error

    def forms(self, array) -> Forms:
        """A rule's argument as forms, numbers too."""
        if isinstance(array, Forms):
            return array
        return _forms.constant(array, self.max_nodes)

    def together(self, step, arguments) -> list[Forms]:
        """Operands as forms of the result's shape."""
        return [_forms.broadcast(self.forms(x), step.shape) for x in arguments]

    def apply(
        self, step, op: str, operands: list[Forms], layer: str | None = None
    ) -> Forms:
        """Nodes of an operation, element by element."""
        layer, fold = layer or self.layer(op), OPS[op].numpy
        return self._at(step, self.nodes.apply, op, fold, operands, layer)

    def gather(self, step, op: str, x: Forms, groups: np.ndarray) -> Forms:
        """Nodes of "max" or "min" over groups of elements."""
        return self._at(step, self.nodes.gather, op, x, groups, self.layer(op))

    def product(self, step, kernel: sparse.csr_array, x: Forms) -> Forms:
        """Weighted sums; of sums where that takes fewer edges than naming these."""
        layer = self.layer("sum")
        result = _forms.product(kernel, x, step.shape)
        if result.matrix.nnz <= kernel.nnz + x.matrix.nnz:
            return result
        self._at(step, self.nodes.of, x, layer)
        return _forms.product(kernel, x, step.shape)

    def layer(self, op: str) -> str:
        """A name for the nodes of one step: "relu_0", "relu_1", ...

        It counts steps of the function, not nodes: so it does not depend on weights.
        """
        self._layers[op] += 1
        return f"{op}_{self._layers[op] - 1}"

    def is_truth(self, x: Forms) -> bool:
        """Whether every element is 0 or 1: a comparison, its opposite, or a number."""
        rows, const = np.asarray(x.matrix.indices).tolist(), x.const
        truths = {"gt", "ge", "lt", "le", "eq", "ne", "and", "or", "xor"}
        if (x.terms > 1).any() or not {self.nodes.rows[i][0] for i in rows} <= truths:
            return False
        factors = np.asarray(x.matrix.sum(axis=1)).reshape(-1)
        plain = (factors == 1) & (const == 0)
        opposite = (factors == -1) & (const == 1)
        number = (x.terms == 0) & ((const == 0) | (const == 1))
        return bool((plain | opposite | number).all())

    def check(self, step, what: str, numbers: np.ndarray) -> None:
        """Refuse weights that are not finite."""
        bad = np.argwhere(~np.isfinite(numbers))
        if len(bad):
            value = numbers[tuple(bad[0])]
            raise self.error(
                step,
                f"has {what} that is {value} ({len(bad)} of {np.size(numbers)} are not "
                "finite); train again or mask them",
            )

    def room(self, step, edges: int) -> None:
        """Refuse a step of more edges than the limit, before it takes the memory."""
        if edges > 10 * self.max_nodes:
            raise TooLarge(
                f"{step.name} alone needs {edges:,} edges or elements, the limit is "
                f"{10 * self.max_nodes:,}"
            )

    def error(self, step, problem: str) -> ValueError:
        """A message with a primitive and its place."""
        return ValueError(f"the primitive {step.name!r} at {step.place} {problem}")

    def outputs(self, out: Forms) -> np.ndarray:
        """The nodes of the function's result."""
        if not out.const.size:
            raise ValueError(f"fn returns an empty array, of shape {out.shape}")
        if not np.isfinite(out.const).all():
            where = _forms.unit(out.shape, int(np.argmin(np.isfinite(out.const))))
            raise ValueError(f"output{where} is not finite whatever the input is")
        nodes = self._at(None, self.nodes.of, out, "output")
        for i in np.flatnonzero(nodes < 0).tolist():
            key = "output", _forms.unit(out.shape, i)
            nodes[i] = self.nodes.constant(float(out.const[i]), key)
        return nodes

    def finished(self) -> list[tuple]:
        """All nodes, with keys as text, none twice."""
        for node, op, operand in _boxes.recognize(self.nodes.rows, self.function):
            *_, (layer, unit) = self.nodes.rows[node]
            self._renamed.setdefault(layer, layer.replace("mul", op))
            self.nodes.rows[node] = op, (operand,), (1.0,), 0.0, (layer, unit)
        keys = _structure.unique([self._key(*row[-1]) for row in self.nodes.rows])
        rows = zip(self.nodes.rows, keys, strict=True)
        return [(*row[:-1], key) for row, key in rows]

    def _key(self, layer: str, unit: str | None) -> str:
        if unit is None:
            return layer
        base, dot, rest = layer.partition(".in")
        return f"{self._renamed.get(base, base)}{dot}{rest}{unit}"

    def _settle(self, step, arrays, shared: list[bool]) -> None:
        """Make nodes of sums that are read more than once."""
        for array, twice in zip(arrays, shared, strict=False):
            if twice and isinstance(array, Forms):
                layer = self.layer("sum")
                if array.mixed:
                    self._at(step, self.nodes.of, array, layer)

    def _name(self, step, x: Forms) -> Forms:
        """A named activation: its elements become nodes of that name."""
        name = step.params["name"]
        self._names[name] += 1
        if self._names[name] > 1:
            name = f"{name}#{self._names[name]}"
        before = len(self.nodes.rows)
        nodes = self._at(step, self.nodes.of, x, name)
        layers = {self.nodes.rows[i][-1][0] for i in nodes.tolist() if 0 <= i < before}
        if len(layers) == 1:
            self._renamed.setdefault(layers.pop(), name)
        return x

    def _box(self, step, arguments) -> Forms:
        """A call as one node for every element: its body becomes an operation."""
        at = next(i for i, x in enumerate(arguments) if isinstance(x, Forms))
        inside = Tracer(frozenset(), self.rules, self.max_nodes, self.strict)
        inside.nodes.input(0, "x")
        scalar = _forms.place(np.arange(1), np.zeros(1), (), self.max_nodes)
        values = list(arguments)
        values[at] = scalar
        (out,) = step.enter(values, inside.scalar_rule)
        nodes = inside.outputs(inside.forms(out))
        body = function(inside.finished(), int(nodes[0]))
        if len(body) == 2 and body.ops[1] in OPS:  # one operation that has a name
            return self.apply(step, body.ops[1], [arguments[at]])
        name = self.function(step.label, body)
        layer = self.layer(name)

        def single(x):
            return _evaluate.in_numpy(body, x[:, None])[:, body.outputs[0]]

        return self._at(step, self.nodes.apply, name, single, [arguments[at]], layer)

    def scalar_rule(self, step, arguments) -> list:
        """The rule inside a box, where one number stands for the whole array."""
        if step.name in ("broadcast_in_dim", "copy"):
            return arguments[:1]
        if step.enter:
            return step.enter(arguments, self.scalar_rule)
        return self.rule(step._replace(shape=()), arguments)

    def function(self, label: str, body: Graph) -> str:
        """The name of an operation: the same for the same body."""

        def same(a, b):
            return _structure.nodes(a) == _structure.nodes(b)

        for number in range(1, len(self.functions) + 2):
            name = label if number == 1 else f"{label}_{number}"
            if name in OPS or name in _structure.PLAIN:
                continue
            if name not in self.functions or same(self.functions[name], body):
                self.functions[name] = body
                if not PARTIAL.isdisjoint(body.ops):
                    self.nodes.partial.add(name)
                return name
        raise AssertionError("there is always a free name")

    def _at(self, step, make, *arguments):
        """Call with messages that say where."""
        try:
            return make(*arguments)
        except TooLarge:
            raise
        except ValueError as error:
            where = "the output" if step is None else f"{step.name} at {step.place}"
            raise ValueError(f"{error}, in {where}") from None


_SMALLER = (
    "prune more, trace fewer outputs (fn returning a part of them), or raise max_nodes"
)


def _is_local(step, arguments) -> bool:
    """Whether a call does the same to every element of its one array."""
    arrays = [x for x in arguments if isinstance(x, Forms)]
    numbers = [x for x in (*arguments, *step.consts) if not isinstance(x, Forms)]
    return (
        len(arrays) == 1
        and len(step.shared[0]) == 1
        and arrays[0].shape == step.shape
        and step.inner <= _LOCAL
        and all(np.ndim(number) == 0 for number in numbers)
    )


def _is_narrow(step) -> bool:
    """Whether a step's results have fewer digits than float32."""
    if step.name == "reduce_precision":
        return step.params["mantissa_bits"] < 23
    return step.dtype is not None and (
        jax.numpy.issubdtype(step.dtype, np.floating)
        and np.dtype(step.dtype).itemsize < 4
    )


def _is_real(step) -> bool:
    """Whether a step computes as with real numbers: not so for most integers."""
    kind = np.dtype(step.dtype).kind if step.dtype is not None else "f"
    if kind not in "iu" or step.name == "convert_element_type":
        return True
    wide = np.dtype(step.dtype).name in ("int32", "int64", "uint32", "uint64")
    return wide and step.name in _EXACT
