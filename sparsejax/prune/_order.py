"""Scores as integers that sort as they do: one order for the host and for `jit`.

XLA takes numbers below the normal range for zeros wherever it compares them, or
computes with them, so the bits are compared. -0.0 equals 0.0.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_NARROW = ("int32", "uint32", "float32")
_WIDE = ("int64", "uint64", "float64")


def common(names: Sequence[str], scores: Sequence[Any]) -> np.dtype:
    """The type in which these scores are compared; it holds all of them exactly.

    Args:
        names: what they are scores of.
        scores: arrays.

    Raises:
        ValueError: if there is none.
    """
    types = [score.dtype for score in scores]
    for name, dtype in zip(names, types, strict=True):
        if not any(_holds(wide, dtype) for wide in _NARROW + _WIDE):
            cure = (
                "rank them by their magnitude, jnp.abs"
                if jnp.issubdtype(dtype, np.complexfloating)
                else "expected real numbers of at most 64 bits"
            )
            raise ValueError(f"scores of {name!r} are {dtype}; {cure}")
    enabled = jax.dtypes.canonicalize_dtype(np.int64).itemsize == 8
    wide = enabled or any(dtype.itemsize == 8 for dtype in types)
    for name in _NARROW + _WIDE * wide:
        if all(_holds(name, dtype) for dtype in types):
            return np.dtype(name)
    first: dict[Any, str] = {}
    for name, dtype in zip(names, types, strict=True):
        first.setdefault(dtype, name)
    found = ", ".join(f"{dtype} of {name!r}" for dtype, name in first.items())
    raise ValueError(
        "scores that are ranked together must have a type that holds them all "
        f"exactly, and {found} have none; cast them to one"
    )


def integers(score: Any, dtype: np.dtype) -> Any:
    """Signed integers in the order of the scores.

    Args:
        score: an array of NumPy or, perhaps traced, of JAX.
        dtype: from `common`.

    Returns:
        An array of the shape of `score` and the width of `dtype`, of the same library.
    """
    signed = np.dtype(f"int{8 * dtype.itemsize}")
    ends = np.iinfo(signed)
    if dtype.kind != "f":
        whole = score.astype(dtype)
        return whole if dtype.kind == "i" else whole.view(signed) ^ ends.min
    bits = _floats(score, dtype).view(signed)
    sign = bits >> (ends.bits - 1)  # -1 or 0
    return ((sign & ends.max) ^ bits) - sign


def _floats(score: Any, dtype: np.dtype) -> Any:
    if score.dtype == dtype:
        return score
    if score.dtype.kind in "biu":
        return score.astype(dtype)
    if dtype == np.float32:
        return _single(score)
    where = np.where if isinstance(score, np.ndarray) else jnp.where
    single = _single(score)
    bits = single.view(np.int32)
    tiny = (bits & 0x7FFFFF).astype(dtype) * 2.0**-149
    tiny = where(bits < 0, -tiny, tiny)
    return where((bits & 0x7F800000) == 0, tiny, single.astype(dtype))


def _single(score: Any) -> Any:
    """Float32 of numbers of at most 16 bits, those below the normal range kept."""
    if score.dtype == jnp.bfloat16:  # XLA may flush what it converts
        return (score.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return score.astype(np.float32)


def _holds(wide: str, dtype: Any) -> bool:
    """Whether every number of a type is one of a wider type too."""
    if np.dtype(dtype).kind == "b":
        return True
    whole = wide[0] != "f"
    if jnp.issubdtype(dtype, np.integer):
        have = jnp.iinfo(dtype)
        if not whole:
            return have.bits - (have.min < 0) <= jnp.finfo(wide).nmant + 1
        return jnp.iinfo(wide).min <= have.min and have.max <= jnp.iinfo(wide).max
    if whole or not jnp.issubdtype(dtype, np.floating):
        return False
    return jnp.finfo(dtype).bits <= jnp.finfo(wide).bits
