"""What does not depend on the mask, computed once for all masks.

A function of one mask is traced, and its steps are told apart: those that depend on the
mask, those that do not, and those that are made of numbers in the program alone, which
cost nothing and stay. What the first kind reads of the second is computed once, before
the loop over masks.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from sparsejax import interpret, meshes
from sparsejax.interpret import primitives as families

# Bytes of shared arrays that a CPU holds at most; elsewhere as a batch's temporaries.
_MOST = 256e6

# Steps of all scans together, as over batches of examples, that are written out.
_UNROLLED = 8


class Known(NamedTuple):
    """A value that no mask changes: its number; the array, or its shape and dtype."""

    number: int
    array: Any


class Varied(NamedTuple):
    """A value that depends on the mask, of whatever kind a rule makes it."""

    value: Any = None


class Shared(NamedTuple):
    """A function of one mask, with what its steps read of what no mask changes.

    Attributes:
        program: the function.
        arrays: what the steps that depend on the mask read of others, by number.
        shapes: shapes and dtypes of all values that no mask changes.
        largest: bytes of the largest array that depends on the mask.
    """

    program: interpret.Program
    arrays: dict[int, Any]
    shapes: dict[int, jax.ShapeDtypeStruct]
    largest: int

    def __call__(self, mask: PyTree) -> PyTree:
        """The function's results for one mask."""

        def read(value):
            if isinstance(value, Known):
                return self.arrays[value.number]
            return value.value if isinstance(value, Varied) else value

        def run(step, arguments):
            return [*map(Varied, step.run(*map(read, arguments)))]

        inputs = [*map(Varied, jax.tree.leaves(mask))]
        outs = interpret.walk(self.program, inputs, Steps(run, self.shapes))
        return jax.tree.unflatten(self.program.out_tree, [*map(read, outs)])


def share(program: interpret.Program) -> Shared | None:
    """A function of one mask with what no mask changes computed.

    Args:
        program: from `trace`.

    Returns:
        The two parts; None where what is shared is too much to be held.
    """
    shapes, sizes = {}, [0]
    parts = jax.tree.leaves(jax.eval_shape(lambda: _first(program, shapes, sizes)))
    size = sum(math.prod(s.shape) * s.dtype.itemsize for s in parts)
    most = _MOST if jax.default_backend() == "cpu" else meshes.room()
    if size > most:
        return None
    first = interpret.Compiled(lambda: _first(program, {}, []))
    arrays = first() if parts else {}
    return Shared(program, arrays, shapes, max(sizes))


def trace(fn: Callable, mask: PyTree) -> interpret.Program | None:
    """A function of one mask as a program of its leaves.

    Args:
        fn: the function.
        mask: shapes and dtypes of its mask.

    Returns:
        The program; None where `fn` has effects, nothing is compiled, or devices of a
        mesh are at work.
    """
    no_jit = getattr(jax.config, "jax_disable_jit", False)
    if no_jit or not jax.sharding.get_abstract_mesh().empty:
        return None
    leaves, structure = jax.tree.flatten(mask)

    def traced(fn):
        closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*leaves)
        return interpret.Program(closed, leaves, jax.tree.structure(shapes))

    program = traced(lambda *leaves: fn(jax.tree.unflatten(structure, leaves)))
    if program.closed.effects:
        return None

    def written_out(*leaves):
        return interpret.unroll(program._replace(inputs=[*leaves]), _UNROLLED)

    try:
        return traced(written_out)
    except ValueError:  # more steps than that
        return program


def _first(program: interpret.Program, shapes: dict, sizes: list) -> dict[int, Any]:
    """What the steps that depend on the mask read of those that do not, by number.

    Args:
        program: the function.
        shapes: filled with those of all values that no mask changes.
        sizes: filled with bytes of arrays that depend on the mask.
    """
    read = {}

    def keep(value):
        if isinstance(value, Known):
            read[value.number] = value.array

    def varied(step, arguments):
        for argument in arguments:
            keep(argument)
        if step.dtype is not None:
            sizes.append(math.prod(step.shape) * step.dtype.itemsize)
        return [Varied() for _ in step.shared[0]]

    steps = Steps(varied)
    for out in interpret.walk(program, [Varied() for _ in program.inputs], steps):
        keep(out)
    shapes.update(steps.shapes)
    return read


class Steps:
    """The rule of a walk that tells steps apart.

    Args:
        rule: `(step, arguments) -> results` of the steps that depend on the mask.
            Arguments are `Varied`, `Known` and others; results are `Varied`.
        shapes: of all known values, from a first walk, and then none is computed. In a
            first walk None.
    """

    def __init__(self, rule: Callable, shapes: dict | None = None):
        self.rule, self.is_first = rule, shapes is None
        self.shapes = {} if shapes is None else shapes
        self.count, self.zeros = 0, []

    def __call__(self, step, arguments: list) -> list:
        if any(isinstance(a, Varied) for a in arguments):
            if step.enter is not None and step.name not in families.REMATS:
                return step.enter(arguments, self)
            return self.rule(step, arguments)
        if any(map(_is_known, arguments)):
            return self.known(step, arguments)
        outs = step.run(*arguments)
        if step.name in _SAME_VALUE and self.is_zero(arguments[0]):
            self.zeros += outs
        return outs

    def known(self, step, arguments: list) -> list:
        """Results that no mask changes."""
        numbers = range(self.count, self.count + len(step.shared[0]))
        self.count = numbers.stop
        if self.is_first:
            outs = step.run(
                *(a.array if isinstance(a, Known) else a for a in arguments)
            )
            self.shapes.update(zip(numbers, map(_shape, outs), strict=True))
        else:
            outs = [self.shapes[number] for number in numbers]
        return [*map(Known, numbers, outs)]

    def is_zero(self, value) -> bool:
        """Whether a value is 0, or repeats it, in the program itself."""
        if isinstance(value, Known | Varied | Tracer):
            return any(value is zero for zero in self.zeros)
        return np.ndim(value) == 0 and bool(value == 0)


# Of a number in the program these make the same one.
_SAME_VALUE = {"convert_element_type", "broadcast_in_dim"}


def _is_known(value) -> bool:
    """Whether a value is made of arrays that the function closes over."""
    if isinstance(value, Known):
        return True
    return not isinstance(value, Tracer) and np.ndim(value) > 0


def _shape(value) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(value.shape, value.dtype)
