"""Nodes counted one after the other: groups of them as one vector, and back."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Shaped

from sparsejax import checks, trees


@dataclass(frozen=True)
class Layout:
    """Where each group of nodes lies in the vector of all of them.

    Attributes:
        names: groups, in the order of depth.
        shapes: of their masks.
        dtypes: of their masks.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]

    @property
    def sizes(self) -> dict[str, int]:
        counts = [int(np.prod(shape)) for shape in self.shapes]
        return dict(zip(self.names, counts, strict=True))

    @property
    def count(self) -> int:
        return sum(self.sizes.values())

    def split(self, vector: Shaped[Array, " n"]) -> dict[str, Array]:
        """The groups' masks, from a vector of all nodes."""
        masks, start = {}, 0
        pairs = zip(self.sizes.items(), self.shapes, self.dtypes, strict=True)
        for (name, size), shape, dtype in pairs:
            part = vector[start : start + size]
            masks[name] = part.reshape(shape).astype(dtype)
            start += size
        return masks

    def labels(self) -> list[str]:
        """Names of the nodes: `z_0[3]`, or `z_0` where it is the only one."""
        return [
            name if size == 1 else f"{name}[{i}]"
            for name, size in self.sizes.items()
            for i in range(size)
        ]


def layout(nodes: Mapping[str, Any]) -> Layout:
    """The layout of nodes, in the order in which they are given.

    Raises:
        ValueError: if there are none, or they are not a dictionary of real arrays.
    """
    if not isinstance(nodes, Mapping) or not nodes:
        raise ValueError(
            f"nodes is {checks.described(nodes)}; expected {{name: array of ones}}, in "
            "the order of depth, such as masks.ones(fn, params, x).nodes"
        )
    for name, mask in nodes.items():
        kind = getattr(mask, "dtype", None)
        if kind is None or not jnp.issubdtype(kind, jnp.floating):
            raise ValueError(
                f"nodes[{name!r}] is {checks.described(mask)}; expected an array of "
                "ones, of floating numbers"
            )
    shapes = tuple(tuple(jnp.shape(mask)) for mask in nodes.values())
    if not sum(int(np.prod(shape)) for shape in shapes):
        raise ValueError("nodes has no entries, so that no circuit can be found")
    dtypes = tuple(jnp.result_type(mask) for mask in nodes.values())
    return Layout(tuple(map(str, nodes)), shapes, dtypes)


def flat(
    loss: Callable[[dict[str, Array]], Any], nodes: Mapping[str, Any]
) -> tuple[Callable[[Mapping[str, Array]], Any], dict[str, int]]:
    """A loss of masks as one of 0/1 vectors, and how many nodes each group has.

    Both are what `hypercube.evaluate` takes, for the values of all subsets.

    Args:
        loss: function of masks like `nodes`.
        nodes: masks of ones, by name, in the order of depth.

    Returns:
        The function of `{name: vector}`, and `{name: number of nodes}`.

    Example:
        >>> nodes = {"z": jnp.ones((2, 1)), "mlp": jnp.ones(3)}
        >>> fn, sizes = flat(lambda masks: masks["z"].sum(), nodes)
        >>> sizes, float(fn({"z": jnp.ones(2), "mlp": jnp.zeros(3)}))
        ({'z': 2, 'mlp': 3}, 2.0)
    """
    plan = layout(nodes)

    def fn(vectors):
        pairs = zip(plan.names, plan.shapes, plan.dtypes, strict=True)
        masks = {k: vectors[k].reshape(s).astype(dtype) for k, s, dtype in pairs}
        return loss(masks)

    return fn, plan.sizes


def subset(which: Any, nodes: Mapping[str, Any]) -> Bool[np.ndarray, " n"]:
    """A set of nodes as a vector of bool, whichever way it is written.

    Args:
        which: flat indices of the nodes; or a vector of bool; or masks like `nodes`.
        nodes: masks of ones, by name, in the order of depth.

    Raises:
        ValueError: for indices that are out of range or given twice, or masks of other
            names or shapes, or in another order.

    Example:
        >>> nodes = {"z": jnp.ones((2, 1)), "mlp": jnp.ones(2)}
        >>> subset({0, 3}, nodes).tolist()
        [True, False, False, True]
    """
    plan = layout(nodes)
    if isinstance(which, Mapping):
        return _of_masks(which, plan)
    if getattr(getattr(which, "dtype", None), "kind", "") == "b":
        array = np.asarray(which)
        if array.shape != (plan.count,):
            raise ValueError(
                f"the set is {checks.described(which)}; expected a bool for each of "
                f"the {plan.count} nodes"
            )
        return array.copy()
    if not isinstance(which, Iterable):
        raise ValueError(
            f"the set is {checks.described(which)}; expected indices of nodes, a "
            "vector of bool, or masks like the nodes"
        )
    indices = [checks.integer(i, "a node of the set") for i in which]
    if len({*indices}) < len(indices):
        raise ValueError(
            f"the set {indices[:12]} names a node twice; expected indices, or a vector "
            "of bool for zeros and ones"
        )
    wrong = [i for i in indices if not 0 <= i < plan.count]
    if wrong:
        raise ValueError(
            f"there are no nodes {wrong}; there are {plan.count}, from 0 to "
            f"{plan.count - 1}: {_ranges(plan)}"
        )
    keep = np.zeros(plan.count, bool)
    keep[indices] = True
    return keep


def members(keep: Bool[np.ndarray, " n"]) -> tuple[int, ...]:
    """The flat indices of a set."""
    return tuple(int(i) for i in np.flatnonzero(keep))


def _of_masks(masks: Mapping[str, Any], plan: Layout) -> Bool[np.ndarray, " n"]:
    if tuple(masks) != plan.names:
        raise ValueError(
            f"the masks are of {trees.listed(masks)}; expected those of the nodes, in "
            f"the order of depth: {trees.listed(plan.names)}"
        )
    for name, shape in zip(plan.names, plan.shapes, strict=True):
        if jnp.shape(masks[name]) != shape:
            raise ValueError(
                f"the mask of {name!r} has shape {jnp.shape(masks[name])}; expected "
                f"that of the nodes, {shape}"
            )
    leaves = [np.asarray(jax.device_get(masks[name])) for name in plan.names]
    return np.concatenate([leaf.reshape(-1) for leaf in leaves]) > 0


def _ranges(plan: Layout) -> str:
    parts, start = [], 0
    for name, size in plan.sizes.items():
        parts.append(f"{name!r} from {start}")
        start += size
    return ", ".join(parts[:12])
