"""CartPole against gymnasium's, in lockstep."""

import warnings
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.rl import cartpole, environments, gym


@pytest.mark.slow
@pytest.mark.parametrize("name", environments.NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_gymnasium_over_random_steps(name, dtype, rng):
    """10,000 steps, each from gymnasium's own state in float32, in float64 from ours.

    The state is not stable: over an episode it multiplies rounding errors, in float32
    up to some 1e-5.
    """
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        env: Any = gymnasium.make(name)
    with jax.enable_x64(dtype == np.float64):
        limit, step = environments.load(name).limit, jax.jit(cartpole.step)

        def put(seen):
            return cartpole.State(*jnp.asarray(seen, dtype))

        env.reset(seed=3)
        state, time, errors, ends = put(env.unwrapped.state), 0, [], 0
        for _ in range(10_000):
            if dtype == np.float32:
                state = put(env.unwrapped.state)
            action = int(rng.integers(2))
            _, reward, terminated, truncated, _ = env.step(action)
            state, ours, ended = step(state, jnp.int32(action))
            seen, time = np.asarray(env.unwrapped.state), time + 1
            errors.append(np.abs(np.asarray(state) - seen).max())
            assert (float(ours), bool(ended), time >= limit) == (
                reward, terminated, truncated,
            )  # fmt: skip
            if terminated or truncated:
                env.reset()
                state, time, ends = put(env.unwrapped.state), 0, ends + 1
    assert ends > 100
    assert max(errors) < 1e-5


@pytest.mark.parametrize("name", environments.NAMES)
def test_time_is_up_as_in_gymnasium(name):
    env = environments.load(name)

    def lean(seen):
        return seen @ np.array([0.1, 0.3, 3.0, 1.5]) > 0

    episode = gym.record(env, lean, seed=2)
    assert episode.truncated and not episode.terminated
    assert len(episode.actions) == env.limit
    state = cartpole.State(*jnp.asarray(episode.observations[0]))
    for action, seen in zip(episode.actions, episode.observations[1:], strict=True):
        state, _, ended = jax.jit(cartpole.step)(state, jnp.int32(action))
        assert not ended
        np.testing.assert_allclose(cartpole.observe(state), seen, atol=1e-5)
        state = cartpole.State(*jnp.asarray(seen))


def test_first_states_are_uniform(getkey):
    keys = jax.random.split(getkey(), 2000)
    first = jax.vmap(lambda key: cartpole.observe(cartpole.reset(key)))(keys)
    assert first.shape == (2000, 4)
    assert float(jnp.abs(first).max()) <= 0.05
    np.testing.assert_allclose(first.mean(0), 0, atol=0.003)
    np.testing.assert_allclose(first.std(0), 0.05 / 3**0.5, atol=0.002)
