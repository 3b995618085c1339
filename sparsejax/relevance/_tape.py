"""What a function did with an input, step by step: the way back runs along it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from sparsejax import interpret
from sparsejax.interpret import primitives as families
from sparsejax.relevance import _differences as differences
from sparsejax.relevance import _maximum as maximum
from sparsejax.relevance import _products as products
from sparsejax.relevance import _structure as structure
from sparsejax.relevance._nodes import Entry, Node, Tape, origin, value

# Nothing is passed back through what is constant wherever it has a derivative.
_STOPS = families.FLAT | frozenset(
    "stop_gradient argmax argmin iota random_bits".split()
)


# What puts a very low number where attention must not look.
_SHUTS = frozenset(("select_n", "add"))


def record(
    program: interpret.Program,
    paths: Sequence[str],
    baselines: Sequence | None,
    taught: Iterable[str],
    derivatives: bool,
) -> Tape:
    """Run a program on its inputs and keep the steps (and compare with the baseline).

    Args:
        program: of `fn(params, x)`: arrays of the parameters, then of the input.
        paths: of the parameters.
        baselines: the baseline's arrays, for each array of the input; or None.
        taught: primitives beyond those known that there is a rule for.
        derivatives: whether multipliers are to be the gradient. Else the maximum that
            softmax and its like subtract, and stop the derivative of, moves with the
            input: it leaves the function as it is only if its relevance does too.

    Raises:
        ValueError: for a primitive of the input that is not known.
    """
    arrays, inputs = program.inputs[: len(paths)], program.inputs[len(paths) :]
    params = [
        Node(array, origin="param", path=path) if structure.is_real(array) else None
        for array, path in zip(arrays, paths, strict=True)
    ]
    starts = [Node(x) if structure.is_real(x) else None for x in inputs]
    if baselines is not None:
        differences.start(starts, baselines, params)
    given = [
        array if node is None else node
        for array, node in zip(program.inputs, [*params, *starts], strict=True)
    ]
    compared = baselines is not None
    recorder = _Recorder(compared, frozenset(taught), derivatives)
    outputs = interpret.walk(program, given, recorder.rule)
    if compared:
        differences.carry(outputs)
    return Tape(recorder.entries, params, starts, outputs, recorder.names)


class _Recorder:
    def __init__(self, compared: bool, taught: frozenset[str], derivatives: bool):
        self.compared, self.taught = compared, taught
        self.derivatives = derivatives
        self.entries: list[Entry] = []
        self.names: dict[str, Node] = {}
        self._labels: Counter[str] = Counter()

    def rule(self, step, arguments) -> list:
        """Run one step, and keep it if something tracked is among its operands."""
        origins = {origin(x) for x in arguments}
        if not self.compared and not self.derivatives and step.name in _SHUTS:
            arguments = [_within_reach(x) for x in arguments]
        if origins == {"constant"} or not origins:
            return step.run(*arguments)
        if "data" in origins and step.name in self.taught:
            return self._keep(step, arguments, "data")
        if step.enter:
            if "data" in origins and structure.is_local(step, arguments):
                return self._keep(step, arguments, "data")
            return step.enter(arguments, self.rule)
        if "data" not in origins:
            return self._aside(step, arguments, origins)
        if step.name == "stop_gradient" and not self.derivatives:
            if structure.is_maximum(arguments[0]):
                return self._keep(step, arguments, "data")
        if step.name in _STOPS or _is_discrete(step):
            return self._keep(step, arguments, "stopped")
        _check_known(step, arguments)
        return self._keep(step, arguments, "data")

    def _aside(self, step, arguments, origins) -> list:
        """A step on parameters, or on what has no derivative, alone."""
        if "stopped" in origins:
            return self._keep(step, arguments, "stopped")
        params = [x for x in arguments if isinstance(x, Node)]
        moved = step.name in families.LINEAR | families.ADDITIONS
        over = step.name == "div" and isinstance(arguments[0], Node)
        scaled = step.name == "mul" or over
        if structure.is_real(step) and (moved or (scaled and len(params) == 1)):
            return self._keep(step, arguments, "param")
        return step.run(*map(value, arguments))

    def _keep(self, step, arguments, kind: str) -> list[Node]:
        nodes = self._run(step, arguments, kind)
        name = "/".join(filter(None, (step.scope, step.label or step.name)))
        self._labels[name] += 1
        count = self._labels[name]
        label = name if count == 1 else f"{name}#{count}"
        entry = Entry(step, arguments, nodes, label, len(self.entries))
        entry.rectifier = structure.is_rectifier(step, arguments)
        tracked = [x for x in arguments if isinstance(x, Node)]
        for x in tracked:
            x.readers.append(entry)
        for node in nodes:
            node.entry = entry
            node.nonnegative = not self.compared and structure.is_nonnegative(entry)
            node.gate = structure.is_gate(entry)
            paths = {x.path for x in tracked}
            node.path = paths.pop() if kind == "param" and len(paths) == 1 else ""
        if nodes:
            structure.dominate(entry)
            entry.source = structure.source(entry) if kind == "data" else None
        if step.name == "name" and kind == "data":
            self.names[step.params["name"]] = nodes[0]
        self.entries.append(entry)
        return nodes

    def _run(self, step, arguments, kind: str) -> list[Node]:
        """What a step makes; against a baseline a layer is run on the difference."""
        if self.compared and kind == "data" and _is_layer(step, arguments):
            other, change = differences.through_weights(step, arguments)
            return [Node(other + change, other, change)]
        return [Node(array, origin=kind) for array in step.run(*map(value, arguments))]


def _within_reach(x) -> Any:
    """A number that stands for infinity, as its square root, which does as well.

    The multiplier of -3e38 in a softmax is 1 over it, which is below the normal range
    and flushed to zero: the share of what is masked out would be lost.
    """
    if isinstance(x, Node) or not jnp.issubdtype(jnp.result_type(x), jnp.floating):
        return x
    library = jnp if isinstance(x, Tracer) else np
    x, most = library.asarray(x), float(jnp.finfo(jnp.result_type(x)).max)
    far = abs(x) > most / 4
    if library is np and not far.any():
        return x
    root = library.where(library.isinf(x), 4, 1) * library.sign(x) * most**0.5
    return library.where(far, root, x).astype(x.dtype)


def _is_layer(step, arguments) -> bool:
    """Whether a step is the product of data with a kernel."""
    origins = [origin(x) for x in arguments]
    alone = origins.count("data") == 1 and "stopped" not in origins
    return step.name in products.WEIGHTED and alone


def _is_discrete(step) -> bool:
    return step.dtype is None or not jnp.issubdtype(step.dtype, jnp.inexact)


def _check_known(step, arguments) -> None:
    name, place = step.name, step.place
    known = families.LINEAR | families.ADDITIONS | products.KNOWN | maximum.KNOWN
    if name in families.LOOPS:
        mend = interpret.unrolling(step) or "write the loop out in Python"
        raise ValueError(
            f"the primitive {name!r} at {place} depends on the input, and relevance "
            f"does not pass through loops and branches; {mend}, or pass "
            f"rules=Rules(primitives={{{name!r}: relevance.derivative}})"
        )
    if not structure.is_real(step):
        raise ValueError(
            f"the primitive {name!r} at {place} makes {step.dtype} of the input, and "
            "relevance is of real numbers; write that line with real parts"
        )
    if name not in known | families.NONLINEAR:
        raise ValueError(
            f"the primitive {name!r} at {place} depends on the input and has no rule; "
            f"rewrite that line with others, or pass rules=Rules(primitives="
            f"{{{name!r}: rule}}) (relevance.derivative is one)"
        )
