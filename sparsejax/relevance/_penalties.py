"""Losses that punish relevance outside of a region, to train on.

Add one of them, times a strength, to the loss of the task: `jax.grad` goes through the
explanation. One example each, `vmap` and a mean outside.

`outside_squared` is the one to use. It asks for little relevance outside in every
logit, in the logits' own unit. `outside_target` lets all logits but one use the
background, as evidence against their labels; and `outside_share` can be met while the
background still decides: a ratio is small too where relevance inside is large and says
nothing.
Relevance is of first order: a background that acts through the gates of ReLUs alone,
such as one around a region that moves, has little. So measure on data whose background
is changed, and never take a low penalty for success.

Papers: Ross et al., "Right for the Right Reasons: Training Differentiable Models by
Constraining their Explanations", 2017 (arXiv 1703.03717).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from sparsejax import checks
from sparsejax.relevance import _starts as starts
from sparsejax.relevance import _targets as targets
from sparsejax.relevance._explain import explain

Region = Bool[ArrayLike, "..."]
Target = int | Int[Array, ""]


def outside_squared(
    fn: Callable,
    params: PyTree,
    x: PyTree,
    region: Region,
    *,
    at: str | None = None,
) -> Float[Array, ""]:
    """Sum over k and over i outside of R_ik^2, R_k being of the centred logit k.

    Centred logits, z_k less the mean of all, are what a softmax sees: the same for
    logits that differ by a constant.

    Args:
        fn: `fn(params, x) -> logits`, of shape (classes,).
        params: its parameters.
        x: one example.
        region: true where relevance is welcome, of x's shape.
        at: a named activation in place of x, as in `explain`.

    Raises:
        ValueError: for a region of another shape, or a function without logits.

    Example:
        >>> fn = lambda kernel, x: x @ kernel
        >>> kernel = jnp.array([[1.0, -1.0], [3.0, 0.0]])
        >>> x, region = jnp.array([2.0, 1.0]), jnp.array([False, True])
        >>> outside_squared(fn, kernel, x, region).item()  # of 2 and -2
        8.0
    """
    fn, x, region = _checked(fn, params, x, region, at)
    classes = _classes(fn, params, x)
    centered = jnp.eye(classes, dtype=jnp.result_type(x)) - 1 / classes
    relevance = jax.vmap(lambda weights: _relevance(fn, params, x, weights))(centered)
    return jnp.sum(jnp.where(region, 0, relevance) ** 2)


def outside_target(
    fn: Callable,
    params: PyTree,
    x: PyTree,
    region: Region,
    *,
    target: Target,
    at: str | None = None,
) -> Float[Array, ""]:
    """Sum over i outside of R_i^2, of one logit: leaves the others free.

    Args:
        fn: `fn(params, x) -> logits`, of shape (classes,).
        params: its parameters.
        x: one example.
        region: true where relevance is welcome, of x's shape.
        at: a named activation in place of x, as in `explain`.
        target: which logit, such as the label's.

    Raises:
        ValueError: for a region of another shape, or a function without logits.

    Example:
        >>> x, region = jnp.array([2.0, 1.0]), jnp.array([False, True])
        >>> fn = lambda kernel, x: x @ kernel
        >>> outside_target(fn, jnp.eye(2), x, region, target=0).item()
        4.0
    """
    fn, x, region = _checked(fn, params, x, region, at)
    _classes(fn, params, x)
    relevance = _relevance(fn, params, x, target)
    return jnp.sum(jnp.where(region, 0, relevance) ** 2)


def outside_share(
    fn: Callable,
    params: PyTree,
    x: PyTree,
    region: Region,
    *,
    target: Target,
    at: str | None = None,
) -> Float[Array, ""]:
    """Share of |R| that lies outside, of one logit; 0 where there is no relevance.

    The measure to report. As a loss it is met and fails: see the module's text.

    Args:
        fn: `fn(params, x) -> logits`, of shape (classes,).
        params: its parameters.
        x: one example.
        region: true where relevance is welcome, of x's shape.
        at: a named activation in place of x, as in `explain`.
        target: which logit, such as the label's.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: for a region of another shape, or a function without logits.

    Example:
        >>> x, region = jnp.array([2.0, 1.0]), jnp.array([False, True])
        >>> fn = lambda kernel, x: x @ kernel
        >>> kernel = jnp.array([[1.0, 0.0], [-6.0, 0.0]])
        >>> outside_share(fn, kernel, x, region, target=0).item()  # of 2 and -6
        0.25
    """
    fn, x, region = _checked(fn, params, x, region, at)
    _classes(fn, params, x)
    size = jnp.abs(_relevance(fn, params, x, target))
    total = jnp.sum(size)
    some = jnp.where(total > 0, total, 1)  # keeps the gradient of 0 / 0 finite
    return jnp.sum(jnp.where(region, 0, size)) / some


def rrr(
    fn: Callable,
    params: PyTree,
    x: PyTree,
    region: Region,
    *,
    at: str | None = None,
) -> Float[Array, ""]:
    """Sum over i outside of (d/dx_i sum_k log p_k)^2, p = softmax(logits).

    "Right for the right reasons". It is over all logits too, but multipliers are not
    relevances: it also counts where the input is zero.

    Args:
        fn: `fn(params, x) -> logits`, of shape (classes,).
        params: its parameters.
        x: one example.
        region: true where gradients are welcome, of x's shape.
        at: a named activation in place of x, as in `explain`.

    Raises:
        ValueError: for a region of another shape, or a function without logits.

    Example:
        >>> x, region = jnp.array([0.0, 1.0]), jnp.array([False, True])
        >>> fn = lambda kernel, x: x @ kernel
        >>> rrr(fn, jnp.array([[3.0, -1.0], [0.0, 0.0]]), x, region).item()
        0.0

    Reference: Ross et al., "Right for the Right Reasons", 2017 (arXiv 1703.03717).
    """
    fn, x, region = _checked(fn, params, x, region, at)
    classes = _classes(fn, params, x)
    # d/dz_j sum_k log p_k = 1 - classes p_j
    weights = 1 - classes * jax.nn.softmax(fn(params, x))
    gradient = explain(fn, params, x, target=weights).multiplier
    return jnp.sum(jnp.where(region, 0, gradient) ** 2)


def _relevance(fn, params, x, target):
    return explain(fn, params, x, target=target, baseline="zero").input


def _checked(fn, params, x, region, at) -> tuple[Callable, Array, Array]:
    fn, x = starts.begin(fn, params, x, at)
    region = targets.region(region)
    if region.shape != x.shape:
        raise ValueError(
            f"the region has shape {region.shape}, but x has shape {x.shape}; pass one "
            "example and its region, with vmap outside"
        )
    return fn, x, region


def _classes(fn, params, x) -> int:
    out = jax.eval_shape(fn, params, x)
    if not hasattr(out, "shape") or len(out.shape) != 1:
        shapes = [leaf.shape for leaf in jax.tree.leaves(out)]
        choice = f": {checks.one_output(out)}" if len(shapes) > 1 else ""
        raise ValueError(
            f"fn returns arrays of shapes {shapes}; expected logits (classes,) of one "
            f"example, with vmap outside{choice}"
        )
    return out.shape[0]
