"""What is asked of `apply` and its masks before anything is compiled."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jaxtyping import PyTree

from sparsejax import checks
from sparsejax import masks as masks_
from sparsejax.masks import Masks


def check(apply: Any, masks: Any, *, stateful: bool = False) -> None:
    """Check that `apply(params, masks, x)` is a call, and that masks are `Masks`.

    Raises:
        ValueError: says what to wrap.
    """
    if not callable(apply):
        raise ValueError(
            f"apply must be a function apply(params, masks, x), got "
            f"{checks.described(apply)}"
        )
    masks_.check_kind(masks)
    try:
        signature = inspect.signature(apply)
    except (TypeError, ValueError):  # some that are written in C tell none
        return
    try:
        signature.bind(None, None, None, **({"key": None} if stateful else {}))
    except TypeError as error:
        call = f"apply(params, masks, x{', key=key' if stateful else ''})"
        raise ValueError(
            f"apply takes {signature}, but is called as {call}; "
            f"sparsejax.masked(apply) takes masks too ({error})"
        ) from None


def outputs(
    apply: Callable, params: PyTree, masks: Masks, x: PyTree, *, many=False, key=None
) -> PyTree:
    """Shapes and dtypes that `apply` returns for one network, without running it.

    JAX remembers them: a second call takes no time.

    Args:
        apply: as given.
        params: of one network, or stacked ones.
        masks: likewise.
        x: shapes and dtypes of a batch.
        many: whether they are stacked.
        key: one like those for `apply(params, masks, x, key=key) -> (y, params)`.
    """

    def shape(leaf):
        return jax.ShapeDtypeStruct(
            jax.numpy.shape(leaf)[int(many) :], jax.numpy.result_type(leaf)
        )

    def one(tree):
        return jax.tree.map(shape, tree)

    key = None if key is None else jax.ShapeDtypeStruct((), key.dtype)
    try:
        return _outputs.eval_shape(apply, one(params), one(masks), x, key)
    except Exception as error:
        given = jax.tree.map(lambda leaf: leaf.shape, x)
        error.add_note(f"raised by apply(params, masks, x) with x of shape {given}")
        raise


@partial(jax.jit, static_argnums=0)
def _outputs(apply, params, masks, x, key):
    if key is None:
        return apply(params, masks, x)
    return apply(params, masks, x, key=key)[0]
