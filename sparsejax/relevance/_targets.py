"""What is explained: one number of what a function returns for one example.

All methods share this: how a target chooses the number, and what is refused before
anything is explained and after, so that nothing that went wrong looks like a zero.
"""

import itertools as it
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, PyTree

from sparsejax import checks, trees
from sparsejax.relevance import _starts as starts


class Asked(NamedTuple):
    """A target as it was asked for, and the array that goes into a program.

    Programs of all indices, and of all weights, are then the same.
    """

    target: Any
    array: Any


def asked(target: Any) -> Any:
    """A target that a program is given, if it is numbers; else as it is."""
    if isinstance(target, list | tuple) and not isinstance(target, Asked):
        target = np.asarray(target)
    known = isinstance(target, int | np.ndarray | np.generic | jax.Array)
    if isinstance(target, bool | Tracer) or not known:
        return target
    small = jnp.issubdtype(jnp.result_type(target), jnp.integer) and _fits(target)
    real = jnp.issubdtype(jnp.result_type(target), jnp.floating)
    return Asked(target, jnp.asarray(target)) if small or real else target


def _fits(target) -> bool:
    """Whether an index is none that a 32-bit integer cannot hold."""
    return np.ndim(target) == 0 and abs(int(target)) < 2**31


def number(fn: Callable, target: Any) -> Callable:
    """`fn(params, x)` as a function to the one number that `target` chooses."""
    run, target = chosen(fn, target), asked(target)

    def one(params, x):
        out = only(jax.tree.leaves(run(params, x)))
        return jnp.sum(seed(out, target) * out)

    return one


def chosen(fn: Callable, target: Any) -> Callable:
    """`fn` with a target that is a function applied to its output."""
    if not callable(target):
        return fn
    return lambda params, x: target(fn(params, x))


def only(outputs: Sequence) -> Any:
    """The one array that a function returns."""
    if len(outputs) != 1:
        raise ValueError(
            f"fn returns {len(outputs)} arrays; pass target=lambda out: ..., a "
            "function of the output to one number"
        )
    return outputs[0]


def seed(out: Any, target: Any) -> Array:
    """The weights of an output: what is explained is their sum with it."""
    target, array = target if isinstance(target, Asked) else (target, target)
    if isinstance(target, list | tuple):
        target = array = np.asarray(target)
    if isinstance(target, str):
        raise ValueError(
            f"target is {target!r}; it can be an index, an array of weights, or a "
            "function of the output"
        )
    shape, dtype = jnp.shape(out), jnp.result_type(out)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"the output is {dtype}, which has no relevance; explain logits"
        )
    if target is None or callable(target):
        if shape != ():
            what = "the target function returned" if target else "fn returns"
            raise ValueError(
                f"{what} an array of shape {shape}; say what to explain: target=3, an "
                "array of weights, or a function to one number"
            )
        return jnp.ones((), dtype)
    if jnp.shape(target) == shape and jnp.issubdtype(
        jnp.result_type(target), jnp.floating
    ):
        return jnp.asarray(array).astype(dtype)
    if jnp.ndim(target) or not jnp.issubdtype(jnp.result_type(target), jnp.integer):
        raise ValueError(
            f"target is {jnp.result_type(target)}{jnp.shape(target)}; it can be an "
            f"index, a real array of the output's shape {shape}, or a function"
        )
    if len(shape) != 1:
        raise ValueError(
            f"target {target} is an index of a vector, but the output has shape "
            f"{shape}; pass target=lambda out: out[...], or an array of that shape"
        )
    if not isinstance(target, Tracer):
        if not -shape[0] <= int(target) < shape[0]:
            raise ValueError(
                f"target {target} is none of {shape[0]} outputs: 0 to {shape[0] - 1}, "
                f"or from the end -1 to {-shape[0]}"
            )
    index = jnp.arange(shape[0])
    chosen = jnp.asarray(array).astype(index.dtype)
    there = (-shape[0] <= chosen) & (chosen < shape[0])  # under jit it can only show
    return jnp.where(there, (index == chosen % shape[0]).astype(dtype), jnp.nan)


def one_array(value: Any, name: str) -> None:
    """Refuse what is neither an array nor a number, beside the example."""
    if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float):
        raise ValueError(f"{name} must be one array, got {checks.described(value)}")


def score(value: Any, name: str) -> Float[Array, "..."]:
    """A map of relevance as an array."""
    if isinstance(value, tuple | dict):
        raise ValueError(
            f"{name} must be a map, one array, got {checks.described(value)}; explain "
            "returns more than a map: pass its field `input`"
        )
    checks.array(value, name, floating=True)
    return jnp.asarray(value)


def region(given: Any) -> Bool[Array, "..."]:
    """Where relevance is welcome, as an array."""
    one_array(given, "region")
    if not jnp.issubdtype(jnp.result_type(given), jnp.bool_):
        raise ValueError(
            f"region is {jnp.result_type(given)}; compare it with a threshold"
        )
    return jnp.asarray(given)


def baseline(x: Array, given: Any) -> Float[Array, "..."]:
    """The baseline as an array like x."""
    one_array(given, "baseline")
    if jnp.shape(given) != x.shape:
        raise ValueError(
            f"the baseline has shape {jnp.shape(given)}, but x has shape {x.shape}"
            "; explain one example at a time, with vmap outside"
        )
    return jnp.asarray(given).astype(x.dtype)


def baselines(x: PyTree, given: PyTree) -> list[Array | None]:
    """For every leaf of x its baseline; None for what is the same in both."""
    structure, other = jax.tree.structure(x), jax.tree.structure(given)
    if structure != other:
        raise ValueError(
            f"the baseline is {checks.described(given)}, but x is "
            f"{checks.described(x)}; they must have the same structure"
        )
    pairs = list(zip(jax.tree.leaves(x), jax.tree.leaves(given), strict=True))
    for a, b in pairs:
        numbers = not starts.is_real(a) and jnp.issubdtype(a.dtype, np.number)
        traced = isinstance(a, Tracer) or isinstance(b, Tracer)
        if numbers and not traced and not np.array_equal(a, b):
            raise ValueError(
                f"{checks.described(a)} in x differs from the baseline's; only real "
                "numbers can, all else must be the same in both"
            )
    return [baseline(a, b) if starts.is_real(a) else None for a, b in pairs]


def filling(name: str, value: Any, x: Array) -> Float[Array, "..."]:
    """What takes the place of hidden inputs, of x's shape."""
    one_array(value, name)
    try:
        return jnp.broadcast_to(jnp.asarray(value).astype(x.dtype), x.shape)
    except ValueError:
        raise ValueError(
            f"{name} has shape {jnp.shape(value)}; it can be a number, or an array "
            f"that broadcasts to x's shape {x.shape}"
        ) from None


def check_finite(parts: Mapping[str, Any]) -> None:
    """Outside `jit`, refuse what is not a number, and name the first that is not."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(parts)):
        return
    leaves = (trees.by_path({name: part}) for name, part in parts.items())
    for name, leaf in it.chain.from_iterable(found.items() for found in leaves):
        real = hasattr(leaf, "dtype") and starts.is_real(leaf)
        if real and not np.isfinite(np.asarray(leaf)).all():
            raise ValueError(
                f"relevance is not finite in {name!r}; look for NaNs and infinities "
                "in x, in the parameters and in fn's own steps"
            )
