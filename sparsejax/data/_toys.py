"""Toy problems in the plane: a circle in a square, and a spiral of two arms.

Two inputs, two classes, as many points as wanted: small enough to see all that a
network computes. Both are pure functions of a key and can be jitted with `n` static. A
test set is a second draw with another key.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax import checks
from sparsejax.data._splits import Split

_SQUARED_RADIUS = {"half": 2 / math.pi, "published": math.sqrt(2 / math.pi)}


def circle(key: Any, n: int, *, variant: str = "half") -> Split:
    """Points of a square, labelled by whether they lie outside of a circle.

    `x` is uniform in the square `[-1, 1)^2`, and `y = 1` where `|x|^2 > s`.

    Args:
        key: random key.
        n: number of points.
        variant: `"half"` takes `s = 2 / pi`, a circle that covers half of the square,
            as the source's text says; `"published"` takes `s = sqrt(2 / pi)`, which is
            what the source's code does (62.67 % of the square lies inside).

    Returns:
        `x` of shape `(n, 2)` and `y` of shape `(n,)`, JAX arrays.

    Raises:
        ValueError: for what is no key, another variant, or no points.

    Example:
        >>> x, y = circle(jax.random.key(0), 1000)
        >>> x.shape, round(float(y.mean()), 1)
        ((1000, 2), 0.5)

    Reference:
        Donald Hobson, Neural Networks, More than you wanted to Show: Exploring toy
        neural nets under node removal, Section 1 (blog post).
    """
    checks.one_key(key)
    squared = circle_radius(variant) ** 2
    _check_count(n)
    x = jax.random.uniform(key, (n, 2), jnp.float32, minval=-1, maxval=1)
    outside = jnp.sum(x * x, axis=1) > squared
    return Split(x, outside.astype(jnp.int32))


def circle_radius(variant: str) -> float:
    """The radius of a variant of `circle`: 0.7979 ("half") or 0.8932 ("published").

    Raises:
        ValueError: for another variant.

    Example:
        >>> round(math.pi * circle_radius("half") ** 2, 3)  # of the square's area of 4
        2.0
    """
    if variant not in _SQUARED_RADIUS:
        known = " or ".join(map(repr, _SQUARED_RADIUS))
        raise ValueError(f"unknown circle variant {variant!r}; expected {known}")
    return math.sqrt(_SQUARED_RADIUS[variant])


def spiral(
    key: Any,
    n: int,
    *,
    turns: float | Float[Array, ""] = 1.5,
    noise: float | Float[Array, ""] = 0.02,
) -> Split:
    """Two interleaved spiral arms, labelled by arm.

    A point of arm `a` at radius `r` lies at the angle `2 pi turns r + pi a`, plus
    normal noise. `r` is the square root of a uniform number in (0, 1]: the points are
    then about evenly spaced along the arms, where a uniform `r` would crowd them at the
    origin, the one place where the arms meet. Along a ray the arms are `1 / (2 turns)`
    apart.

    Args:
        key: random key.
        n: number of points; those of the two arms alternate, arm 0 first.
        turns: how often each arm winds around the origin.
        noise: standard deviation of the noise, in units of the outer radius.

    Returns:
        `x` of shape `(n, 2)` and `y` of shape `(n,)`, JAX arrays.

    Raises:
        ValueError: for what is no key, and no points.

    Example:
        >>> x, y = spiral(jax.random.key(0), 5)
        >>> x.shape, y.tolist()
        ((5, 2), [0, 1, 0, 1, 0])

    Reference:
        After Kevin Lang and Michael Witbrock, Learning to tell two spirals apart, 1988,
        whose points are equally spaced in angle and have no noise.
    """
    checks.one_key(key)
    _check_count(n)
    radius_key, noise_key = jax.random.split(key)
    arm = jnp.arange(n, dtype=jnp.int32) % 2
    # `uniform` may be 0 and is never 1; reversed, no point lies at the origin itself.
    radius = jnp.sqrt(1 - jax.random.uniform(radius_key, (n,), jnp.float32))
    angle = 2 * math.pi * turns * radius + math.pi * arm.astype(jnp.float32)
    points = radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    x = points.T + noise * jax.random.normal(noise_key, (n, 2), jnp.float32)
    return Split(x, arm)


def _check_count(n: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}; expected the number of points, at least 1")
