"""Arrays with masks put in: products, choices, exact zeros."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from sparsejax.masks._masks import check


def apply(params: PyTree, weights: PyTree) -> PyTree:
    """Parameters times their masks (`scale`: removed ones may be infinite or NaN).

    Raises:
        ValueError: if structures differ, or a mask has neither its parameter's shape
            nor no axes.

    Example:
        >>> params = {"w": jnp.array([2.0, jnp.inf]), "b": jnp.array([5.0])}
        >>> weights = {"w": jnp.array([1.0, 0.0]), "b": jnp.ones(())}
        >>> {k: leaf.tolist() for k, leaf in apply(params, weights).items()}
        {'b': [5.0], 'w': [2.0, 0.0]}
    """
    check(params, weights)

    # A leaf that is never pruned may be of any dtype, a key or an integer, say.
    def leaf(param, mask):
        if jnp.ndim(mask):
            param = jnp.asarray(param)
            return scale(param, jnp.asarray(mask).astype(param.dtype))
        if not is_real(param):
            return param
        return param * jnp.asarray(mask).astype(jnp.result_type(param))

    return jax.tree.map(leaf, params, weights)


@jax.custom_jvp
def scale(value: Array, mask: Array) -> Array:
    """An array times a mask that broadcasts to it, where 0 selects away.

    Where the mask is 0 the result is 0 whatever the value is, infinite or not a number
    too. The derivatives are those of the product for every mask, fractions included: to
    the value it is the mask, to the mask the value.

    Example:
        >>> scale(jnp.array([2.0, -jnp.inf, 3.0]), jnp.array([1.0, 0.0, 0.5])).tolist()
        [2.0, 0.0, 1.5]
    """
    return jnp.where(mask == 0, 0, value * mask)


def _scale_jvp(primals, tangents):
    (value, mask), (value_dot, mask_dot) = primals, tangents

    def known(dot):
        return not isinstance(dot, jax.custom_derivatives.SymbolicZero)

    out = scale(value, mask)
    change = value_dot * mask if known(value_dot) else jnp.zeros_like(out)
    return out, change + value * mask_dot if known(mask_dot) else change


scale.defjvp(_scale_jvp, symbolic_zeros=True)


@jax.custom_jvp
def blend(value: Array, mask: Array, other: Array) -> Array:
    """An array where a mask is 1, and another where it is 0; exact at both.

    Between, `value * mask + other * (1 - mask)`. `mask` and `other` broadcast to
    `value`. The derivatives are those of that formula for every mask; to the mask it is
    `value - other`.

    Example:
        >>> mask = jnp.array([1.0, 0.0, 0.5])
        >>> blend(jnp.array([2.0, jnp.inf, 3.0]), mask, jnp.array([jnp.nan, 5, 1])).tolist()
        [2.0, 5.0, 2.0]
    """  # noqa: E501
    between = value * mask + other * (1 - mask)
    return jnp.where(mask == 0, other, jnp.where(mask == 1, value, between))


def _blend_jvp(primals, tangents):
    value, mask, other = primals
    out = blend(value, mask, other)
    change = jnp.zeros_like(out)
    factors = (mask, value - other, 1 - mask)
    for factor, tangent in zip(factors, tangents, strict=True):
        if not isinstance(tangent, jax.custom_derivatives.SymbolicZero):
            change = change + factor * tangent
    return out, change


blend.defjvp(_blend_jvp, symbolic_zeros=True)


def zero(tree: PyTree, weights: PyTree) -> PyTree:
    """`tree` with exact zeros (never -0.0) where `weights` removes.

    Example:
        >>> grads = {"w": jnp.array([-3.0, -3.0]), "b": jnp.array([1.0])}
        >>> weights = {"w": jnp.array([1.0, 0.0]), "b": jnp.ones(())}
        >>> zero(grads, weights)["w"].tolist()
        [-3.0, 0.0]
    """
    return jax.tree.map(zero_leaf, tree, weights)


def zero_leaf(leaf: Array, mask: Array) -> Array:
    """One leaf of `zero`; a mask of another shape, as of no axes, removes nothing.

    Example:
        >>> zero_leaf(jnp.array([-3.0, jnp.nan]), jnp.array([1.0, 0.0])).tolist()
        [-3.0, 0.0]
        >>> zero_leaf(jnp.array([-3.0, 4.0]), jnp.zeros(())).tolist()
        [-3.0, 4.0]
    """
    if not jnp.ndim(mask) or jnp.shape(leaf) != jnp.shape(mask):
        return leaf
    return jnp.where(mask != 0, leaf, jnp.zeros_like(leaf))


def is_real(leaf) -> bool:
    """Whether a leaf is of real or complex numbers."""
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact))
