"""From any JAX function of one input to a graph of scalars.

The function's jaxpr is run on arrays of affine forms (`forms`) by one rule a primitive
(`rules`). Weights are whatever the function closes over: zeros among them are gone,
constants are folded, equal nodes are one node, and what no output needs is dropped.
Numbers are real ones: rounding to 16 bits and overflow are not modelled, integers but
for counts of truths are refused. Nothing about the domain is used (`simplify` does).

Not for large dense networks: a graph holds every remaining weight as often as it is
used. A limit says so early.

Reference: Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?", 2020.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike
from scipy import sparse

from sparsejax import interpret
from sparsejax.flowgraph import boxes as boxes_
from sparsejax.flowgraph import evaluate, graph
from sparsejax.flowgraph import forms as forms_
from sparsejax.flowgraph.forms import PARTIAL, Forms, Nodes
from sparsejax.flowgraph.graph import Graph, TooLarge
from sparsejax.flowgraph.ops import OPS
from sparsejax.flowgraph.rules import RULES, Rule

# Calls by these names become one node each where all that is inside works element by
# element on one array: the activations of `jax.nn` as people know them.
BOXES = frozenset(
    "relu6 elu selu celu leaky_relu softplus silu swish hard_tanh hard_sigmoid "
    "hard_silu hard_swish log_sigmoid soft_sign squareplus mish sparse_plus "
    "sparse_sigmoid".split()
)
# Steps that are the same for integers of 32 bits as for numbers, overflow aside.
_EXACT = frozenset(
    "reshape transpose broadcast_in_dim slice squeeze expand_dims rev split "
    "concatenate stack unstack gather dynamic_slice dynamic_update_slice scatter "
    "pad copy select_n stop_gradient add sub neg mul abs max min clamp "
    "reduce_sum reduce_max reduce_min cumsum dot_general".split()
)
# What may be inside: operations on elements, and moving numbers that are all alike.
_LOCAL = {name for name, rule in RULES.items() if name in OPS}
_LOCAL |= {"add", "sub", "neg", "logistic", "integer_pow", "select_n", "clamp"}
_LOCAL |= {"convert_element_type", "broadcast_in_dim", "copy", "stop_gradient", "pow"}
_LOCAL |= {"jit", "pjit", "custom_jvp_call", "custom_vjp_call", "closed_call"}
_LOCAL |= {"asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2", "is_finite"}


def trace(
    fn: Callable,
    x: ArrayLike | jax.ShapeDtypeStruct,
    *,
    domain: tuple[ArrayLike, ArrayLike] = (0.0, 1.0),
    names: str | Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    image: tuple[int, ...] | None = None,
    boxes: frozenset[str] = BOXES,
    rules: Mapping[str, Rule] | None = None,
    max_nodes: int = 200_000,
) -> Graph:
    """The graph of a function of one array.

    Args:
        fn: `fn(x) -> array`; parameters and masks are closed over. Batch axes of one
            are fine; for a batched model pass `lambda x: model(x[None])[0]`.
        x: an example of the input, or its shape and dtype; its values do not matter.
        domain: lowest and highest value of every input, numbers or arrays of x's shape.
        names: names of the inputs: a pattern with {i} (flat position) or {r}, {c}, {ch}
            (row, column, channel of the image), or a list. By default `x[3,4]`.
        output_names: by default `output_0`, `output_1`, ...
        image: (height, width) or (height, width, channels) if the input is a picture,
            whatever its shape.
        boxes: names of calls that become one node where they work element by element.
        rules: rules for more primitives, or instead of those in `flowgraph.RULES`.
        max_nodes: the limit, dead nodes included; edges are limited to ten times that.

    Returns:
        The graph, at level "dot".

    Raises:
        ValueError: for a function that is not of this form, an unknown primitive, a
            weight that is not finite, a graph that is too large; with the place.

    Example:
        >>> import jax.numpy as jnp
        >>> kernel = jnp.array([[2.0, 0.0], [0.0, -1.0], [0.0, 0.0]])
        >>> trace(lambda x: jax.nn.relu(x @ kernel), jnp.zeros(3))
        Graph(6 vertices, 4 edges, 2 of 3 inputs, 2 outputs, level='dot')
    """
    shape, size = _input(x)
    low, high = _domain(domain, shape)
    picture = _picture(image, size)
    labels = _names(names, shape, picture)
    program = _program(fn, x)
    tracer = Tracer(boxes, {**RULES, **(rules or {})}, max_nodes)
    if size > max_nodes:
        raise TooLarge(
            f"the input has {size:,} elements, max_nodes is {max_nodes:,}; raise it"
        )
    for i, label in enumerate(labels):
        tracer.nodes.input(i, label)
    start = forms_.place(np.arange(size), np.zeros(size), shape, max_nodes)
    (out,) = interpret.walk(program, [start], tracer.rule)
    out = tracer.forms(out)
    outputs = tracer.outputs(out)
    found = [str(name) for name in output_names or _default_names(out.shape)]
    if len(found) != len(outputs):
        raise ValueError(
            f"{len(found)} output_names for {len(outputs)} outputs of fn, whose shape "
            f"is {out.shape}"
        )
    for what, given in (("output_names", found), ("names", labels)):
        twice = [name for name, count in Counter(given).items() if count > 1]
        if twice:
            raise ValueError(f"{what} has {twice[0]!r} more than once")
    whole = graph.build(
        tracer.finished(),
        inputs=np.arange(size),
        outputs=outputs,
        output_names=tuple(found),
        shape=shape,
        input_names=labels,
        low=low,
        high=high,
        image=picture,
        functions=tracer.functions,
    )
    return whole.live()


class Tracer:
    """What the rules share: the nodes made so far, their names, and messages."""

    def __init__(
        self, boxes: frozenset[str], rules: Mapping[str, Rule], max_nodes: int
    ):
        self.boxes, self.rules, self.max_nodes = boxes, rules, max_nodes
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
            raise self.error(
                step,
                "has no rule; rewrite that line with others, or pass "
                f"rules={{{step.name!r}: rule}} (see flowgraph.RULES)",
            )
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
        return forms_.constant(array, self.max_nodes)

    def together(self, step, arguments) -> list[Forms]:
        """Operands as forms of the result's shape."""
        return [forms_.broadcast(self.forms(x), step.shape) for x in arguments]

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
        result = forms_.product(kernel, x, step.shape)
        if result.matrix.nnz <= kernel.nnz + x.matrix.nnz:
            return result
        self._at(step, self.nodes.of, x, layer)
        return forms_.product(kernel, x, step.shape)

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
            where = forms_.unit(out.shape, int(np.argmin(np.isfinite(out.const))))
            raise ValueError(f"output{where} is not finite whatever the input is")
        nodes = self._at(None, self.nodes.of, out, "output")
        for i in np.flatnonzero(nodes < 0).tolist():
            key = "output", forms_.unit(out.shape, i)
            nodes[i] = self.nodes.constant(float(out.const[i]), key)
        return nodes

    def finished(self) -> list[tuple]:
        """All nodes, with keys as text, none twice."""
        for node, op, operand in boxes_.recognise(self.nodes.rows, self.function):
            *_, (layer, unit) = self.nodes.rows[node]
            self._renamed.setdefault(layer, layer.replace("mul", op))
            self.nodes.rows[node] = op, (operand,), (1.0,), 0.0, (layer, unit)
        keys = graph.unique([self._key(*row[-1]) for row in self.nodes.rows])
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
        inside = Tracer(frozenset(), self.rules, self.max_nodes)
        inside.nodes.input(0, "x")
        scalar = forms_.place(np.arange(1), np.zeros(1), (), self.max_nodes)
        values = list(arguments)
        values[at] = scalar
        (out,) = step.enter(values, inside.scalar_rule)
        nodes = inside.outputs(inside.forms(out))
        body = graph.function(inside.finished(), int(nodes[0]))
        if len(body) == 2 and body.ops[1] in OPS:  # one operation that has a name
            return self.apply(step, body.ops[1], [arguments[at]])
        name = self.function(step.label, body)
        layer = self.layer(name)
        single = lambda x: evaluate.in_numpy(body, x[:, None])[:, body.outputs[0]]
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
        same = lambda a, b: graph.nodes(a) == graph.nodes(b)
        for number in range(1, len(self.functions) + 2):
            name = label if number == 1 else f"{label}_{number}"
            if name in OPS or name in graph.PLAIN:
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


def _is_real(step) -> bool:
    """Whether a step computes as with real numbers: not so for most integers."""
    kind = np.dtype(step.dtype).kind if step.dtype is not None else "f"
    if kind not in "iu" or step.name == "convert_element_type":
        return True
    wide = np.dtype(step.dtype).name in ("int32", "int64", "uint32", "uint64")
    return wide and step.name in _EXACT


def _input(x) -> tuple[tuple[int, ...], int]:
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        x = np.asarray(x)
    if not all(isinstance(n, int) for n in x.shape):
        raise ValueError(f"the input's shape must be numbers, got {x.shape}")
    if not jax.numpy.issubdtype(x.dtype, jax.numpy.floating):
        raise ValueError(
            f"the input has dtype {x.dtype}; a flow graph is of numbers: pass a float "
            "array, and for token ids the embedded sequence"
        )
    size = math.prod(x.shape)
    if not size:
        raise ValueError(f"the input is empty, of shape {tuple(x.shape)}")
    return tuple(x.shape), size


def _domain(domain, shape) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(domain, tuple | list) or len(domain) != 2:
        raise ValueError(
            f"domain is (lowest, highest), two numbers or arrays, got {domain!r}"
        )
    try:
        low, high = (
            np.broadcast_to(np.asarray(d, np.float64), shape).reshape(-1).copy()
            for d in domain
        )
    except ValueError:
        raise ValueError(
            f"domain has shapes {[np.shape(d) for d in domain]}, expected numbers or "
            f"arrays of the input's shape {shape}"
        ) from None
    bad = np.flatnonzero(~(low <= high))
    if len(bad):
        i = int(bad[0])
        raise ValueError(f"domain of input {i} is empty: [{low[i]}, {high[i]}]")
    return low, high


def _picture(image, size: int) -> tuple[int, ...] | None:
    if image is None:
        return None
    picture = tuple(image) if isinstance(image, tuple | list) else (image,)
    whole = all(isinstance(n, int) for n in picture)
    if not whole or len(picture) not in (2, 3) or math.prod(picture) != size:
        raise ValueError(
            f"image {picture} is not (height, width) or (height, width, channels) of "
            f"the input's {size} elements"
        )
    return picture


def _names(names, shape, image) -> tuple[str, ...]:
    size = math.prod(shape)
    if names is None:
        index = image or shape
        return tuple(f"x{forms_.unit(index, i)}" for i in range(size))
    if not isinstance(names, str):
        found = tuple(map(str, names))
        if len(found) != size:
            raise ValueError(f"{len(found)} names for {size} inputs")
        return found
    places = (*(image or shape), 1, 1)[:3] if image or len(shape) > 1 else (size, 1, 1)
    rows = (np.unravel_index(i, places) for i in range(size))
    try:
        return tuple(
            names.format(i=i, r=r, c=c, ch=ch) for i, (r, c, ch) in enumerate(rows)
        )
    except (KeyError, IndexError, ValueError):
        raise ValueError(
            f"names {names!r} is a pattern that may hold {{i}}, {{r}}, {{c}}, {{ch}}"
        ) from None


def _default_names(shape) -> list[str]:
    parts = (forms_.unit(shape, i) for i in range(math.prod(shape)))
    return [f"output{part.replace('[', '_').replace(',', '_')}"[:-1] if part
            else "output" for part in parts]  # fmt: skip


def _program(fn, x) -> Any:
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        x = np.asarray(x)
    try:
        program = interpret.trace(fn, jax.ShapeDtypeStruct(x.shape, x.dtype))
    except (TypeError, jax.errors.JAXIndexError) as error:
        line = str(error).partition("\n")[0]
        raise ValueError(
            f"fn cannot be traced: {line} It takes and returns one array, and its "
            "shapes and branches do not depend on the input's values"
        ) from error
    count = program.out_tree.num_leaves
    if count != 1:
        raise ValueError(
            f"fn returns {count} arrays, a flow graph is of one; choose one, as in "
            "lambda x: fn(x)[0]"
        )
    return program
