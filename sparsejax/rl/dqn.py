"""Deep Q-learning, the whole training one pure function.

Blocks of steps in the environment and of gradient steps alternate; within a block the
policy stands still, so that a block's random numbers are drawn at once and its steps
are written to the replay buffer at once. Double Q-learning, a target network, squared
errors (the usual Huber loss learned far worse here), observations scaled by the
environment's `scale`, and the best evaluated parameters kept: returns go up and down
again after they have first been perfect.

References:
    Mnih et al., "Human-level control through deep reinforcement learning", 2015.
    van Hasselt, Guez, Silver, "Deep Reinforcement Learning with Double Q-learning",
    2015, arXiv:1509.06461.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key, PyTree

from sparsejax import checks, masks, meshes
from sparsejax.rl import rollout
from sparsejax.rl._agent import Config, check, environment, init, model, values
from sparsejax.rl.environments import Environment

__all__ = [
    "Config",
    "Trained",
    "check",
    "environment",
    "init",
    "make_train",
    "model",
    "train",
    "values",
]


def __dir__() -> list[str]:
    return list(__all__)


class Trained(NamedTuple):
    """What a training leaves.

    Attributes:
        params: the best that were evaluated; of equals the one that is better in
            episodes of twice the limit, then the latest.
        final: those at the end.
        best_return: mean return of the best.
        best_step: when that was.
        steps: in the environment, at every evaluation.
        returns: mean greedy return at every evaluation.
        losses: mean loss of every block; 0 during the warm-up.
    """

    params: PyTree
    final: PyTree
    best_return: Float[Array, ""]
    best_step: Int[Array, ""]
    steps: Int[Array, " evaluations"]
    returns: Float[Array, " evaluations"]
    losses: Float[Array, " blocks"]


class _Batch(NamedTuple):
    """Transitions; `after` is the observation before any reset."""

    before: Array
    action: Array
    reward: Array
    after: Array
    terminated: Array


class _Agent(NamedTuple):
    params: PyTree
    target: PyTree
    opt_state: PyTree


class _Actor(NamedTuple):
    """An episode under way."""

    state: PyTree
    time: Array


def make_train(config: Config) -> Callable[..., Trained]:
    """The training, `train(key, params=None, mask=None) -> Trained`.

    `train` is pure: `jit` it, `vmap` it over keys, parameters and masks. Without
    parameters it begins with new ones; `mask` is a tree like `Masks.weights`, and
    removed weights are exactly zero in parameters, gradients and the optimizer's state
    from the first step to the last.

    Raises:
        ValueError: for a config that cannot be trained.

    Example:
        Agents of eight seeds in one compiled program:

            train = jax.jit(jax.vmap(make_train(Config())))
            trained = train(jax.random.split(jax.random.key(0), 8))
            trained.best_return.shape  # (8,)
    """
    check(config)
    env, q = environment(config), values(config)
    optimizer = optax.chain(
        optax.clip_by_global_norm(10.0), optax.adam(config.learning_rate)
    )
    blocks = config.steps // config.block
    every = blocks // config.evaluations

    def play(params, actor: _Actor, key, at) -> tuple[_Actor, _Batch]:
        """One block of steps, epsilon-greedy."""
        keys = jax.random.split(key, 3)
        count = len(env.actions)
        random = jax.random.randint(keys[0], (config.block,), 0, count, jnp.int32)
        explore = jax.random.uniform(keys[1], (config.block,)) < _epsilon(config, at)
        fresh = jax.vmap(env.reset)(jax.random.split(keys[2], config.block))

        def move(actor, given):
            random, explore, fresh = given
            seen = env.observe(actor.state)
            greedy = jnp.argmax(q(params, seen)).astype(jnp.int32)
            action = jnp.where(explore, random, greedy)
            after, reward, terminated = env.step(actor.state, action)
            time = actor.time + 1
            over = terminated | (time >= env.limit)
            made = _Batch(seen, action, reward, env.observe(after), terminated)

            def pick(new, old):
                return jnp.where(over, new, old)

            state = jax.tree.map(pick, fresh, after)
            return _Actor(state, jnp.where(over, 0, time)), made

        return jax.lax.scan(move, actor, (random, explore, fresh))

    def loss(params, target, batch: _Batch):
        rows = jnp.arange(config.batch_size)
        ahead = q(target, batch.after)
        chooser = q(params, batch.after) if config.double else ahead
        best = ahead[rows, jnp.argmax(chooser, axis=-1)]
        goal = batch.reward + config.discount * jnp.where(batch.terminated, 0.0, best)
        error = q(params, batch.before)[rows, batch.action] - goal
        return jnp.mean(error**2)

    def learn(agent: _Agent, replay: _Batch, key, filled, mask) -> tuple[_Agent, Array]:
        """One block of gradient steps; the target network stands still."""
        shape = config.updates, config.batch_size
        rows = jax.random.randint(key, shape, 0, filled)

        def update(carry, rows):
            params, opt_state = carry
            batch = _Batch(*(part[rows] for part in replay))
            value, grads = jax.value_and_grad(loss)(params, agent.target, batch)
            with jax.numpy_dtype_promotion("standard"):  # optax counts on it
                grads = masks.zero(grads, mask)
                steps, opt_state = optimizer.update(grads, opt_state, params)
                params = optax.apply_updates(params, steps)
            return (params, opt_state), value

        carry, found = jax.lax.scan(update, (agent.params, agent.opt_state), rows)
        params, opt_state = carry
        return _Agent(params, params, opt_state), found.mean()

    def train(
        key: Key[Array, ""] | Any, params: PyTree = None, mask: PyTree = None
    ) -> Trained:
        checks.one_key(key)
        init_key, reset_key, block_key, test_key = jax.random.split(key, 4)
        start = init(config, init_key) if params is None else params
        if mask is None:
            mask = jax.tree.map(lambda leaf: jnp.ones((), leaf.dtype), start)
        masks.check(start, mask)
        start = masks.zero(start, mask)
        agent = _Agent(start, start, optimizer.init(start))

        def block(carry, at):
            agent, actor, replay = carry
            key = jax.random.fold_in(block_key, at)
            play_key, learn_key = jax.random.split(key)
            actor, made = play(agent.params, actor, play_key, at * config.block)

            def write(whole, part):
                return jax.lax.dynamic_update_slice_in_dim(
                    whole, part, at * config.block, axis=0
                )

            replay = _Batch(*map(write, replay, made))
            filled = (at + 1) * config.block
            agent, value = jax.lax.cond(
                filled > config.warmup,
                lambda: learn(agent, replay, learn_key, filled, mask),
                lambda: (agent, jnp.zeros(())),
            )
            return (agent, actor, replay), value

        def stage(carry, at):
            """Some blocks, then an evaluation."""
            training, best = carry
            training, found = jax.lax.scan(block, training, at)
            params = training[0].params

            def act(seen):
                return jnp.argmax(q(params, seen)).astype(jnp.int32)

            step = (at[-1] + 1) * config.block
            limits = env.limit, 2 * env.limit
            score, longer = rollout.returns_within(
                env, act, jax.random.fold_in(test_key, step), config.episodes, limits
            ).sum(axis=1)  # sums of whole rewards are exact
            same = (score == best[1]) & (longer >= best[2])

            def keep(new, old):
                return jnp.where((score > best[1]) | same, new, old)

            best = jax.tree.map(keep, (params, score, longer, step), best)
            return (training, best), (step, score, found)

        at = jnp.arange(blocks, dtype=jnp.int32).reshape(-1, every)
        actor = _Actor(env.reset(reset_key), jnp.int32(0))
        worst = jnp.float32(-jnp.inf)
        best = (start, worst, worst, jnp.int32(0))
        first = ((agent, actor, _empty(config, env)), best)
        (training, best), (steps, scores, found) = jax.lax.scan(stage, first, at)
        return Trained(
            best[0], training[0].params, best[1] / config.episodes, best[3], steps,
            scores / config.episodes, found.reshape(-1),
        )  # fmt: skip

    return train


@meshes.on_mesh
def train(
    config: Config,
    keys: Key[Array, " seeds"] | Any,
    params: PyTree = None,
    mask: PyTree = None,
    *,
    mesh: Mesh | Any = None,
) -> Trained:
    """Agents of many seeds, each trained by itself as `make_train` says.

    Args:
        config: what to train, and how.
        keys: one for each agent, shape (seeds,).
        params: initial parameters, with a leading axis over seeds; by default new ones.
        mask: trees like `Masks.weights`, with a leading axis over seeds.
        mesh: devices that the seeds are split over, by default those of `jax.set_mesh`.

    Returns:
        `Trained`, every array with a leading axis over seeds.

    Raises:
        ValueError: for a config that cannot be trained, or keys that are not stacked.

    Example:
        Agents of eight seeds, in a minute or so:

            trained = train(Config(), jax.random.split(jax.random.key(0), 8))
            trained.best_return.shape  # (8,)
    """
    check(config)
    checks.key(keys, "keys")
    if keys.ndim != 1:
        raise ValueError(f"keys have shape {keys.shape}; expected (seeds,)")
    with meshes.over(mesh):
        return _train(config, *meshes.put((keys, params, mask)))


@partial(jax.jit, static_argnums=0)
def _train(config, keys, params, mask):
    return meshes.split(jax.vmap(make_train(config)))(keys, params, mask)


def _epsilon(config: Config, at) -> Float[Array, " block"]:
    """Share of random actions at every step of a block."""
    span = max(config.exploration * config.steps, 1.0)
    done = (at + jnp.arange(config.block, dtype=jnp.int32)).astype(jnp.float32) / span
    return jnp.maximum(config.epsilon, 1 - (1 - config.epsilon) * done)


def _empty(config: Config, env: Environment) -> Any:
    """A replay buffer that holds every step of a training."""
    seen = jnp.zeros((config.steps, len(env.inputs)))
    reward = jnp.zeros(config.steps)
    return _Batch(seen, jnp.zeros(config.steps, jnp.int32), reward, seen, reward > 0)
