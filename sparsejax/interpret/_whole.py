"""What runs once is compiled once: many small steps as one program.

Outside of `jit` every operation of another shape is a program of its own, 10 to 30 ms
each to compile, and an analysis has a hundred of them.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from sparsejax import meshes
from sparsejax.interpret._compiled import Compiled

# Of functions that look at their numbers, as an `if` of Python does.
_LOOKED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def whole(run: Callable, *args: PyTree) -> Any:
    """`run(*args)`, compiled as one program where all its arrays are known.

    Step by step, as it stands, where some are traced, on a mesh of several devices, and
    for functions that look at their numbers.

    Args:
        run: function of trees of arrays to a tree of arrays; what it closes over is
            given to the program.
        args: its arguments; what is no array is closed over too.

    Example:
        >>> whole(lambda x, power: (x**power).sum(), np.arange(3.0), 2).item()
        5.0
    """
    leaves, structure = jax.tree.flatten(args)
    if any(isinstance(leaf, Tracer) for leaf in leaves) or meshes.parts() > 1:
        return run(*args)
    arrays = [leaf for leaf in leaves if _is_array(leaf)]

    def program(arrays):
        rest = iter(arrays)
        full = [next(rest) if _is_array(leaf) else leaf for leaf in leaves]
        return run(*jax.tree.unflatten(structure, full))

    program.__name__ = getattr(run, "__name__", "program")
    try:
        return Compiled(program)(arrays)
    except _LOOKED:
        pass
    return run(*args)  # out there: an error of its own comes without the first one


def _is_array(leaf: Any) -> bool:
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype.kind not in "OSUMm"  # what JAX has no type for
    return isinstance(leaf, jax.Array)
