"""Checks of what a caller hands over: one rule and one wording for all functions.

Each raises a `ValueError` that says what came, what was expected and what to do. What
is traced (inside `jit`, `vmap` or `grad`) is checked as far as shape and dtype go.
"""

import operator
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from sparsejax import trees
from sparsejax._words import described, first_line

__all__ = [
    "array",
    "arrays",
    "described",
    "first_line",
    "from_lookup",
    "integer",
    "is_array",
    "key",
    "labels",
    "one_input",
    "one_key",
    "one_output",
    "several",
    "sizes",
    "takes",
    "units",
]


def __dir__() -> list[str]:
    return list(__all__)


def key(key: Any, name: str = "key") -> None:
    """A check that `key` is a typed key, alone or stacked."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jax.numpy.issubdtype(dtype, jax.dtypes.prng_key):
        old = dtype == np.uint32 and np.shape(key)[-1:] in ((2,), (4,))
        raise ValueError(
            f"{name} must come from jax.random.key"
            + (", not jax.random.PRNGKey" if old else f", got {described(key)}")
        )


def one_key(value: Any, name: str = "key") -> None:
    """A check that `value` is one typed key, not several stacked."""
    key(value, name)
    if np.shape(value):
        raise ValueError(f"{name} must be one key, got {described(value)}")


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


def integer(number: Any, name: str, least: int | None = None) -> int:
    """A whole number (not a bool) as Python's, at least `least`."""
    found = _whole(number)
    if found is None:
        raise ValueError(f"{name} is {number!r}; expected an integer")
    if least is not None and found < least:
        raise ValueError(f"{name} is {found}; expected at least {least}")
    return found


def sizes(values: Any, name: str = "size", least: int = 1) -> tuple[int, ...]:
    """Whole numbers, such as those of a shape; one alone will do.

    Example:
        >>> sizes(3), sizes(np.array([2, 4]))
        ((3,), (2, 4))
    """
    found = several(values)
    numbers = [_whole(value) for value in found]
    if any(number is None or number < least for number in numbers):
        raise ValueError(
            f"{name} is {found}; expected whole numbers, all at least {least}"
        )
    return tuple(number for number in numbers if number is not None)


def units(values: Any, count: int | None) -> np.ndarray:
    """Numbers of units, all of them for None, checked against how many there are.

    Example:
        >>> units(None, 3).tolist(), units(2, 3).tolist()
        ([0, 1, 2], [2])
    """
    if values is None:
        values = range(1 if count is None else count)
    given = values if _is_array(values) and np.ndim(values) else several(values)
    found = np.asarray(given)
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu":
        raise ValueError(f"units are {given}; expected a list of numbers, or None")
    wrong = found[(found < 0) | (found >= (2**31 if count is None else count))]
    if len(wrong):
        there = "" if count is None else f"; there are {count}, from 0 to {count - 1}"
        raise ValueError(f"there are no units {wrong.tolist()}{there}")
    return found.astype(np.int32)


def array(
    x: Any, name: str = "x", *, floating: bool = False, before: str = "params, "
) -> None:
    """A check that `x` is one array, of real numbers if `floating`.

    Args:
        x: what is handed over.
        name: of it.
        floating: whether whole numbers will not do.
        before: what the function it is for takes before it.
    """
    if not _is_array(x):
        if not isinstance(x, int | float | complex | np.generic):
            raise ValueError(f"{name} must be {_one_of(x, name, before)}")
        x = np.asarray(x)
    if getattr(x.dtype, "kind", "") in (*"OSUMm",):
        raise ValueError(f"{name} must be an array of numbers, got {described(x)}")
    if floating and not jax.numpy.issubdtype(x.dtype, np.floating):
        raise ValueError(
            f"{name} must be of real numbers, got {described(x)}; "
            f"{from_lookup(before)}; convert images of integers"
        )


def takes(fn: Callable, *args: Any) -> bool:
    """Whether a function can be traced for these arguments, or their shapes."""
    try:
        jax.eval_shape(fn, *args)
    except Exception:
        return False
    return True


def from_lookup(before: str = "params, ") -> str:
    """How a function begins at what tokens are looked up to, for a message.

    Example:
        >>> from_lookup("")
        "for tokens begin at a named lookup: lambda h: sj.edit(fn, {'embed': lambda _: h})(tokens)"
    """  # noqa: E501
    edit = f"sj.edit(fn, {{'embed': lambda _: h}})({before}tokens)"
    return f"for tokens begin at a named lookup: lambda {before}h: {edit}"


def one_input(x: Any = None, name: str = "x", before: str = "params, ") -> str:
    """How all inputs but one are closed over, for a message.

    Example:
        >>> one_input({"size": 3, "image": np.ones(2)})
        "lambda params, image: fn(params, {**x, 'image': image})"
    """
    first, whole = "a", f"{{**{name}, 'a': a}}"
    if isinstance(x, dict):
        keys = [key for key in x if str(key).isidentifier()]
        first = next((key for key in keys if _is_real(x[key])), [*keys, "a"][0])
        whole = f"{{**{name}, {first!r}: {first}}}"
    elif x is not None:
        first, whole = "first", f"(first, *{name}[1:])"
    return f"lambda {before}{first}: fn({before}{whole})"


def one_output(out: Any, before: str = "params, ") -> str:
    """How a function returns one of several arrays, for a message.

    Example:
        >>> one_output({"logits": 1, "updates": {}}, before="")
        "lambda x: fn(x)['logits']"
    """
    keys = jax.tree_util.tree_leaves_with_path(out)
    key = keys[0][0] if keys else ()
    if isinstance(out, dict) and "logits" in out:
        key = (jax.tree_util.DictKey("logits"),)
    return f"lambda {before}x: fn({before}x){jax.tree_util.keystr(key)}"


def arrays(params: Any, name: str = "params") -> None:
    """A check that all leaves of a tree are arrays, of any type, or numbers."""
    if all(is_array(leaf) for leaf in jax.tree.leaves(params)):
        return
    foreign = [k for k, leaf in trees.by_path(params).items() if not is_array(leaf)]
    mend = "params, static = eqx.partition(model, eqx.is_array), and close over static"
    raise ValueError(
        f"{name} has leaves that are not arrays ({trees.listed(foreign)}); "
        + (mend if name == "params" else "expected arrays or numbers")
    )


def labels(
    y: Any, classes: int, shape: tuple[int, ...] | None = None, name: str = "labels"
) -> None:
    """A check that labels number classes: integers from 0 to `classes - 1`.

    Args:
        y: the labels.
        classes: how many classes there are.
        shape: expected of them; by default any.
        name: of the labels, for the message.

    Raises:
        ValueError: says what range, dtype and shape was found and what was expected.

    Example:
        >>> labels(np.array([0, 2, 1]), classes=3)
        >>> labels(np.array([1, 2, 3]), classes=3)
        Traceback (most recent call last):
        ...
        ValueError: labels run from 1 to 3; expected 0 to 2, a number for each of 3 classes
    """  # noqa: E501
    wanted = f"expected integers from 0 to {classes - 1}"
    wanted += "" if shape is None else f" of shape {shape}"
    y = y if _is_array(y) else np.asarray(y)
    if shape is not None and y.shape != shape:
        if y.shape == (*shape, 1):
            hint = "; leave out the last axis: y[..., 0]"
        else:
            one_hot = y.shape == (*shape, classes)
            hint = "; of one-hot labels take y.argmax(-1)" if one_hot else ""
        raise ValueError(f"{name} are {described(y)}; {wanted}{hint}")
    if not jax.numpy.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{name} are {described(y)}; {wanted}: y.astype('int32')")
    if isinstance(y, Tracer) or not y.size:
        return
    if isinstance(y, jax.Array) and not y.is_fully_addressable:
        return
    found = np.asarray(y)
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"{name} run from {low} to {high}; expected 0 to {classes - 1}, a number "
            f"for each of {classes} classes"
        )


def is_array(value) -> bool:
    """Whether JAX computes with it: an array of any type, its shape, or a number."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind not in "OSUMm"
    known = jax.Array | jax.ShapeDtypeStruct | bool | int | float | complex
    return isinstance(value, known) or hasattr(value, "__jax_array__")


def _one_of(x: Any, name: str, before: str) -> str:
    """What `array` expected, and how the rest of a tree is closed over."""
    if not jax.tree.leaves(x) or jax.tree.all(jax.tree.map(np.isscalar, x)):
        return f"one array, got {described(x)}"
    if not isinstance(x, dict | tuple | list):
        return f"one NumPy or JAX array, got {described(x)}"
    return (
        f"one array, got {described(x)}; close over all but one of them: "
        f"{one_input(x, name, before)}"
    )


def _is_real(value) -> bool:
    return _is_array(value) and jax.numpy.issubdtype(value.dtype, np.floating)


def _is_array(value) -> bool:
    return isinstance(value, jax.Array | np.ndarray | np.generic)


def _whole(value: Any) -> int | None:
    """A whole number as an `int`; None for anything else."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None
