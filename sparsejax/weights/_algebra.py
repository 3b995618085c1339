"""What weights do to what passes them: three ways of adding up paths.

`product(run, weights, parts)` applies a step that is linear in its weights and in what
passes: `run(weights, array)`. Signs are weights, too: a difference is a product with
-1, a mean one with 1 / n.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp


class Algebra(NamedTuple):
    """How weights act.

    Attributes:
        product: `product(run, weights, parts) -> parts`.
        seeds: which parts of the target are followed back: 1 or 0 for each.
    """

    product: Callable[[Callable, Any, tuple], tuple]
    seeds: tuple[int, ...]


def _signed(run, weights, parts):
    return (run(weights, parts[0]),)


def _split(run, weights, parts):
    up, down = jnp.maximum(weights, 0), jnp.maximum(-weights, 0)
    whole, positive, negative, count = parts
    return (
        run(weights, whole),
        run(up, positive) + run(down, negative),
        run(up, negative) + run(down, positive),
        run(_is_live(weights), count),
    )


def _is_live(weights):
    return (weights != 0).astype(weights.dtype)


SIGNED = Algebra(_signed, (1,))  # weights as they are
# The same, its paths of positive and of negative product apart, and how many are live.
# Deep down the two are far larger than their difference: it needs a part of its own.
SPLIT = Algebra(_split, (1, 1, 0, 1))
