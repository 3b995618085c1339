"""What each primitive of JAX does to arrays of affine forms.

A rule is `rule(tracer, step, arguments) -> results`; arguments are `Forms`, or arrays
where nothing depends on the input. Four families: primitives that only move elements
are run on the elements' positions; linear ones multiply sparse matrices; operations in
`OPS` make nodes; the rest are written with these. Add a rule to `RULES` (or give it to
`trace`) to teach the tracer a primitive.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sparsejax.flowgraph import _forms, _linear
from sparsejax.flowgraph._forms import Forms
from sparsejax.flowgraph._ops import OPS
from sparsejax.interpret import primitives as families

Rule = Callable[[Any, Any, list], list]


def moved(*data: int) -> Rule:
    """Reshape, slice, concatenate, gather, ...: where does every element come from?

    The primitive itself is run on positions.

    Args:
        data: which operands hold elements, all by default; the others say where.
    """

    def rule(tracer, step, arguments) -> list:
        parts, positions, start = [], [], 0
        for i, argument in enumerate(arguments):
            if data and i not in data:
                if isinstance(argument, Forms):
                    raise tracer.error(step, "reads a place that depends on the input")
                positions.append(argument)
                continue
            part = tracer.forms(argument)
            positions.append((start + part.index).astype(np.int32))
            parts.append(part)
            start += len(part.const)
        fill = {}
        if step.name == "gather" and "FILL" in str(step.params["mode"]):
            fill = {"fill_value": -1}
            parts.append(tracer.forms(_fill(step)))
        found = [np.asarray(result) for result in step.run(*positions, **fill)]
        # what lies outside is -1, or for other modes anything
        found = [np.where((i < 0) | (i >= start), start, i) for i in found]
        known = fill and not np.isnan(parts[-1].const[0])
        if not known and any((index == start).any() for index in found):
            raise tracer.error(step, "reads outside its operand; clip the indices")
        return [_forms.take(parts, index) for index in found]

    return rule


def _fill(step) -> float:
    """What gather gives outside its operand."""
    value = step.params.get("fill_value")
    return math.nan if value is None else float(value)


def same(tracer, step, arguments) -> list:
    return list(arguments)


def reduce_precision(tracer, step, arguments) -> list:
    if step.params["mantissa_bits"] < 7:
        raise tracer.error(step, "rounds to fewer digits than bfloat16 has")
    return list(arguments)


def convert(tracer, step, arguments) -> list:
    """Floats of 16 bits and more are all numbers; a truth is 0 or 1 in any type."""
    (x,), kind = arguments, np.dtype(step.dtype)
    if tracer.is_truth(x) or kind.name in ("bfloat16", "float16", "float32", "float64"):
        return [x]
    if kind.kind == "b":
        zero = _forms.constant(np.zeros(x.shape), tracer.max_nodes)
        return [tracer.apply(step, "ne", [x, zero])]
    raise tracer.error(step, f"turns numbers into {step.dtype}")


# ---- Operations that make nodes


def elementwise(op: str) -> Rule:
    def rule(tracer, step, arguments) -> list:
        operands = tracer.together(step, arguments)
        return [tracer.apply(step, op, operands)]

    return rule


def extreme(op: str, neutral: float) -> Rule:
    """max or min; with the number 0, max is a relu."""

    def rule(tracer, step, arguments) -> list:
        for x, number in (arguments, arguments[::-1]):
            if isinstance(number, Forms):
                continue
            if (np.asarray(number) == neutral).all():
                return [_forms.broadcast(tracer.forms(x), step.shape)]
            if op == "max" and not np.any(number):
                return [tracer.apply(step, "relu", [_forms.broadcast(x, step.shape)])]
        return elementwise(op)(tracer, step, arguments)

    return rule


def integer_pow(tracer, step, arguments) -> list:
    (x,), power = arguments, step.params["y"]
    if power == 2:
        return elementwise("square")(tracer, step, [x])
    return elementwise("pow")(tracer, step, [x, np.full(x.shape, float(power))])


def power(tracer, step, arguments) -> list:
    x, y = arguments
    if not isinstance(y, Forms) and (np.asarray(y) == 2).all():
        return elementwise("square")(tracer, step, [x])
    return elementwise("pow")(tracer, step, arguments)


def logarithm_to_two(tracer, step, arguments) -> list:
    """As JAX before 0.12 writes it: over the logarithm of 2."""
    (log,) = elementwise("log")(tracer, step, arguments)
    return [_forms.scale(log, np.full(len(log.const), 1 / math.log(2)))]


def negation(tracer, step, arguments) -> list:
    """Logical not: 1 - x."""
    (x,) = arguments
    minus = _forms.scale(x, -np.ones(len(x.const)))
    return [dataclasses.replace(minus, const=minus.const + 1)]


def select(tracer, step, arguments) -> list:
    which, *cases = arguments
    if not isinstance(which, Forms):
        which = np.broadcast_to(np.asarray(which).astype(int), step.shape)
        parts = [_forms.broadcast(tracer.forms(c), step.shape) for c in cases]
        return [_forms.take(parts, which * parts[0].const.size + parts[0].index)]
    if len(cases) > 2:
        raise tracer.error(step, "chooses among more than two cases by the input")
    return elementwise("select")(tracer, step, arguments)


def clamp(tracer, step, arguments) -> list:
    low, x, high = arguments
    above = extreme("max", -math.inf)(tracer, step, [x, low])[0]
    return extreme("min", math.inf)(tracer, step, [above, high])


def reduce_extreme(op: str) -> Rule:
    def rule(tracer, step, arguments) -> list:
        (x,) = arguments
        return [tracer.gather(step, op, x, _linear.groups(x, step.params["axes"]))]

    return rule


def reduce_window_extreme(op: str) -> Rule:
    def rule(tracer, step, arguments) -> list:
        (x,) = arguments
        return [tracer.gather(step, op, x, _linear.windows(tracer, step, x))]

    return rule


def finite(tracer, step, arguments) -> list:
    """True where no operation could make it anything else; elsewhere 0 x == 0."""
    (x,) = arguments
    if all(tracer.nodes.total[i] for i in np.asarray(x.matrix.indices).tolist()):
        return [np.isfinite(x.const).reshape(x.shape)]
    zero = _forms.constant(np.zeros(x.shape), tracer.max_nodes)
    return [tracer.apply(step, "eq", [tracer.apply(step, "mul", [x, zero]), zero])]


def reduce_prod(tracer, step, arguments) -> list:
    (x,) = arguments
    groups = _linear.groups(x, step.params["axes"])
    factors = [_forms.take([x], groups[..., k]) for k in range(groups.shape[-1])]
    product = factors[0]
    for factor in factors[1:]:
        (product,) = _linear.mul(tracer, step, [product, factor])
    return [product]


def rounding(tracer, step, arguments) -> list:
    (x,) = arguments
    if int(step.params["rounding_method"]):
        return [tracer.apply(step, "round", [x])]
    size = tracer.apply(step, "abs", [x])
    half = _forms.constant(np.full(x.shape, 0.5), tracer.max_nodes)
    whole = tracer.apply(step, "floor", [_forms.add(size, half)])
    return _linear.mul(tracer, step, [tracer.apply(step, "sign", [x]), whole])


_MOVED = families.MOVES - families.PLACED - families.IDENTITIES
# Which operands hold elements.
_PLACED = {"gather": (0,), "dynamic_slice": (0,), "dynamic_update_slice": (0, 1)}
_PLACED |= {"scatter": (0, 2)}
_NAMES = {"logistic": "sigmoid", "asin": "arcsin", "acos": "arccos", "atan": "arctan"}
_NAMES |= {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}
_NAMES |= {"atan2": "arctan2"}
_WRITTEN = {"max", "min", "mul", "div", "pow", "select", "not", "relu"}

RULES: dict[str, Rule] = {
    **dict.fromkeys(_MOVED, moved()),
    **{name: moved(*_PLACED[name]) for name in families.PLACED},
    **dict.fromkeys(families.IDENTITIES, same),
    **{op: elementwise(op) for op in OPS if op not in _WRITTEN},
    **{name: elementwise(op) for name, op in _NAMES.items()},
    "convert_element_type": convert,
    "add": _linear.add,
    "add_any": _linear.add,
    "sub": _linear.sub,
    "neg": _linear.neg,
    "mul": _linear.mul,
    "div": _linear.div,
    "reduce_sum": _linear.reduce_sum,
    "cumsum": _linear.cumsum,
    "reduce_window_sum": _linear.reduce_window_sum,
    "dot_general": _linear.dot_general,
    "conv_general_dilated": _linear.conv_general_dilated,
    "max": extreme("max", -math.inf),
    "min": extreme("min", math.inf),
    "reduce_max": reduce_extreme("max"),
    "reduce_min": reduce_extreme("min"),
    "reduce_window_max": reduce_window_extreme("max"),
    "reduce_window_min": reduce_window_extreme("min"),
    "integer_pow": integer_pow,
    "pow": power,
    "log2": logarithm_to_two,
    "not": negation,
    "select_n": select,
    "clamp": clamp,
    "is_finite": finite,
    "reduce_or": reduce_extreme("max"),
    "reduce_and": reduce_extreme("min"),
    "reduce_prod": reduce_prod,
    "reduce_precision": reduce_precision,
    "round": rounding,
}
