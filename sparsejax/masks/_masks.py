"""Masks as data, and whether they are those of given parameters."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from sparsejax import checks, pages, trees
from sparsejax.masks import _display


class Masks(NamedTuple):
    """What is kept of a network.

    Attributes:
        weights: tree of the structure of the parameters, each leaf 0/1 of the
            parameter's shape, or a 0-d 1 where it is never pruned.
        nodes: for each named activation a 0/1 array that broadcasts to it from the
            right without enlarging it: `(units,)` for its last axis, `(heads, 1)` for
            the one before, `(1,)` for all of it. In a scan the loop's axis comes first:
            `(layers, units)`, or `(1, units)` for the same at every step; in a scan in
            a scan two of them.
    """

    weights: PyTree
    nodes: dict[str, Array]

    def __repr__(self) -> str:
        return _display.text(self.weights, self.nodes)

    @pages.display
    def _repr_html_(self) -> str:
        return _display.html(self.weights, self.nodes)


def check_kind(masks: Any) -> None:
    """Raise a `ValueError` for what is not `Masks`, such as its weights alone.

    Example:
        >>> check_kind(Masks({"w": jnp.ones(2)}, {}))
        >>> check_kind({"w": jnp.ones(2)})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: expected Masks(weights, nodes), got ...
    """
    if not isinstance(masks, Masks):
        raise ValueError(
            f"expected Masks(weights, nodes), got {checks.described(masks)}; wrap a "
            "tree of weight masks as Masks(tree, {})"
        )


def check(params: PyTree, weights: PyTree) -> None:
    """Raise a `ValueError` that names the first mask that does not fit.

    Example:
        >>> params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
        >>> check(params, {"w": jnp.ones((2, 3)), "b": jnp.ones(())})
        >>> check(params, {"w": jnp.ones(3), "b": jnp.ones(())})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: the mask of 'w' has shape (3,); expected the parameter's, ...
    """
    checks.arrays(params)
    checks.arrays(weights, "masks.weights")
    trees.check_structure(weights, params, "masks.weights", "params")
    masks = trees.by_path(weights)
    for name, param in trees.by_path(params).items():
        shape = jnp.shape(masks[name])
        if shape not in ((), jnp.shape(param)):
            raise ValueError(
                f"the mask of {name!r} has shape {shape}; expected the parameter's, "
                f"{jnp.shape(param)}, or () where it is never pruned"
            )
