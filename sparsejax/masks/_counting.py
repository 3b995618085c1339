"""How much masks keep, and how much of it others keep too."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from sparsejax import trees


def count(tree: PyTree) -> Int[Array, ""]:
    """Number of ones, over leaves with axes; exact up to 2^31.

    Example:
        >>> count({"w": jnp.array([1.0, 0.0, 1.0]), "b": jnp.ones(())}).item()
        2
    """
    return sum(_counts(tree), start=jnp.zeros((), jnp.int32))


def density(tree: PyTree) -> Float[Array, ""]:
    """Kept fraction over all leaves with axes, of which there must be one.

    Example:
        >>> density({"w": jnp.array([1.0, 0.0, 1.0, 1.0]), "b": jnp.ones(())}).item()
        0.75
    """
    total = sum(leaf.size for leaf in _full(tree))
    if not total:
        raise ValueError("no leaf has axes and entries, so that there is no density")
    return count(tree).astype(jnp.float32) / jnp.float32(total)


def counts(tree: PyTree) -> dict[str, int]:
    """Number of ones of each leaf with axes, under its path.

    Example:
        >>> tree = {"a": {"kernel": jnp.array([[1.0, 0.0]]), "bias": jnp.ones(())}}
        >>> counts(tree)
        {'a/kernel': 1}
    """
    full = {k: leaf for k, leaf in trees.by_path(tree).items() if jnp.ndim(leaf)}
    return {k: int(np.count_nonzero(np.asarray(leaf))) for k, leaf in full.items()}


def sizes(tree: PyTree) -> dict[str, int]:
    """Number of entries of each leaf with axes, under its path.

    Example:
        >>> tree = {"a": {"kernel": jnp.array([[1.0, 0.0]]), "bias": jnp.ones(())}}
        >>> sizes(tree)
        {'a/kernel': 2}
    """
    return {k: leaf.size for k, leaf in trees.by_path(tree).items() if jnp.ndim(leaf)}


def overlap(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Intersection over union of the ones of two masks (1 if both are empty).

    Example:
        >>> a, b = jnp.array([1.0, 1.0, 0.0, 0.0]), jnp.array([1.0, 0.0, 1.0, 0.0])
        >>> round(overlap(a, b).item(), 3)  # one of three
        0.333
    """
    both = jax.tree.map(lambda p, q: (p != 0) & (q != 0), a, b)
    either = jax.tree.map(lambda p, q: (p != 0) | (q != 0), a, b)
    union = count(either)
    ratio = count(both) / jnp.maximum(union, 1)
    return jnp.where(union == 0, jnp.ones_like(ratio), ratio)


def is_nested(child: PyTree, parent: PyTree) -> Bool[Array, ""]:
    """Whether `child` keeps nothing that `parent` removed.

    Example:
        >>> parent, child = jnp.array([1.0, 1.0, 0.0]), jnp.array([1.0, 0.0, 0.0])
        >>> is_nested(child, parent).item(), is_nested(parent, child).item()
        (True, False)
    """
    inside = jax.tree.map(lambda c, p: jnp.all((c == 0) | (p != 0)), child, parent)
    return jax.tree.reduce(operator.and_, inside, jnp.array(True))


def _full(tree) -> list:
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.ndim(leaf)]


def _counts(tree) -> list[Int[Array, ""]]:
    return [jnp.sum(jnp.asarray(leaf, bool), dtype=jnp.int32) for leaf in _full(tree)]
