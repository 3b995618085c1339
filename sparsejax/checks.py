"""Checks of what a caller hands over: one rule and one wording for all functions.

Each raises a `ValueError` that says what came, what was expected and what to do. What
is traced (inside `jit`, `vmap` or `grad`) is checked as far as shape and dtype go.
"""

from typing import Any

import jax
import numpy as np

from sparsejax import trees


def key(key: Any, name: str = "key") -> None:
    """A check that `key` is a typed key, alone or stacked."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jax.numpy.issubdtype(dtype, jax.dtypes.prng_key):
        old = dtype == np.uint32 and np.shape(key)[-1:] in ((2,), (4,))
        raise ValueError(
            f"{name} must come from jax.random.key"
            + (", not jax.random.PRNGKey" if old else f", got {described(key)}")
        )


def several(values: Any) -> tuple:
    """One name or number, or several, as a tuple: a string is one name.

    Iterators are read here, once; so a function that keeps the result can be called
    again and again.

    Example:
        >>> several("hidden_0"), several(3), several(n for n in "ab")
        (('hidden_0',), (3,), ('a', 'b'))
    """
    alone = isinstance(values, str | bytes) or not np.iterable(values)
    return (values,) if alone else (*values,)


def array(x: Any, name: str = "x", *, floating: bool = False) -> None:
    """A check that `x` is one array, of real numbers if `floating`."""
    if not _is_array(x):
        if not isinstance(x, int | float | complex | np.generic):
            raise ValueError(
                f"{name} must be one array, got {described(x)}; close over the rest: "
                f"lambda params, {name}: fn(params, {{..., 'a': {name}}})"
            )
        x = np.asarray(x)
    if floating and not jax.numpy.issubdtype(x.dtype, np.floating):
        raise ValueError(
            f"{name} must be of real numbers, got {described(x)}; for tokens or "
            "images of integers, pass what they are looked up or converted to"
        )


def arrays(params: Any, name: str = "params") -> None:
    """A check that all leaves of a tree are arrays, of any type, or numbers."""
    if all(_is_leaf(leaf) for leaf in jax.tree.leaves(params)):
        return
    foreign = [k for k, leaf in trees.by_path(params).items() if not _is_leaf(leaf)]
    raise ValueError(
        f"{name} has leaves that are no arrays ({trees.listed(foreign)}); params, "
        "static = eqx.partition(model, eqx.is_array), and close over static"
    )


def described(value: Any) -> str:
    """What a value is, for an error message.

    Example:
        >>> described({"a": 1}), described(np.zeros((2, 3), np.int32)), described("x")
        ("a dict of 'a'", 'int32 of shape (2, 3)', "the str 'x'")
    """
    if _is_array(value):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(repr, value)) or 'nothing'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, str | int | float | complex | bool) or value is None:
        return f"the {type(value).__name__} {value!r}" if value is not None else "None"
    kind = type(value)
    return f"a {kind.__module__}.{kind.__qualname__}"


def _is_array(value) -> bool:
    return isinstance(value, jax.Array | np.ndarray | np.generic)


def _is_leaf(value) -> bool:
    """Whether JAX computes with it: an array, its shape, or a number."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind not in "OSUMm"
    known = jax.Array | jax.ShapeDtypeStruct | bool | int | float | complex
    return isinstance(value, known) or hasattr(value, "__jax_array__")
