"""Run a program on smaller arrays: the shapes that it wrote down follow.

Derivative rules of elementwise functions (`jax.nn.relu`) and `remat` stay; other custom
derivatives give way to the derivative of what is inside.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sparsejax import interpret, trees
from sparsejax import masks as masks_
from sparsejax.interpret import primitives
from sparsejax.prune._compact import _loops as loops
from sparsejax.prune._compact import _resized as resized
from sparsejax.prune._compact._plans import Axes, OtherShapes, Plan, shape_of, take


class Smaller:
    """A function that runs the program of another on smaller parameters."""

    def __init__(self, fn, steps, nodes, params, kept):
        self.fn, self.steps, self.nodes = fn, steps, nodes
        self.full, self.kept = shapes_of(params), kept

    def __call__(self, params: PyTree, *args: Any, **kwargs: Any):
        """The results for smaller parameters."""
        leaves = arrays_of(params)
        self._check(params, leaves)
        program = interpret.trace(self.fn, self.full, *args, **kwargs)
        inputs = [*leaves, *program.inputs[len(leaves) :]]
        try:
            outs = _Run(self.steps, self.nodes).run(program, inputs)
        except OtherShapes:
            raise ValueError(
                "fn takes other steps for inputs of these shapes than for those that "
                "compact was given; call compact with inputs of these shapes"
            ) from None
        return jax.tree.unflatten(program.out_tree, outs)

    def _check(self, params, leaves: Sequence) -> None:
        trees.check_structure(params, self.full, "params", "those of compact")
        names = [k for k, v in trees.by_path(self.full).items() if hasattr(v, "shape")]
        full = arrays_of(self.full)
        for name, leaf, whole, kept in zip(names, leaves, full, self.kept, strict=True):
            shape = shape_of(whole.shape, kept)
            if jnp.shape(leaf) != shape:
                raise ValueError(
                    f"parameter {name!r} has shape {jnp.shape(leaf)}; expected "
                    f"{shape}, as compact returned it"
                )


def arrays_of(params) -> list:
    """The arrays among the leaves of a tree."""
    return [leaf for leaf in jax.tree.leaves(params) if hasattr(leaf, "shape")]


def shapes_of(params) -> PyTree:
    """The shapes of the arrays among the leaves of a tree."""

    def shape(leaf):
        known = hasattr(leaf, "shape")
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if known else leaf

    return jax.tree.map(shape, params)


class _Small(NamedTuple):
    array: Any


class _Run:
    """The rule for `interpret.walk` that runs a program on smaller arrays."""

    def __init__(self, steps: Sequence[Plan], nodes: Mapping[str, np.ndarray]):
        self.steps, self.nodes = iter(steps), nodes

    def run(self, program: interpret.Program, inputs: Sequence) -> list:
        """The flat results for smaller parameters and the same data."""
        return [_small(out, ()) for out in self.walk(program, inputs)]

    def walk(self, program: interpret.Program, inputs: Sequence) -> list:
        """The same, where constants of the program are told from smaller arrays."""
        return interpret.walk(program, [_Small(x) for x in inputs], self.rule)

    def rule(self, step: interpret.Step, arguments: list) -> list:
        plan = next(self.steps, None)
        if plan is None or plan.name != step.name:
            raise OtherShapes
        if step.enter:
            return self._call(step, arguments, plan)
        arrays = [
            _small(a, own) for a, own in zip(arguments, plan.operands, strict=True)
        ]
        size = shape_of(step.shape, plan.results[0]) if plan.results else ()
        if len(plan.results) == 1 and 0 in size:
            return [_Small(jnp.zeros(size, step.dtype))]
        if step.name == "name":
            arrays = [self._masked(step.params["name"], arrays[0], plan.results[0])]
        if step.name == "scan":
            return [_Small(out) for out in self._loop(step, arrays, plan)]
        rule = resized.rule(step.name)
        outs = step.run(*arrays) if rule is None else rule(step, arrays, plan, size)
        return [_Small(out) for out in outs]

    def _masked(self, name: str, array, kept: Axes):
        """An activation times what of its mask is not one, where it stays."""
        if name not in self.nodes:
            return array
        mask = self.nodes[name]
        own = kept[len(kept) - mask.ndim :] if mask.ndim else ()
        sides = [axis if n != 1 else None for axis, n in zip(own, mask.shape)]
        mask = take(mask, tuple(sides))
        if (np.asarray(mask) == 1).all():
            return array
        return masks_.scale(array, jnp.asarray(mask).astype(array.dtype))

    def _loop(self, step, arrays: list, plan: Plan) -> list:
        def inside(program, arrays):
            outs = _Run(plan.inner, self.nodes).walk(program, arrays)
            pairs = zip(outs, plan.results, strict=True)
            return [
                out.array
                if isinstance(out, _Small)
                else take(out, own[-np.ndim(out) :])
                for out, own in pairs
            ]

        return loops.run(step, arrays, [len(axes) for axes in plan.results], inside)

    def _call(self, step, arguments: list, plan: Plan) -> list:
        inner = _Run(plan.inner, self.nodes)
        if step.name not in _WRAPPED:
            return step.enter(arguments, inner.rule)
        arrays = [
            _small(a, own) for a, own in zip(arguments, plan.operands, strict=True)
        ]

        def run(*arrays):
            body = _Run(plan.inner, self.nodes)
            outs = step.enter([_Small(a) for a in arrays], body.rule)
            return [
                _small(out, own) for out, own in zip(outs, plan.results, strict=True)
            ]

        if step.name == "custom_jvp_call":
            run = _with_derivative(step, run)
        else:
            run = jax.checkpoint(
                run,
                prevent_cse=step.params["prevent_cse"],
                policy=step.params["policy"],
            )
        return [_Small(out) for out in run(*arrays)]


_WRAPPED = primitives.REMATS | {"custom_jvp_call"}


def _small(value, kept: Axes) -> Any:
    """A smaller array; a constant of the program is cut here."""
    return value.array if isinstance(value, _Small) else take(value, kept)


def _with_derivative(step, run):
    """A function with the derivative rule of a call, if that is elementwise."""
    rule = step.params.get("jvp_jaxpr_fun")
    if rule is None or step.params.get("symbolic_zeros"):
        return run

    @jax.custom_jvp
    def call(*arrays):
        return run(*arrays)

    @call.defjvp
    def derivative(primals, tangents):
        try:
            jaxpr, consts, zeros = rule.call_wrapped(*[False] * len(primals))
            closed = SimpleNamespace(jaxpr=jaxpr, consts=consts)
            program = interpret.Program(closed, [], jax.tree.structure(0))
            shape = jnp.broadcast_shapes(*map(jnp.shape, primals))
            walk = _elementwise(shape)
            outs = interpret.walk(program, [*primals, *tangents], walk)
        except OtherShapes:
            return jax.jvp(run, primals, tangents)
        values, changes = outs[: len(zeros)], iter(outs[len(zeros) :])
        return values, [
            jnp.zeros_like(value) if zero else next(changes)
            for value, zero in zip(values, zeros, strict=True)
        ]

    return call


def _elementwise(shape: tuple[int, ...]):
    """The rule for `interpret.walk` that runs elementwise steps at another shape."""

    def rule(step, arguments: list) -> list:
        if step.enter:
            return step.enter(arguments, rule)
        if step.name == "broadcast_in_dim" and not jnp.shape(arguments[0]):
            return [jnp.broadcast_to(arguments[0], shape)]
        if step.name not in primitives.ELEMENTWISE:
            raise OtherShapes
        return step.run(*arguments)

    return rule
