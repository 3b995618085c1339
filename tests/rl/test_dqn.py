"""Deep Q-learning: masks, keys, an environment of one's own, and that it learns."""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from sparsejax import masks, models, trees
from sparsejax.rl import dqn, gym
from sparsejax.rl.environments import Environment

pytestmark = pytest.mark.slow

SMALL = dqn.Config(
    widths=(8, 8), steps=2048, block=128, updates=16, warmup=200, evaluations=4,
    episodes=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def train():
    return jax.jit(dqn.make_train(SMALL))


def _equal(a, b) -> bool:
    same = jax.tree.map(lambda p, q: bool((np.asarray(p) == np.asarray(q)).all()), a, b)
    return all(jax.tree.leaves(same))


def test_keys_make_agents(train):
    one, again, other = (train(jax.random.key(seed)) for seed in (1, 1, 2))
    assert _equal(one, again)
    assert not _equal(one.params, other.params)
    assert not _equal(one.losses, other.losses)


def test_results_have_one_entry_for_each_evaluation(train):
    found = train(jax.random.key(3))
    np.testing.assert_array_equal(found.steps, [512, 1024, 1536, 2048])
    assert found.returns.shape == (4,) and found.losses.shape == (16,)
    assert found.best_return == found.returns.max()
    best = int(np.flatnonzero(found.steps == found.best_step)[0])
    assert found.returns[best] == found.best_return
    assert found.losses[0] == 0 and (found.losses[2:] > 0).all()
    assert _equal(found.params, found.final) == (best == 3)


def test_many_seeds_at_once(train):
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    both = jax.jit(jax.vmap(dqn.make_train(SMALL)))(keys)
    for seed in range(2):
        alone = train(jax.random.key(seed))
        np.testing.assert_allclose(both.losses[seed][:4], alone.losses[:4], rtol=1e-4)


@pytest.mark.defaults
def test_removed_weights_stay_zero(getkey):
    params = dqn.init(SMALL, getkey())
    keep = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), params)
    kernels = {name: layer["kernel"] for name, layer in keep.items()}
    drawn = masks.bernoulli(getkey(), kernels, 0.4)
    mask = {name: {"kernel": drawn[name], "bias": jnp.ones(())} for name in keep}
    found = jax.jit(dqn.make_train(SMALL))(getkey(), params, mask)
    for tree in (found.params, found.final):
        for path, leaf in trees.by_path(tree).items():
            kept = np.broadcast_to(trees.by_path(mask)[path], leaf.shape)
            assert (np.asarray(leaf)[kept == 0] == 0).all()
    trained = found.final["dense_0"]["kernel"]
    assert (trained != params["dense_0"]["kernel"] * mask["dense_0"]["kernel"]).any()


def test_masks_that_do_not_fit_are_named(train, getkey):
    with pytest.raises(ValueError, match="dense_0/kernel"):
        mask = dqn.init(SMALL, getkey())
        mask["dense_0"]["kernel"] = jnp.ones((3, 3))
        train(getkey(), dqn.init(SMALL, getkey()), mask)


def test_values_take_raw_observations(getkey, rng):
    params = dqn.init(SMALL, getkey())
    seen = rng.standard_normal((7, 4)).astype(np.float32)
    scaled = seen * np.array([1 / 2.4, 1 / 3, 1 / np.radians(12), 1 / 3], np.float32)
    expected = models.mlp((8, 8), 2).apply(params, scaled)
    np.testing.assert_allclose(dqn.values(SMALL)(params, seen), expected, rtol=1e-5)


class Walk(NamedTuple):
    """A walk to the right end of a line of ten places."""

    place: Array
    time: Array


def _walk() -> Environment:
    def step(state, action):
        place = jnp.clip(state.place + action.astype(jnp.float32) - 1, 0, 9)
        ended = place == 9
        return Walk(place, state.time + 1), jnp.where(ended, 1.0, 0.0), ended

    return Environment(
        name="walk",
        reset=lambda key: Walk(jnp.floor(9 * jax.random.uniform(key)), jnp.zeros(())),
        step=step,
        observe=lambda state: jnp.stack([state.place, state.time]),
        inputs=("place", "time"),
        units=("", ""),
        actions=("left", "stay", "right"),
        scale=(0.1, 0.05),
        limit=12,
        target=1.0,
        low=(0.0, 0.0),
        high=(9.0, 12.0),
    )


def test_an_environment_of_ones_own(getkey):
    config = dataclasses.replace(SMALL, environment=_walk(), updates=64, steps=4096)
    found = jax.jit(dqn.make_train(config))(getkey())
    assert found.best_return == 1.0
    assert dqn.model(config).apply(found.params, jnp.zeros(2)).shape == (3,)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"environment": "Pong"}, "unknown environment"),
        ({"steps": 1000}, "multiple of block x evaluations"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"discount": 1.5}, "discount must be in"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"widths": (0,)}, "widths must be positive"),
    ],
)
def test_bad_configs_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dqn.make_train(dataclasses.replace(SMALL, **change))


def oracle(config, found, block, before):
    """One block of gradient steps in NumPy is too much; one of exploration is not."""
    share = [max(config.epsilon, 1 - (1 - config.epsilon) * t / found) for t in before]
    return np.array(share[:block])


def test_exploration_falls_from_one():
    config = dqn.Config()
    span = config.exploration * config.steps
    for block in (0, 7, 31, 40, 199):
        at = np.arange(block * 256, block * 256 + 256)
        expected = oracle(config, span, 256, at)
        found = dqn._epsilon(config, jnp.int32(block * 256))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_every_seed_reaches_the_target():
    config = dqn.Config()
    keys = jax.vmap(jax.random.key)(jnp.arange(16))
    found = jax.jit(jax.vmap(dqn.make_train(config)))(keys)
    q = jax.jit(jax.vmap(partial(dqn.values(config))))

    def act(seen):
        values = q(found.params, seen.reshape(16, 100, 4))
        return np.asarray(values).argmax(-1).reshape(-1)

    env = dqn.environment(config)
    returns = gym.evaluate(env, act, episodes=1600).reshape(16, 100)
    np.testing.assert_array_equal(returns, 500)
