"""What a picture is to show: a number of activations, to be made as large as possible.

Objectives add up (`sum` too), are subtracted, multiplied and divided by numbers:
`channel("hidden_1") - 0.1 * channel("hidden_0", 3) + 10 * diversity("hidden_1")`. Those
without a number of a unit are of the unit that is rendered. The last axis of an
activation is the unit axis, all others are places; the name "" is the function's
output.

Paper: Olah et al., "Feature Visualization", Distill, 2017.
"""

import dataclasses
import functools as ft
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from sparsejax import checks

OUTPUT = ""
Activations = Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class Objective:
    """A number for each picture of a unit.

    Attributes:
        nodes: the activations that it reads, one or several names.
        value: `value(acts, unit) -> (pictures,)`; `acts` has an array (pictures,
            *places, units) for every name, `unit` is a number that may be traced.
        units: `units(acts)`, how many units there are to render; None for any.
    """

    nodes: tuple[str, ...] | Any
    value: Callable[[Activations, Any], Float[Array, " pictures"]]
    units: Callable[[Activations], int | None]

    def __post_init__(self):
        object.__setattr__(self, "nodes", checks.several(self.nodes))

    def __add__(self, other: "Objective | int") -> "Objective":
        if isinstance(other, int) and other == 0:  # `sum` starts with it
            return self
        if not isinstance(other, Objective):
            return NotImplemented

        def units(acts):
            counts = self.units(acts), other.units(acts)
            return min((n for n in counts if n is not None), default=None)

        nodes = tuple(dict.fromkeys((*self.nodes, *other.nodes)))

        def add(acts, unit):
            return self.value(acts, unit) + other.value(acts, unit)

        return Objective(nodes, add, units)

    __radd__ = __add__

    def __mul__(self, factor: float | int) -> "Objective":
        if isinstance(factor, Objective):
            return NotImplemented

        def times(acts, unit):
            return factor * self.value(acts, unit)

        return dataclasses.replace(self, value=times)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float | int) -> "Objective":
        return self * (1 / divisor)

    def __neg__(self) -> "Objective":
        return -1 * self

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -other


@ft.cache
def channel(node: str, unit: int | None = None) -> Objective:
    """The mean of a unit over all places.

    Example:
        >>> acts = {"h": jnp.array([[[1.0, 5.0], [3.0, 7.0]]])}  # a picture, two places
        >>> channel("h").value(acts, 0).tolist()
        [2.0]
        >>> channel("h", 1).value(acts, 0).tolist()
        [6.0]
    """

    def value(acts, rendered):
        a = acts[node]
        return a.mean(tuple(range(1, a.ndim - 1)))[:, _chosen(a, unit, rendered, node)]

    return Objective((node,), value, _count(node, unit))


def neuron(
    node: str, unit: int | None = None, place: int | Iterable | None = None
) -> Objective:
    """A unit at one place, by default the one in the middle.

    Example:
        >>> acts = {"h": jnp.array([[[1.0], [3.0], [5.0]]])}  # a picture, three places
        >>> neuron("h").value(acts, 0).tolist()
        [3.0]
        >>> neuron("h", place=0).value(acts, 0).tolist()
        [1.0]
    """
    return _neuron(node, unit, None if place is None else checks.several(place))


@ft.cache
def _neuron(node: str, unit: int | None, place: tuple[int, ...] | None) -> Objective:
    def value(acts, rendered):
        a = acts[node]
        sides = a.shape[1:-1]
        at = tuple(n // 2 for n in sides) if place is None else place
        if len(at) != len(sides) or not all(0 <= i < n for i, n in zip(at, sides)):
            raise ValueError(
                f"{place} is not a position of {_named(node)}, whose positions "
                f"are {sides}"
            )
        return a[:, *at, _chosen(a, unit, rendered, node)]

    return Objective((node,), value, _count(node, unit))


def direction(
    node: str, vectors: Float[ArrayLike, "..."], *, power: float | int = 0
) -> Objective:
    """The mean over places of a . v max(0.1, cos(a, v))^power.

    Args:
        node: the activation a.
        vectors: v, of shape (units,); or (n, units) to render n of them.
        power: more of it for less of other directions.

    Example:
        >>> acts = {"h": jnp.array([[[1.0, 5.0], [3.0, 4.0]]])}  # a picture, two places
        >>> objective = direction("h", np.array([1.0, -1.0]))
        >>> objective.value(acts, 0).tolist()  # of -4 and -1
        [-2.5]
    """
    vectors = np.asarray(vectors)
    if vectors.ndim not in (1, 2) or not vectors.any(-1).all():
        raise ValueError(
            f"vectors have shape {vectors.shape}, expected (units,) or (n, units) and "
            "no vector of zeros"
        )

    def value(acts, rendered):
        a = acts[node]
        if vectors.shape[-1] != a.shape[-1]:
            raise ValueError(
                f"vectors have {vectors.shape[-1]} entries, but {_named(node)} has "
                f"{a.shape[-1]} units"
            )
        v = jnp.asarray(vectors, a.dtype)
        v = v if v.ndim == 1 else v[rendered]
        dot = a @ v
        if power:
            cosine = dot / (_norm(a) * _norm(v))
            dot *= jnp.maximum(cosine, 0.1) ** power
        return dot.mean(tuple(range(1, dot.ndim)))

    count = None if vectors.ndim == 1 else len(vectors)
    return Objective((node,), value, lambda acts: count)


def logit(unit: int | None = None) -> Objective:
    """An output of the function, such as the logit of a class.

    Example:
        >>> acts = {"": jnp.array([[1.0, 5.0]])}  # the output for one picture
        >>> logit(1).value(acts, 0).tolist()
        [5.0]
    """
    return channel(OUTPUT, unit)


@ft.cache
def diversity(node: str) -> Objective:
    """How little the pictures of a unit have in common in a layer.

    -sum_{j != i} <G_i, G_j> of picture i, G the Gram matrix of the layer's units over
    places, of length 1. For `render(..., count=2)` or more.

    Example:
        >>> alike = {"h": jnp.array([[[2.0, 0.0]], [[2.0, 0.0]]])}  # two pictures
        >>> apart = {"h": jnp.array([[[2.0, 0.0]], [[0.0, 2.0]]])}
        >>> [diversity("h").value(acts, 0).round(3).tolist() for acts in (alike, apart)]
        [[-1.0, -1.0], [0.0, 0.0]]
    """

    def value(acts, rendered):
        del rendered
        a = acts[node].reshape(len(acts[node]), -1, acts[node].shape[-1])
        grams = jnp.einsum("npu,npv->nuv", a, a).reshape(len(a), -1)
        grams /= _norm(grams)[:, None]
        return (grams * grams).sum(1) - grams @ grams.sum(0)

    return Objective((node,), value, lambda acts: None)


def _norm(a: Array) -> Array:
    """Length along the last axis, with a derivative at 0 too."""
    return jnp.sqrt((a * a).sum(-1) + jnp.finfo(a.dtype).tiny ** 0.5)


def _count(node, unit) -> Callable[[Activations], int | None]:
    return lambda acts: acts[node].shape[-1] if unit is None else None


def _chosen(a: Array, unit: int | None, rendered: Any, node: str) -> Any:
    if unit is None:
        return rendered
    if not 0 <= unit < a.shape[-1]:
        raise ValueError(
            f"there is no unit {unit} in {_named(node)}, which has {a.shape[-1]}"
        )
    return unit


def _named(node: str) -> str:
    return "the output" if node == OUTPUT else f"activation {node!r}"
