"""How masks are made of parameters while they are learned."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

BETA, LOW, HIGH = 2 / 3, -0.1, 1.1  # of the hard concrete distribution
OPEN = float(np.log(-LOW / (HIGH - LOW) / (1 + LOW / (HIGH - LOW))))  # -log 11


class Rule(NamedTuple):
    """How masks come from parameters.

    Attributes:
        name: of the finder.
        start: mean of the first parameters.
        sample: `(u, parameters)` to masks, u uniform in (0, 1).
        price: expected number of nodes, of the parameters.
        threshold: parameter from which a node is kept at the end.
        bound: largest size of a parameter, clipped after every step.
    """

    name: str
    start: float
    sample: Callable[[Array, Array], Array]
    price: Callable[[Array], Array]
    threshold: float
    bound: float = np.inf


def concrete(u: Float[Array, "..."], logits: Float[Array, "..."]) -> Array:
    """Samples of the hard concrete distribution, from uniform ones in (0, 1).

    `clip(s (HIGH - LOW) + LOW, 0, 1)` of `s = sigmoid((logit u + logits) / BETA)`.
    """
    s = jax.nn.sigmoid((jnp.log(u) - jnp.log1p(-u) + logits) / BETA)
    return jnp.clip(s * (HIGH - LOW) + LOW, 0.0, 1.0)


def chance_open(logits: Float[Array, "..."]) -> Float[Array, "..."]:
    """The probability that a sample of `concrete` is above 0."""
    return jax.nn.sigmoid(logits - BETA * float(np.log(-LOW / HIGH)))


def open_count(logits: Array) -> Array:
    """The expected number of masks above 0."""
    return chance_open(logits).sum()


def hard(u: Any, theta: Array) -> Array:
    """Masks of 0 and 1 with the derivative of a sigmoid."""
    smooth = jax.nn.sigmoid(theta)
    return smooth + jax.lax.stop_gradient((theta >= 0).astype(theta.dtype) - smooth)


def hard_count(theta: Array) -> Array:
    """The number of nodes that are on, with the same derivative."""
    return hard(None, theta).sum()


def window(u: Array, theta: Array) -> Array:
    """Masks that are 0 or 1 but in a window, where the chance has slope 1."""
    chance = jax.nn.sigmoid(theta)
    width = jax.lax.stop_gradient(chance * (1 - chance))
    still = jax.lax.stop_gradient(chance)
    moving = width * (chance - still) + still  # its gradient is divided by the width
    return 1 - jnp.clip((u - moving) / width + 0.5, 0.0, 1.0)


def sigmoid_count(theta: Array) -> Array:
    """The expected number of nodes."""
    return jax.nn.sigmoid(theta).sum()


HARD_CONCRETE = Rule("hard concrete", float(np.log(5)), concrete, open_count, OPEN)
STRAIGHT_THROUGH = Rule("straight-through", 0.1, hard, hard_count, 0.0, 1.0)
UGS = Rule("uniform gradient sampling", 1.0, window, sigmoid_count, 0.0)
