"""What is known of a planted network, and how wrong its outputs are."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from sparsejax.models._variables import Model


class Planted(NamedTuple):
    """A network and what is true of it.

    Attributes:
        model: `model.apply(params, x)`; its `init` makes random parameters of the same
            structure.
        params: by formula.
        x: all inputs, or enough of them.
        y: what the network computes of them: real numbers of the outputs' shape, or
            classes, integers without their last axis.
        nodes: `{name: mask of ones}` of all nodes, in order of depth.
        circuits: all subset-minimal sets of nodes whose `error` is 0 if all others
            are zero; nodes are numbered one name after the other.
        edges: the one subset-minimal set of edges (writer, reader) without an error,
            of a transformer: between `token`, `position` and single heads ("head_0[1]"
            is the second of block 0) and the readers of `models.transformer`; None
            where it has no such edges.
    """

    model: Model
    params: PyTree
    x: Array
    y: Array
    nodes: dict[str, Array]
    circuits: tuple[frozenset[int], ...]
    edges: frozenset[tuple[str, str]] | None


def error(
    outputs: Float[ArrayLike, "..."], reference: Any, y: ArrayLike
) -> Float[Array, ""]:
    """How wrong outputs are: the largest difference, or the share of wrong classes.

    Args:
        outputs: of a network, shape (..., outputs).
        reference: those of the whole network; not needed here, but metrics take them.
        y: real numbers of the same shape, or integers of shape (...).

    Example:
        >>> from sparsejax.models.planted import gates
        >>> network = gates()
        >>> outputs = network.model.apply(network.params, network.x)
        >>> float(error(outputs, None, network.y))
        0.0
    """
    del reference
    outputs, y = jnp.asarray(outputs), jnp.asarray(y)
    if jnp.issubdtype(y.dtype, np.integer):
        return (outputs.argmax(-1).astype(y.dtype) != y).astype(outputs.dtype).mean()
    return jnp.abs(outputs - y).max()


def network(model, params, x, y, nodes, circuits, edges=None) -> Planted:
    """The same in JAX's default types; integers in 32 bits."""

    def array(leaf):
        whole = np.asarray(leaf).dtype.kind == "i"
        return jnp.asarray(leaf, jnp.int32 if whole else None)

    params, x, y = jax.tree.map(array, (params, x, y))
    return Planted(model, params, x, y, nodes, (*map(frozenset, circuits),), edges)
