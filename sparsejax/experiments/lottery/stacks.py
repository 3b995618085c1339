"""Networks in and out of stacks, with their keys."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def one_of(tree: PyTree, seed: int) -> PyTree:
    """One of several stacked networks."""
    return _keyed(_slice(jax.tree.map(_bits, tree), seed), tree)


def stacked(networks: list) -> PyTree:
    """Networks with a leading axis over them."""
    return _keyed(_stack([jax.tree.map(_bits, tree) for tree in networks]), networks[0])


@jax.jit
def _slice(tree, seed):
    return jax.tree.map(lambda leaf: leaf[seed], tree)


@jax.jit
def _stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _bits(leaf):
    """A key as its bits: every round that rewinds uses the same keys again."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _keyed(bits: PyTree, like: PyTree) -> PyTree:
    def one(leaf, other):
        if not _is_key(other):
            return leaf
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(other))

    return jax.tree.map(one, bits, like)


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
