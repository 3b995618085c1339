"""Weight layers of a function: which steps, what names, which rule.

A layer is a matrix product or convolution with a kernel that does not depend on the
input, and the chain of sums and products with constants after it: its bias, and a batch
normalisation, whose parameters need not be folded into the kernel. The chain ends where
a value is read twice or is named.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp

from sparsejax import trees
from sparsejax.interpret import primitives as families
from sparsejax.relevance import _products as products
from sparsejax.relevance._nodes import Entry, Node, Tape, origin, value
from sparsejax.relevance._rules import LayerRule, Rules

# Steps that move a layer's output, as it is, between its product and its bias, or take
# a part of it. A chain ends at a name; a barrier may take other arrays along.
_RESHAPES = families.RESHAPES | families.CASTS | {"broadcast_in_dim", "slice"}
_RESHAPES |= families.IDENTITIES - {"name", "stop_gradient", "optimization_barrier"}
_SCALES = families.SCALINGS | {"neg"}


@dataclasses.dataclass(eq=False)
class Layer:
    """A weight layer z = s P(W a) + c, P only moving elements or leaving some out.

    Attributes:
        name: unique: of the kernel's module, or of the scope, or "dense_3".
        kind: "dense" or "conv".
        known_as: all that patterns may match.
        entry: the product.
        chain: the steps after it.
        at: the position of the input among the product's operands.
        is_rectified: whether ReLUs, and nothing else, read its output.
    """

    name: str
    kind: str
    known_as: tuple[str, ...]
    entry: Entry
    chain: list[Entry]
    at: int
    is_rectified: bool

    @property
    def input(self) -> Node:
        return self.entry.inputs[self.at]

    @property
    def output(self) -> Node:
        return (self.chain or [self.entry])[-1].outputs[0]

    @property
    def kernel(self):
        return value(self.entry.inputs[1 - self.at])

    def bare_product(self, a, kernel):
        """W a."""
        operands = [a, kernel] if self.at == 0 else [kernel, a]
        return self.entry.step.run(*operands)[0]

    @property
    def can_join(self) -> bool:
        """Whether `side_by_side` is possible."""
        params = self.entry.step.params
        groups = (
            params.get("feature_group_count", 1),
            params.get("batch_group_count", 1),
        )
        return self._summed() is not None and groups == (1, 1)

    def side_by_side(self, arrays: list, which: int):
        """Inputs (0) or kernels (1) as one, whose product is the sum of several."""
        if len(arrays) == 1:
            return arrays[0]
        axes = self._summed()
        assert axes is not None
        return jnp.concatenate(arrays, axes[which])

    def transposed(self, kernel, q, like):
        """The transpose of W, an array like another."""
        return products.transpose(self.entry.step, self.at, kernel, q, like)

    def _summed(self) -> tuple[int, int] | None:
        """An axis of the input and of the kernel over which they are summed."""
        numbers = self.entry.step.params["dimension_numbers"]
        if self.entry.step.name == "conv_general_dilated":
            return (numbers.lhs_spec[1], numbers.rhs_spec[1]) if self.at == 0 else None
        summed = numbers[0]
        if not summed[0]:
            return None
        return summed[self.at][0], summed[1 - self.at][0]

    def product(self, a, kernel):
        """P(W a)."""
        return self.moved(self.bare_product(a, kernel))

    def moved(self, u):
        """P(u)."""
        for entry in self.chain:
            if entry.step.name in _RESHAPES:
                (u,) = entry.step.run(u)
        return u

    def scale(self):
        """s, of the shape of z; None if there is no scaling."""
        if not any(entry.step.name in _SCALES for entry in self.chain):
            return None
        return self._replay(jnp.ones_like(self.entry.outputs[0].value), shift=False)

    def constant(self, compared: bool):
        """c, of the shape of z; zero where two inputs are compared."""
        if compared:
            return jnp.zeros_like(self.output.value)
        zero = jnp.zeros_like(self.entry.outputs[0].value)
        return self._replay(zero, shift=True)

    def _replay(self, u, shift: bool):
        for entry in self.chain:
            if not shift and entry.step.name in ("add", "sub"):
                others = entry.of("param", "constant")
                sign = -1 if entry.step.name == "sub" and others == [0] else 1
                u = jnp.broadcast_to(sign * u, jnp.shape(entry.outputs[0].value))
                continue
            given = [u if origin(x) == "data" else value(x) for x in entry.inputs]
            (u,) = entry.step.run(*given)
        return u


def find(tape: Tape) -> list[Layer]:
    """The weight layers, in the order of the function."""
    outputs = [x for x in tape.outputs if isinstance(x, Node)]
    taken: Counter[str] = Counter()
    layers: list[Layer] = []
    for entry in tape.entries:
        data = entry.of("data")
        kind = products.WEIGHTED.get(entry.step.name)
        if kind is None or len(data) != 1 or entry.of("stopped"):
            continue
        kernel: Any = entry.inputs[1 - data[0]]
        path = kernel.path if isinstance(kernel, Node) else ""
        kind = "conv" if _is_flat_convolution(kernel) else kind
        path = path.removesuffix("/value")  # of an NNX state
        module, scope = path.rpartition("/")[0], entry.step.scope
        name = module or scope or path or f"{kind}_{len(layers)}"
        taken[name] += 1
        name = name if taken[name] == 1 else f"{name}#{taken[name]}"
        known = tuple(dict.fromkeys(filter(None, (name, path, module, scope))))
        chain = _chain(entry, outputs)
        end = (chain or [entry])[-1].outputs[0]
        rectified = bool(end.readers) and all(r.rectifier for r in end.readers)
        rectified = rectified and not any(end is out for out in outputs)
        layers.append(Layer(name, kind, known, entry, chain, data[0], rectified))
    return layers


def _is_flat_convolution(kernel) -> bool:
    """Whether a product over patches reads a convolution's kernel, reshaped."""
    made = kernel.entry if isinstance(kernel, Node) else None
    if made is None or made.step.name != "reshape":
        return False
    return jnp.ndim(kernel.value) == 2 < jnp.ndim(value(made.inputs[0]))


def _chain(entry: Entry, outputs: list[Node]) -> list[Entry]:
    chain, node = [], entry.outputs[0]
    while len(node.readers) == 1 and not any(node is out for out in outputs):
        (reader,) = node.readers
        if not _extends(reader, node):
            break
        chain.append(reader)
        node = reader.outputs[0]
    return chain


def _extends(entry: Entry, node: Node) -> bool:
    """Whether a step only moves, scales or shifts what comes before by constants."""
    name, (out, *_) = entry.step.name, entry.outputs
    alone = (
        sum(x is node for x in entry.inputs) == 1 == len(entry.of("data", "stopped"))
    )
    affine = name in ("add", "sub", "neg", "mul") or (
        name == "div" and entry.inputs[0] is node
    )
    same = name == "slice" or jnp.size(out.value) == jnp.size(node.value)
    return alone and same and (affine or name in _RESHAPES)


def choose(layers: list[Layer], rules: Rules) -> dict[Layer, LayerRule]:
    """The rule of every layer that has one other than LRP-0.

    Raises:
        ValueError: for a name or a kind that no layer has.
    """
    missing = sorted(set(rules.kinds) - {layer.kind for layer in layers})
    if missing:
        known = trees.listed(f"{layer.name} ({layer.kind})" for layer in layers)
        raise ValueError(
            f"rules have the kind {missing[0]!r}, and no layer is of it; there are "
            f"{known or 'no layers'}"
        )
    chosen: dict[Layer, LayerRule | None] = {}
    for layer in layers:
        chosen[layer] = rules.kinds.get(layer.kind, rules.layer)
    for end, rule in ((0, rules.first), (-1, rules.last)):
        if layers and rule is not None:
            chosen[layers[end]] = rule
    for name, rule in rules.names.items():
        named = _named(layers, name)
        if not named:
            known = trees.listed(layer.name for layer in layers)
            raise ValueError(f"rules name the layer {name!r}; there are {known}")
        chosen.update(dict.fromkeys(named, rule))
    return {
        layer: rule
        for layer, rule in chosen.items()
        if rule is not None and not (rule.is_whole and rule.epsilon == 0)
    }


def _named(layers: list[Layer], name: str | int) -> list[Layer]:
    if isinstance(name, int):
        return layers[name:][:1] if -len(layers) <= name < len(layers) else []

    def known(layer):
        return any(fnmatchcase(one, name) for one in layer.known_as)

    return [layer for layer in layers if known(layer)]


def through_weights(run: Callable, kernel, q):
    """Relevance through each weight: kernel times the derivative of q' run(kernel)."""
    like = jax.ShapeDtypeStruct(jnp.shape(kernel), kernel.dtype)
    return kernel * jax.linear_transpose(run, like)(q)[0]
