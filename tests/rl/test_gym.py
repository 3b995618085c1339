"""Agents in gymnasium."""

import gymnasium
import numpy as np
import pytest

from sparsejax.rl import environments, gym

CART = environments.load("CartPole-v1")
WEIGHTS = np.array([0.1, 0.3, 3.0, 1.5])


def lean(seen):
    return seen @ WEIGHTS > 0


def sway(seen):
    return seen[:, 2] > 0


@pytest.mark.parametrize("name", environments.NAMES)
def test_a_balancing_policy_reaches_the_target(name):
    env = environments.load(name)
    np.testing.assert_array_equal(gym.evaluate(env, lean, episodes=20), env.target)


def test_every_episode_counts_to_its_first_end():
    """Against single environments that are started from the same states."""
    found = gym.evaluate(CART, sway, episodes=6, seed=5)
    envs = gymnasium.make_vec(
        "CartPole-v1", num_envs=6, vectorization_mode="vector_entry_point"
    )
    first, _ = envs.reset(seed=5)
    env = gymnasium.make("CartPole-v1").unwrapped
    for start, expected in zip(first.astype(np.float64), found, strict=True):
        env.reset()
        env.state = start
        seen, total, over = start, 0.0, False
        while not over:
            seen, reward, over, _, _ = env.step(int(seen[2] > 0))
            total += float(reward)
        assert total == expected


def test_the_same_seed_plays_the_same():
    runs = [gym.evaluate(CART, sway, episodes=8, seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_record_tells_ends_from_cuts():
    whole = gym.record(CART, lean, seed=1)
    assert whole.observations.shape == (501, 4)
    assert whole.truncated and not whole.terminated
    assert whole.actions.shape == whole.rewards.shape == (500,)
    fallen = gym.record(CART, sway, seed=1)
    assert fallen.terminated and not fallen.truncated
    assert len(fallen.observations) == len(fallen.actions) + 1 < 500


@pytest.mark.parametrize(
    "change, message",
    [
        ({"gym_id": None}, "rl.rollout.returns"),
        ({"gym_id": "Nowhere-v3"}, "no environment 'Nowhere-v3'"),
        ({"gym_id": "FrozenLake-v1"}, r"Discrete\(16\).*does not fit 4 inputs"),
        ({"gym_id": "Acrobot-v1"}, "does not fit 4 inputs"),
        (
            {"actions": ("left", "stay", "right")},
            r"does not fit 3 actions.*Discrete\(3",
        ),
    ],
)
@pytest.mark.parametrize("play", [gym.evaluate, gym.record])
def test_misfits_are_named(play, change, message):
    with pytest.raises(ValueError, match=message):
        play(CART._replace(**change), lean)
