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
        count: how many parts there are.
    """

    product: Callable[[Callable, Any, tuple], tuple]
    count: int


def _signed(run, weights, parts):
    return (run(weights, parts[0]),)


def _split(run, weights, parts):
    whole, size, count = parts
    return (
        run(weights, whole),
        run(jnp.abs(weights), size),
        run(_is_live(weights), count),
    )


def _is_live(weights):
    return (weights != 0).astype(weights.dtype)


SIGNED = Algebra(_signed, 1)  # weights as they are
# The same, the sizes of all paths' products, and how many are live. Paths of positive
# product are half the sum of the first two, those of negative half the difference, to
# the rounding of the sizes; the signed sum may be far smaller.
SPLIT = Algebra(_split, 3)
