"""What is explained: one number of what a function returns for one example.

All methods share this: how a target chooses the number, and what is refused before
anything is explained and after, so that nothing that went wrong looks like a zero.
"""

import itertools as it
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from sparsejax import trees


def number(fn: Callable, target: Any) -> Callable:
    """`fn(params, x)` as a function to the one number that `target` chooses."""
    run = chosen(fn, target)

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
    if isinstance(target, list | tuple):
        target = np.asarray(target)
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
        return jnp.asarray(target).astype(dtype)
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
            raise ValueError(f"target {target} is none of {shape[0]} outputs")
    index = jnp.arange(shape[0])
    chosen = jnp.asarray(target).astype(index.dtype)
    there = (-shape[0] <= chosen) & (chosen < shape[0])  # under jit it can only show
    return jnp.where(there, (index == chosen % shape[0]).astype(dtype), jnp.nan)


def example(x: Any) -> Float[Array, "..."]:
    """The example as an array of real numbers."""
    if not hasattr(x, "dtype"):
        x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"x is {x.dtype}; relevance needs real numbers: explain a function of the "
            "embedding, or convert x"
        )
    return jnp.asarray(x)


def baseline(x: Array, given: Any) -> Float[Array, "..."]:
    """The baseline as an array like x."""
    given = given if hasattr(given, "dtype") else np.asarray(given)
    if jnp.shape(given) != x.shape:
        raise ValueError(
            f"the baseline has shape {jnp.shape(given)}, but x has shape {x.shape}"
            "; explain one example at a time, with vmap outside"
        )
    return jnp.asarray(given).astype(x.dtype)


def filling(name: str, value: Any, x: Array) -> Float[Array, "..."]:
    """What takes the place of hidden inputs, of x's shape."""
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
        if not np.isfinite(np.asarray(leaf)).all():
            raise ValueError(
                f"relevance is not finite in {name!r}; look for NaNs and infinities "
                "in x, in the parameters and in fn's own steps"
            )
