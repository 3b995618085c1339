"""Whole episodes against a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.rl import environments, rollout

CART = environments.load("CartPole-v1")
WEIGHTS = jnp.array([0.1, 0.3, 3.0, 1.5])


def lean(observation):
    return (observation @ WEIGHTS > 0).astype(jnp.int32)


def sway(observation):
    return (observation[2] > 0).astype(jnp.int32)


@pytest.mark.slow
@pytest.mark.defaults
def test_equals_a_loop(getkey):
    key = getkey()
    found = jax.jit(lambda key: rollout.returns(CART, sway, key, 5))(key)
    for expected, first in zip(found, jax.random.split(jax.random.clone(key), 5)):
        state, total, over = CART.reset(first), 0, False
        while not over and total < CART.limit:
            state, reward, over = CART.step(state, sway(CART.observe(state)))
            total += int(reward)
        assert total == expected


def test_episodes_are_cut_off_at_the_limit(getkey):
    short = CART._replace(limit=37)
    found = rollout.returns(short, lean, getkey(), 4)
    np.testing.assert_array_equal(found, 37)


@pytest.mark.slow
def test_many_policies_at_once(getkey):
    weights = jnp.stack([WEIGHTS, jnp.array([0.0, 0.0, 1.0, 0.0])])

    def act(w):
        return lambda seen: (seen @ w > 0).astype(jnp.int32)

    def run(w, key):
        return rollout.returns(CART, act(w), key, 6)

    keys = jax.random.split(getkey(), 2)
    both = jax.vmap(run)(weights, keys)
    for w, key, expected in zip(weights, jax.random.clone(keys), both):
        np.testing.assert_array_equal(run(w, key), expected)
