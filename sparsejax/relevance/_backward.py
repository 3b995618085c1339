"""From the output back to everything that it is made of.

Every array has a multiplier Q, and its relevance is R = a Q (against a baseline,
(a - a0) Q): steps that only move or add pass multipliers on as they are, so that
nothing is divided by an activation, and what a sum adds, a bias or a number, gets Q as
well as the input does. Only rules that ignore the input's values (flat, w-square,
z-box) leave relevance that is no multiple of it: `direct`.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sparsejax.interpret import primitives as families
from sparsejax.relevance import _elementwise as elementwise
from sparsejax.relevance import _layers as layers
from sparsejax.relevance import _maximum as maximum
from sparsejax.relevance import _products as products
from sparsejax.relevance import _weights as weights
from sparsejax.relevance._layers import Layer
from sparsejax.relevance._nodes import Entry, Node, Tape, baseline, origin, value
from sparsejax.relevance._rules import LayerRule, Mode, Rules


class Ledger(NamedTuple):
    """Where relevance went.

    Attributes:
        multipliers: of nodes.
        direct: relevance of nodes beyond their multiplier's.
        constants: relevance of numbers, by the steps that brought them in.
        absorbed: relevance that no one got, by layers or steps.
        edges: relevance through the weights of layers.
    """

    multipliers: dict[Node, Any]
    direct: dict[Node, Any]
    constants: defaultdict[str, Any]
    absorbed: defaultdict[str, Any]
    edges: dict[str, Any]


def propagate(
    tape: Tape, seeds: list, rules: Rules, mode: Mode, with_edges: bool
) -> Ledger:
    """Run back along a tape.

    Args:
        tape: of the function.
        seeds: multipliers of its outputs, arrays of their shapes.
        rules: for layers and further primitives.
        mode: for everything else.
        with_edges: whether to find relevance through weights.
    """
    ledger = Ledger({}, {}, defaultdict(float), defaultdict(float), {})
    for out, seed in zip(tape.outputs, seeds, strict=True):
        _arrive(ledger, mode, "output", out, seed)
    found = layers.find(tape)
    chosen = layers.choose(found, rules)
    ends = {layer.output: layer for layer in chosen}
    starts = {layer.entry: layer for layer in found}
    inside: set[Entry] = set()
    for entry in reversed(tape.entries):
        if entry in inside or not _reached(ledger, entry):
            continue
        layer = ends.get(entry.outputs[0])
        if layer is not None and not chosen[layer].is_whole:
            _through_layer(ledger, mode, rules, layer, chosen[layer], with_edges)
            inside.update((layer.entry, *layer.chain))
            continue
        if layer is not None:
            _damp(ledger, mode, rules, layer, chosen[layer])
        if with_edges and entry in starts:
            _as_multiplier(ledger, entry.outputs[0], entry.label)
            _add_edges(ledger, starts[entry])
        _through(ledger, mode, rules, entry)
    return ledger


def _reached(ledger: Ledger, entry: Entry) -> bool:
    known = ledger.multipliers, ledger.direct
    return any(node in part for node in entry.outputs for part in known)


def _arrive(ledger: Ledger, mode: Mode, label: str, x, q) -> None:
    """Give an operand its multiplier; what is not tracked is a constant."""
    if q is None or not jnp.issubdtype(jnp.result_type(value(x)), jnp.floating):
        return
    if isinstance(x, Node):
        q = products.fold(q, jnp.shape(x.value))
        known = ledger.multipliers.get(x)
        ledger.multipliers[x] = q if known is None else known + q
        if x.entry is None or x.origin != "stopped":
            return
    if mode.compared and not isinstance(x, Node):
        return
    if _is_zero(x):
        return
    amount = x.delta if isinstance(x, Node) else jnp.asarray(x, q.dtype)
    idle = (q == 0) & ~jnp.isfinite(amount)  # the nan in where(n > 0, x / n, nan)
    ledger.constants[label] += jnp.sum(jnp.where(idle, 0, amount) * q)


def _is_zero(x) -> bool:
    if isinstance(x, Node | jax.Array) or jnp.ndim(x):
        return False
    return float(x) == 0


def _through(ledger: Ledger, mode: Mode, rules: Rules, entry: Entry) -> None:
    """One step back."""
    if entry.outputs[0].origin == "stopped":
        return
    _settle_direct(ledger, entry)
    none = [None] * len(entry.inputs)

    def zeros(node):
        return jnp.zeros_like(node.value)

    qs = [ledger.multipliers.get(node) for node in entry.outputs]
    if all(q is None for q in qs):
        return
    qs = [zeros(n) if q is None else q for q, n in zip(qs, entry.outputs, strict=True)]
    name = entry.step.name
    if name in rules.primitives:
        operands = [value(x) for x in entry.inputs]
        outputs = [node.value for node in entry.outputs]
        back = list(rules.primitives[name](entry.step, operands, outputs, qs))
        if len(back) != len(operands):
            raise ValueError(
                f"the rule of {name!r} returned {len(back)} multipliers, but the step "
                f"at {entry.step.place} has {len(operands)} operands; return one, or "
                "None, for each"
            )
        # a parameter inside may multiply or add: nobody knows
        back = [q if origin(x) == "data" else None
                for x, q in zip(entry.inputs, back, strict=True)]  # fmt: skip
    elif entry.source is not None:
        q, constant = elementwise.pass_back(entry, mode, qs[0])
        _arrive(ledger, mode, entry.label, entry.source, q)
        if constant is not None:
            ledger.constants[entry.label] += jnp.sum(constant)
        back = none
    elif name in families.ADDITIONS:
        minus = name in ("sub", "neg")
        back = [
            -qs[0] if minus and i == len(none) - 1 else qs[0] for i in range(len(none))
        ]
    elif name in products.KNOWN:
        back = products.pass_back(entry, mode, qs[0])
    elif name in maximum.KNOWN:
        back = maximum.pass_back(entry, mode.maximum, qs[0])
    elif name in families.IDENTITIES:  # whatever their derivative is
        back = qs
    elif name in families.LINEAR:
        back = _transpose(entry, qs, value)
        if mode.compared and entry.of("stopped"):
            back = _between(ledger, entry, qs, back)
    else:
        raise ValueError(
            f"the primitive {name!r} at {entry.step.place} has two operands that "
            "depend on the input, and no rule for that; rewrite that line, or pass "
            f"rules=Rules(primitives={{{name!r}: rule}}) (relevance.derivative is one)"
        )
    for x, q in zip(entry.inputs, back, strict=True):
        _arrive(ledger, mode, entry.label, x, q)


def _between(ledger: Ledger, entry: Entry, qs: list, back: list) -> list:
    """A step whose choices, a predicate or an index, may differ for the baseline.

    Half by the choices of each; what the change of choices itself does is nobody's.
    """
    there = _transpose(entry, qs, baseline)
    halves: list = [
        None if a is None else (a + b) / 2 for a, b in zip(back, there, strict=True)
    ]
    change = sum(jnp.sum(n.delta * q) for n, q in zip(entry.outputs, qs, strict=True))
    given = sum(
        jnp.sum(x.delta * q)
        for x, q in zip(entry.inputs, halves, strict=True)
        if isinstance(x, Node) and q is not None
    )
    ledger.constants[entry.label] += change - given
    return halves


def _transpose(entry: Entry, qs: list, of: Callable) -> list:
    """The transpose of a step that is linear in its real operands.

    Its predicates and indices are those `of` the input or of the baseline.
    """
    operands = [of(x) for x in entry.inputs]
    real = [
        i
        for i, x in enumerate(operands)
        if jnp.issubdtype(jnp.result_type(x), jnp.floating)
    ]

    def run(*arrays):
        full = list(operands)
        for i, array in zip(real, arrays, strict=True):
            full[i] = array
        return entry.step.run(*full)

    like = [
        jax.ShapeDtypeStruct(jnp.shape(operands[i]), jnp.result_type(operands[i]))
        for i in real
    ]
    back: list = [None] * len(operands)
    for i, q in zip(real, jax.linear_transpose(run, *like)(qs), strict=True):
        back[i] = q
    return back


def _settle_direct(ledger: Ledger, entry: Entry) -> None:
    """Pass direct relevance on with what only moves or acts on each element.

    Elsewhere it becomes part of the multiplier.
    """
    if not any(node in ledger.direct for node in entry.outputs):
        return
    parts = [
        ledger.direct.get(node, jnp.zeros_like(node.value)) for node in entry.outputs
    ]
    if entry.step.name in families.MOVES:
        same = entry.step.name in families.IDENTITIES
        moved = parts if same else _transpose(entry, parts, value)
        for x, part in zip(entry.inputs, moved, strict=True):
            if part is not None and origin(x) in ("data", "param"):
                _add_direct(ledger, x, part)
            elif part is not None:  # where padding is, or what is put beside
                ledger.constants[entry.label] += jnp.sum(part)
        return
    data = entry.of("data")
    alike = entry.step.name in ("mul", "div", "neg") and len(data) == 1
    alike = alike and len(entry.of("data", "stopped")) == 1
    target = entry.source or (entry.inputs[data[0]] if alike else None)
    if target is not None and jnp.shape(target.value) == jnp.shape(parts[0]):
        _add_direct(ledger, target, parts[0])
        return
    for node in entry.outputs:
        _as_multiplier(ledger, node, entry.label)


def _as_multiplier(ledger: Ledger, node: Node, label: str) -> None:
    """Make direct relevance part of a multiplier; what falls to zeros is absorbed."""
    part = ledger.direct.pop(node, None)
    if part is None:
        return
    a = node.delta
    some = a != 0
    q = jnp.where(some, part / jnp.where(some, a, 1), 0)
    known = ledger.multipliers.get(node)
    ledger.multipliers[node] = q if known is None else known + q
    ledger.absorbed[label] += jnp.sum(jnp.where(some, 0, part))


def _add_direct(ledger: Ledger, node: Node, amount) -> None:
    known = ledger.direct.get(node)
    ledger.direct[node] = amount if known is None else known + amount


def _is_gated(ledger: Ledger, mode: Mode, rules: Rules, layer: Layer) -> bool:
    """Whether ReLUs let nothing back to where a layer's output is not positive."""
    slopes = mode.nonlinear in ("gradient", "slope") and not mode.compared
    alone = layer.is_rectified and not rules.primitives
    return slopes and alone and layer.output not in ledger.direct


def _damp(
    ledger: Ledger, mode: Mode, rules: Rules, layer: Layer, rule: LayerRule
) -> None:
    """The epsilon rule at the end of a layer; the layer itself is then linear."""
    node = layer.output
    gated = _is_gated(ledger, mode, rules, layer)
    _as_multiplier(ledger, node, layer.name)
    q = ledger.multipliers[node]
    q, lost = weights.damp(node.delta, rule.epsilon, q, positive=gated)
    ledger.multipliers[node] = q
    ledger.absorbed[layer.name] += lost


def _add_edges(ledger: Ledger, layer: Layer) -> None:
    q = ledger.multipliers.get(layer.entry.outputs[0])
    if q is None:
        return

    def run(kernel):
        return layer.bare_product(layer.input.delta, kernel)

    ledger.edges[layer.name] = layers.through_weights(run, layer.kernel, q)


def _through_layer(
    ledger: Ledger, mode: Mode, rules: Rules, layer: Layer, rule: LayerRule,
    with_edges: bool,
) -> None:  # fmt: skip
    """A whole layer by a rule of groups."""
    node = layer.output
    gated = _is_gated(ledger, mode, rules, layer)
    last = (layer.chain or [layer.entry])[-1]
    _as_multiplier(ledger, node, last.label)  # the rule splits all relevance alike
    q = ledger.multipliers[node]
    passed = weights.pass_back(layer, rule, q, mode.compared, gated, with_edges)
    ledger.absorbed[layer.name] += passed.absorbed
    _arrive(ledger, mode, last.label, layer.input, passed.multiplier)
    if passed.direct is not None:
        _add_direct(ledger, layer.input, passed.direct)
    if passed.edges is not None:
        ledger.edges[layer.name] = passed.edges
    _blame(ledger, mode, layer, passed.constant)


def _blame(ledger: Ledger, mode: Mode, layer: Layer, q) -> None:
    """Give what the chain adds its multipliers, by its own transposes."""
    for entry in reversed(layer.chain):
        inner = Ledger({}, {}, ledger.constants, ledger.absorbed, {})
        inner.multipliers[entry.outputs[0]] = q
        _through(inner, mode, Rules(), entry)
        for node, multiplier in inner.multipliers.items():
            if node.origin == "data":
                q = multiplier if node is not entry.outputs[0] else q
            else:
                _arrive(ledger, mode, entry.label, node, multiplier)


def relevance(ledger: Ledger, node: Node):
    """Relevance of an array."""
    q = ledger.multipliers.get(node)
    total = jnp.zeros_like(node.value) if q is None else node.delta * q
    return total + ledger.direct.get(node, 0)
