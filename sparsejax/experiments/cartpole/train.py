"""Stacked agents, trained together; the settings of their training."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from sparsejax.experiments.cartpole.config import BLOCK, EVALUATIONS, Config
from sparsejax.rl import dqn, environments
from sparsejax.rl.environments import Environment


def environment(config: Config) -> Environment:
    """Where the agents act."""
    return environments.load(config.environment)


def settings(config: Config, again: bool = False) -> dqn.Config:
    """Of the training; `again` in lottery rounds, with fewer evaluations."""
    whole = dqn.Config(
        environment=config.environment,
        widths=config.widths,
        steps=config.steps,
        block=BLOCK,
        learning_rate=config.learning_rate,
        evaluations=EVALUATIONS,
    )
    small = dataclasses.replace(whole, evaluations=EVALUATIONS // 2, episodes=128)
    return small if again else whole


def init(config: Config) -> PyTree:
    """Parameters of every agent before training."""
    whole = settings(config)
    return jax.vmap(lambda key: dqn.init(whole, key))(_keys(config, 0))


def trainer(config: Config, again: bool) -> Callable[[int], Callable[[Any], Any]]:
    """`of(round)(mask) -> Trained`, every agent from its own initial parameters."""
    params = init(config)

    def of(number):
        keys = _keys(config, number + 2)
        return lambda mask: dqn.train(settings(config, again), keys, params, mask)

    return of


def _keys(config: Config, use: int):
    """A key of every agent."""

    def own(seed):
        return jax.random.fold_in(jax.random.key(seed), use)

    return jax.vmap(own)(jnp.asarray(config.seeds))
