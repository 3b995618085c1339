"""Where relevance starts: at the input, or at a named activation in its place.

Tokens, choices and keys are no real numbers, but what is looked up or drawn for them
is: relevance starts there, and the input is closed over.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from sparsejax import checks, interpret, lift, trees

NAMED = (
    "relevance starts from real numbers: at='params/embed:out' explains the looked-up "
    "rows (sj.named(fn, '*:out') names them) or any other named activation; convert "
    "images of integers"
)


def example(x: Any) -> Float[Array, "..."]:
    """The example as an array of real numbers."""
    checks.array(x)
    x = x if hasattr(x, "dtype") else jnp.asarray(x)
    if not is_real(x):
        raise ValueError(f"x is {checks.described(x)}; {NAMED}")
    return jnp.asarray(x)


def examples(x: PyTree) -> PyTree:
    """The example as an array, or as a tree of them with real numbers somewhere."""
    if jax.tree_util.treedef_is_leaf(jax.tree.structure(x)):
        return example(x)
    leaves = {f"x/{name}": leaf for name, leaf in trees.by_path(x).items()}
    for name, leaf in leaves.items():
        checks.array(leaf, name)
    x = jax.tree.map(lambda x: x if hasattr(x, "dtype") else jnp.asarray(x), x)
    if not any(map(is_real, jax.tree.leaves(x))):
        raise ValueError(f"x is {checks.described(x)} without real numbers; {NAMED}")
    return x


def anything(x: PyTree) -> None:
    """A check of an example that `fn` takes and nothing is asked of."""
    if jax.tree_util.treedef_is_leaf(jax.tree.structure(x)) and not checks.is_array(x):
        checks.array(x)
    checks.arrays(x, "x")


def begin(
    fn: Callable,
    params: PyTree,
    x: PyTree,
    at: Any,
    read: Callable[[Any], PyTree] = example,
) -> tuple[Callable, PyTree]:
    """A function and the real numbers that it starts from.

    Args:
        fn: `fn(params, x)`.
        params: its parameters.
        x: the example.
        at: the name of an activation; None for the input.
        read: `read(x) -> x`, checked, if it is the input.

    Returns:
        `fn` and `x`; or what `fn` makes of the activation, `after(params, h)`, and the
        activation `h`.
    """
    if at is None:
        return fn, read(x)
    if not isinstance(at, str):
        raise ValueError(
            f"at is {checks.described(at)}; expected the name of one activation"
        )
    anything(x)
    h = _read(fn, params, x, at)
    if not is_real(h):
        raise ValueError(
            f"activation {at!r} is {checks.described(h)}; name what is looked up or "
            "converted, where real numbers begin"
        )

    def after(params, h):
        return lift.edit(fn, {at: lambda _: h})(params, x)

    return after, h


def _read(fn, params, x, at: str) -> Array:
    """An activation that can be changed."""

    def keep(name, value, operand):
        return value, value

    def read(params, x):
        program = interpret.trace(fn, params, x)
        (site,) = lift.check_names(interpret.sites(program), (at,), changed=True)
        lift.check_not_looped(site)
        return interpret.evaluate(program, {at: None}, keep)[1][at]

    return interpret.whole(read, params, x)


def is_real(x: Any) -> bool:
    """Whether an array can have relevance."""
    return jnp.issubdtype(x.dtype, jnp.floating)
