"""CartPole in pure JAX: a cart on a track, a pole on the cart, two pushes.

The equations and constants are those of gymnasium's CartPole, step by step.

Reference:
    Barto, Sutton, Anderson, "Neuronlike adaptive elements that can solve difficult
    learning control problems", 1983.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from sparsejax import checks

__all__ = [
    "DT",
    "FORCE",
    "GRAVITY",
    "HALF",
    "START",
    "TILT",
    "TRACK",
    "State",
    "observe",
    "reset",
    "step",
]


def __dir__() -> list[str]:
    return list(__all__)


GRAVITY = 9.8  # m/s^2
CART, POLE = 1.0, 0.1  # masses, kg
HALF = 0.5  # half of the pole's length, m
FORCE = 10.0  # of a push, N
DT = 0.02  # s
TRACK = 2.4  # furthest position, m
TILT = math.radians(12.0)  # largest angle
START = 0.05  # every number of a first state is between plus and minus this


class State(NamedTuple):
    """Where things are: metres, radians, seconds."""

    position: Float[Array, ""]
    velocity: Float[Array, ""]
    angle: Float[Array, ""]
    angular_velocity: Float[Array, ""]


def reset(key: Key[Array, ""] | Any) -> State:
    """A first state: four numbers, uniform between -0.05 and 0.05.

    Example:
        >>> bool((abs(observe(reset(jax.random.key(0)))) <= START).all())
        True
    """
    checks.one_key(key)
    return State(*jax.random.uniform(key, (4,), minval=-START, maxval=START))


def step(
    state: State, action: Int[Array, ""]
) -> tuple[State, Float[Array, ""], Bool[Array, ""]]:
    """One push, 0.02 s.

    Args:
        state: where things are.
        action: 0 pushes to the left, 1 to the right.

    Returns:
        The next state (Euler's method), the reward (always 1) and whether the episode
        has ended there. Time limits are not part of the physics.

    Example:
        >>> state, reward, ended = step(State(*jnp.zeros(4)), jnp.array(1))
        >>> [round(value, 3) for value in observe(state).tolist()], bool(ended)
        ([0.0, 0.195, 0.0, -0.293], False)
    """
    x, v, angle, spin = state
    force = jnp.where(action == 1, FORCE, -FORCE).astype(x.dtype)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    mass, moment = CART + POLE, POLE * HALF
    push = (force + moment * spin**2 * sin) / mass
    turn = (GRAVITY * sin - cos * push) / (HALF * (4 / 3 - POLE * cos**2 / mass))
    pull = push - moment * turn * cos / mass
    after = State(x + DT * v, v + DT * pull, angle + DT * spin, spin + DT * turn)
    ended = (jnp.abs(after.position) > TRACK) | (jnp.abs(after.angle) > TILT)
    return after, jnp.ones_like(x), ended


def observe(state: State) -> Float[Array, "4"]:
    """Position, velocity, angle, angular velocity.

    Example:
        >>> observe(State(*jnp.array([0.5, 0.0, -0.25, 1.0]))).tolist()
        [0.5, 0.0, -0.25, 1.0]
    """
    return jnp.stack(state)
