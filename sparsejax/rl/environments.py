"""Environments: pure step functions, and what an agent has to know of them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sparsejax import trees
from sparsejax.rl import cartpole

__all__ = [
    "NAMES",
    "Environment",
    "check",
    "load",
]


def __dir__() -> list[str]:
    return list(__all__)


class Environment(NamedTuple):
    """An environment of vectors and of a few actions. Bring your own.

    Attributes:
        name: of the environment.
        reset: `reset(key) -> state`, a tree of arrays.
        step: `step(state, action) -> (state, reward, terminated)`, pure; `action` is an
            int32 scalar. It says when an episode has ended, not when time is up.
        observe: `observe(state) -> float32 (inputs,)`.
        inputs: names of the elements of an observation.
        units: their units.
        actions: names of the actions.
        scale: an agent's network is given observations times this.
        limit: steps after which an episode is cut off ("truncated").
        target: the highest mean return of an episode.
        low, high: bounds of the observations, for graphs and sliders.
        gym_id: its name in gymnasium, where agents are evaluated; None if it is not
            there.
    """

    name: str
    reset: Callable
    step: Callable
    observe: Callable
    inputs: tuple[str, ...]
    units: tuple[str, ...]
    actions: tuple[str, ...]
    scale: tuple[float, ...]
    limit: int
    target: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    gym_id: str | None = None


_LIMITS = {"CartPole-v0": 200, "CartPole-v1": 500}
NAMES = tuple(_LIMITS)
# The velocities have no bounds; a balancing agent stays far inside these.
_CARTPOLE = (cartpole.TRACK, 3.0, cartpole.TILT, 3.0)


def load(name: str) -> Environment:
    """One of the environments that come with the library.

    Raises:
        ValueError: if there is none of that name.

    Example:
        >>> environment = load("CartPole-v1")
        >>> environment.inputs, environment.limit
        (('position', 'velocity', 'angle', 'angular velocity'), 500)
    """
    if name not in NAMES:
        raise ValueError(
            f"unknown environment {name!r}; there are {trees.listed(NAMES)}. To bring "
            "your own, pass an rl.Environment with a pure function "
            "step(state, action) -> (state, reward, terminated)"
        )
    limit = _LIMITS[name]
    return Environment(
        name=name,
        reset=cartpole.reset,
        step=cartpole.step,
        observe=cartpole.observe,
        inputs=("position", "velocity", "angle", "angular velocity"),
        units=("m", "m/s", "rad", "rad/s"),
        actions=("push left", "push right"),
        scale=tuple(1.0 / bound for bound in _CARTPOLE),
        limit=limit,
        target=float(limit),
        low=tuple(-bound for bound in _CARTPOLE),
        high=_CARTPOLE,
        gym_id=name,
    )


def check(environment: Environment) -> None:
    """Raise a `ValueError` if an environment's functions do not fit together.

    Example:
        >>> check(load("CartPole-v1"))
        >>> check(load("CartPole-v1")._replace(units=("m",)))
        Traceback (most recent call last):
            ...
        ValueError: CartPole-v1: units must have 4 entries, as inputs
    """
    name, inputs = environment.name, len(environment.inputs)
    for field in ("units", "scale", "low", "high"):
        if len(getattr(environment, field)) != inputs:
            raise ValueError(f"{name}: {field} must have {inputs} entries, as inputs")
    if environment.limit < 1 or len(environment.actions) < 2 or not inputs:
        raise ValueError(f"{name} needs a positive limit, an input and two actions")

    def ask(what, fn, *args):
        return _shapes(name, what, fn, *args)

    state = ask("reset", environment.reset, jax.random.key(0))
    seen = ask("observe", environment.observe, state)
    if getattr(seen, "shape", None) != (inputs,) or seen.dtype != jnp.float32:
        raise ValueError(
            f"{name}: observe must return float32 of shape ({inputs},), one for each "
            f"of inputs, not {_text(seen)}"
        )
    action = jax.ShapeDtypeStruct((), jnp.int32)
    result = ask("step", environment.step, state, action)
    if not isinstance(result, tuple) or len(result) != 3:
        raise ValueError(f"{name}: step must return (state, reward, terminated)")
    after, reward, terminated = result
    if jax.tree.map(_text, after) != jax.tree.map(_text, state):
        raise ValueError(f"{name}: step must return a state like that of reset")
    if reward.shape != () or not jnp.issubdtype(reward.dtype, jnp.floating):
        raise ValueError(f"{name}: reward must be one float, not {_text(reward)}")
    if terminated.shape != () or terminated.dtype != bool:
        raise ValueError(
            f"{name}: terminated must be one bool, not {_text(terminated)}"
        )


def _shapes(name, what, fn, *args):
    try:
        return jax.eval_shape(fn, *args)
    except Exception as error:
        first = str(error).strip().splitlines()
        raise ValueError(
            f"{name}: {what} cannot be traced by JAX: {first[0] if first else error!r}"
        ) from error


def _text(leaf) -> str:
    return f"{getattr(leaf, 'dtype', type(leaf).__name__)}{getattr(leaf, 'shape', '')}"
