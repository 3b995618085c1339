"""What can be told of a step without its numbers.

Is a value never negative, does it weigh others, and which stretch of elementwise
steps is one function of one array (gelu is ten steps, `x * sigmoid(x)` two)? Of the
last array that all ways to a result pass, its dominator.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from sparsejax.interpret import primitives as families
from sparsejax.relevance._nodes import Entry, Node, origin, value

# What may be inside a function of each element: numbers are spread over its array.
_INSIDE = families.ELEMENTWISE | families.CALLS | {"broadcast_in_dim"}
# What formulas of activations are written with; a chain of them is one function. An
# activation of its own is none.
_PIECES = families.FUNCTIONS - {"tanh", "logistic"} | {"div"}
# Never negative, whatever the input is.
_NONNEGATIVE = frozenset("abs exp exp2 logistic square sqrt rsqrt cosh erfc".split())


def is_local(step, arguments) -> bool:
    """Whether a call does the same nonlinear thing to every element of one array."""
    arrays = [x for x in arguments if isinstance(x, Node)]
    numbers = [x for x in (*arguments, *step.consts) if not isinstance(x, Node)]
    return (
        len(arrays) == 1
        and len(step.shared[0]) == 1
        and jnp.shape(arrays[0].value) == step.shape
        and step.inner <= _INSIDE
        and bool(step.inner & families.NONLINEAR)
        and all(np.ndim(number) == 0 for number in numbers)
    )


def is_real(x) -> bool:
    return x.dtype is not None and jnp.issubdtype(x.dtype, jnp.floating)


def _literal(x) -> np.ndarray | None:
    """A number that is known while tracing."""
    known = not isinstance(x, Node | Tracer) and np.ndim(x) == 0
    return np.asarray(x) if known else None


def is_rectifier(step, arguments) -> bool:
    """Whether a step is max(x, 0), in whatever calls."""
    numbers = [_literal(x) for x in arguments if not isinstance(x, Node)]
    if any(number is None for number in (*numbers, *map(_literal, step.consts))):
        return False
    if not step.inner | {step.name} <= families.CALLS | {"max"} or not is_real(step):
        return False
    probe = np.array([-1, 0, 2], jnp.result_type(value(arguments[0])))
    given = [probe if isinstance(x, Node) else x for x in arguments]

    def enter(s, x):
        return s.enter(x, enter) if s.enter else s.run(*x)

    with jax.ensure_compile_time_eval():
        outs = enter(step, given)
    return len(outs) == 1 and np.array_equal(outs[0], np.maximum(probe, 0))


def is_nonnegative(entry: Entry) -> bool:
    name = entry.step.name
    operands = [x for x in entry.inputs if not _is_index(x)]
    known = [
        x.nonnegative if isinstance(x, Node) else bool(n is not None and n >= 0)
        for x in operands
        for n in [_literal(x)]
    ]
    if entry.rectifier or name == "max":
        return entry.rectifier or any(known)
    if name == "integer_pow":
        return entry.step.params["y"] % 2 == 0 or all(known)
    keeps = families.LINEAR | families.MAXIMA | {"add", "mul", "div", "min"}
    return name in _NONNEGATIVE or (name in keeps and all(known))


def _is_index(x) -> bool:
    return not jnp.issubdtype(jnp.result_type(value(x)), jnp.floating)


_GATES = frozenset("exp exp2 rsqrt sqrt logistic tanh erf softplus sigmoid".split())


def is_gate(entry: Entry) -> bool:
    name = entry.step.label or entry.step.name
    data = [entry.inputs[i] for i in entry.of("data")]
    if name in _GATES or len(data) != 1:
        return name in _GATES or (name == "div" and bool(data) and data[0].gate)
    passes = families.LINEAR | families.ADDITIONS | families.SCALINGS | {"max", "min"}
    return name in passes and data[0].gate


def is_maximum(node: Node) -> bool:
    """Whether an array is a maximum, moved and guarded: what softmax subtracts."""
    guards = families.MOVES | {"max", "select_n", "convert_element_type"}
    while node.entry is not None and node.entry.step.name in guards:
        data = node.entry.of("data")
        if len(data) != 1:
            return False
        node = node.entry.inputs[data[0]]
    return node.entry is not None and node.entry.step.name == "reduce_max"


def dominate(entry: Entry) -> None:
    """Find what a result is an elementwise function of, if of anything."""
    step, (out, *more) = entry.step, entry.outputs
    parents = [entry.inputs[i] for i in entry.of("data", "stopped")]
    alike = all(jnp.shape(x.value) == jnp.shape(out.value) for x in parents)
    known = step.enter or step.name in families.ELEMENTWISE
    # what a parameter adds must get its share, so a function ends before it
    shifted = step.name in ("add", "sub") and bool(entry.of("param"))
    if more or not parents or not alike or not known or shifted:
        return
    common: Node | None = parents[0]
    for parent in parents[1:]:
        common = _common(common, parent)
    out.dominator, out.depth = common, common.depth + 1 if common else 0


def _common(a: Node | None, b: Node | None) -> Node | None:
    while a is not b and a is not None and b is not None:
        if a.depth >= b.depth:
            a = a.dominator
        else:
            b = b.dominator
    return a if a is b else None


def source(entry: Entry) -> Node | None:
    """The array of which a nonlinear step ends a function."""
    name, last = entry.step.name, entry.outputs[0].dominator
    tracked, data = entry.of("data", "stopped"), entry.of("data")
    if (
        last is None
        or name in families.ADDITIONS
        or name in families.LINEAR - {"select_n"}
    ):
        return None
    if len(tracked) > 1:
        return last
    nonlinear = entry.step.enter or name in families.NONLINEAR
    if not nonlinear and not (name == "div" and data == [1]):
        return None
    made = _through_scalars(last).entry if name in _PIECES else None
    if made is not None and made.source and made.step.name in _PIECES:
        return made.source
    return last


def _through_scalars(node: Node) -> Node:
    """Back over sums with numbers and products with numbers."""
    scalar = families.ADDITIONS | families.SCALINGS | {"convert_element_type"}
    while node.entry is not None and node.entry.source is None:
        entry = node.entry
        others = [x for x in entry.inputs if not isinstance(x, Node)]
        single = len(entry.inputs) - len(others) == 1
        if entry.step.name not in scalar or not single or any(map(np.ndim, others)):
            break
        node = next(x for x in entry.inputs if isinstance(x, Node))
    return node


def span(entry: Entry) -> list[Entry]:
    """The steps from an entry's source to the entry, in order."""
    found, left = {entry}, [entry]
    while left:
        for x in left.pop().inputs:
            ours = origin(x) in ("data", "stopped") and x is not entry.source
            if ours and x.entry is not None and x.entry not in found:
                found.add(x.entry)
                left.append(x.entry)
    return sorted(found, key=lambda one: one.number)
