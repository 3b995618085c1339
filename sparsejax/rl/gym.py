"""Agents in gymnasium, the environments that everybody uses."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from jaxtyping import Float, Int

from sparsejax.rl.environments import Environment

__all__ = [
    "Act",
    "Episode",
    "evaluate",
    "record",
]


def __dir__() -> list[str]:
    return list(__all__)


# act(observations (n, inputs)) -> actions (n,)
Act = Callable[[np.ndarray], np.ndarray]


class Episode(NamedTuple):
    """One episode, step by step.

    Attributes:
        observations: the first one, and the one after every step.
        actions: what was done.
        rewards: what it brought.
        terminated: whether the environment ended it.
        truncated: whether it was cut off by the limit of steps.
    """

    observations: Float[np.ndarray, "steps_and_one inputs"]
    actions: Int[np.ndarray, " steps"]
    rewards: Float[np.ndarray, " steps"]
    terminated: bool
    truncated: bool


def evaluate(
    environment: Environment, act: Act, *, episodes: int = 100, seed: int = 0
) -> Float[np.ndarray, " episodes"]:
    """Returns of episodes in gymnasium, played side by side.

    Args:
        environment: its `gym_id` is played.
        act: `act(observations (episodes, inputs)) -> actions (episodes,)`; row i is
            episode i throughout.
        episodes: how many.
        seed: of the first states.

    Raises:
        ValueError: if gymnasium has no such environment, or its spaces do not fit.

    Example:
        >>> from sparsejax.rl import environments
        >>> always_left = lambda observations: np.zeros(len(observations), int)
        >>> environment = environments.load("CartPole-v1")
        >>> returns = evaluate(environment, always_left, episodes=4)
        >>> returns.shape, bool(returns.max() < 15)  # the pole falls
        ((4,), True)
    """
    envs = _make(environment, episodes)
    try:
        seen, _ = envs.reset(seed=seed)
        total, alive = np.zeros(episodes), np.ones(episodes, bool)
        for _ in range(environment.limit):
            actions = np.asarray(act(np.asarray(seen, np.float32)), np.int64)
            seen, reward, terminated, truncated, _ = envs.step(actions)
            total += np.where(alive, reward, 0.0)
            alive &= ~(terminated | truncated)
            if not alive.any():
                break
    finally:
        envs.close()
    return total


def record(environment: Environment, act: Act, *, seed: int = 0) -> Episode:
    """One episode in gymnasium, from its first state to its end.

    Example:
        >>> from sparsejax.rl import environments
        >>> always_left = lambda observations: np.zeros(len(observations), int)
        >>> episode = record(environments.load("CartPole-v1"), always_left)
        >>> episode.terminated, len(episode.observations) - len(episode.rewards)
        (True, 1)
    """
    with _quiet():
        env = gymnasium.make(_known(environment))
    try:
        _check(environment, env.observation_space, env.action_space)
        seen, _ = env.reset(seed=seed)
        observations, actions, rewards = [seen], [], []
        terminated = truncated = False
        while not (terminated or truncated):
            action = int(np.asarray(act(np.asarray(seen, np.float32)[None]))[0])
            seen, reward, terminated, truncated, _ = env.step(action)
            observations.append(seen)
            actions.append(action)
            rewards.append(float(reward))
    finally:
        env.close()
    stacked = np.asarray(observations, np.float32)
    return Episode(
        stacked, np.asarray(actions), np.asarray(rewards), bool(terminated),
        bool(truncated),
    )  # fmt: skip


def _make(environment: Environment, count: int) -> Any:
    """Several copies, in NumPy where gymnasium has such a version."""
    name = _known(environment)
    arrays = gymnasium.spec(name).vector_entry_point is not None
    mode = "vector_entry_point" if arrays else "sync"
    with _quiet():
        envs = gymnasium.make_vec(name, num_envs=count, vectorization_mode=mode)
    space, actions = envs.single_observation_space, envs.single_action_space
    _check(environment, space, actions)
    return envs


def _known(environment: Environment) -> str:
    name = environment.gym_id
    if name is None or name not in gymnasium.registry:
        raise ValueError(
            f"{environment.name}: gymnasium has no environment {name!r}; register it "
            "there, or evaluate with rl.rollout.returns"
        )
    return name


def _check(environment: Environment, space, actions) -> None:
    name, inputs = environment.gym_id, len(environment.inputs)
    if not isinstance(space, gymnasium.spaces.Box) or space.shape != (inputs,):
        raise ValueError(
            f"{name}: observations in gymnasium are {space}, which does not fit "
            f"{inputs} inputs ({', '.join(environment.inputs)}): a Box of shape "
            f"({inputs},) is needed"
        )
    count = len(environment.actions)
    if not isinstance(actions, gymnasium.spaces.Discrete) or actions.n != count:
        raise ValueError(
            f"{name}: actions in gymnasium are {actions}, which does not fit {count} "
            f"actions ({', '.join(environment.actions)}): Discrete({count}) is needed"
        )


def _quiet() -> warnings.catch_warnings:
    """Without the warning that there is a newer version."""
    caught = warnings.catch_warnings(action="ignore", category=DeprecationWarning)
    return caught
