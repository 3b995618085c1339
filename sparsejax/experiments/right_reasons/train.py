"""The networks of a run on training on relevance, all seeds stacked."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from sparsejax import data, models, relevance, train
from sparsejax.experiments._study.run import finite
from sparsejax.experiments.right_reasons.config import Config, Stage
from sparsejax.masks import Masks


def _squared(fn, params, x, region, label):
    return relevance.outside_squared(fn, params, x, region)


def _share(fn, params, x, region, label):
    return relevance.outside_share(fn, params, x, region, target=label)


def _target(fn, params, x, region, label):
    return relevance.outside_target(fn, params, x, region, target=label)


def _rrr(fn, params, x, region, label):
    return relevance.rrr(fn, params, x, region)


# penalty(fn, params, x, region, label), all one example's
PENALTIES = {"squared": _squared, "share": _share, "target": _target, "rrr": _rrr}


class Task(NamedTuple):
    """Data, model and keys of a run.

    Attributes:
        fn: `fn(params, x) -> logits`, x being flat.
        sets: images with their regions.
        params: initial parameters, stacked.
        keys: one for each seed.
        order: key of the order of the data.
        objectives: by loss, what `train.fit` minimizes.
        optimizer: Adam.
    """

    fn: Callable
    sets: data.Textures
    params: Any
    keys: Array
    order: Array
    objectives: Mapping[str, Callable]
    optimizer: optax.GradientTransformation


def task(config: Config) -> Task:
    """Data and initial networks, the same under every loss."""
    places, order = jax.random.split(jax.random.key(config.data_seed))
    sets = data.textures(places, jitter=config.jitter, contrast=config.contrast)
    model = models.mlp(config.widths, 10)
    keys = jax.vmap(jax.random.key)(jnp.array(config.seeds, jnp.uint32))

    def start(key):
        return model.init(jax.random.fold_in(key, 0), jnp.zeros(256))

    # `map`: XLA takes longer to compile the draws of many keys than to draw them.
    params = jax.jit(lambda keys: jax.lax.map(start, keys))(keys)
    # One object for each, so that `fit` compiles once for all strengths, and once for
    # all that have no penalty.
    plain = _objective(model.apply, None)
    objectives = {
        loss: _objective(model.apply, PENALTIES[loss]) if loss in PENALTIES else plain
        for loss in config.losses
    }
    adam = optax.adam(config.learning_rate)
    return Task(model.apply, sets, params, keys, order, objectives, adam)


def fit(config: Config, task: Task, stage: Stage) -> Any:
    """Train all networks under one loss.

    Returns:
        Their parameters, stacked.

    Raises:
        ValueError: if a loss is not finite.
    """
    loss, strength = stage
    split = task.sets.shuffled if loss == "oracle" else task.sets.train
    pair = np.stack([flat(split.x), flat(split.region)], axis=1)
    # The strength is a parameter that does not learn: another one compiles nothing.
    params = {"net": task.params, "strength": jnp.full(len(task.keys), strength)}
    with finite(f"{loss}, strength {strength}", "leave it out, or lower learning_rate"):
        state, _ = train.fit(
            _all_that_a_loss_needs,
            params,
            Masks(jax.tree.map(jnp.ones_like, params), {}),
            (pair, split.y),
            optimizer=task.optimizer,
            batch_size=config.batch_size,
            key=task.keys,
            loss=task.objectives[loss],
            steps=config.steps,
            data_key=task.order,
            trainable=_learns,
        )
    return state.params["net"]


def flat(images: np.ndarray) -> np.ndarray:
    """(n, 16, 16, 1) as float32 (n, 256)."""
    return np.asarray(images, np.float32).reshape(len(images), -1)


def _all_that_a_loss_needs(params, masks, pair):
    """What `fit` takes for outputs: a penalty needs the network and its input."""
    del masks
    return params, pair


def _learns(path, leaf) -> bool:
    del leaf
    return path != "strength"


def _objective(fn, penalty):
    """Cross entropy and a penalty, means over the batch."""

    def objective(needed, labels):
        params, pair = needed
        net, x = params["net"], pair[:, 0]
        cost = train.cross_entropy(fn(net, x), labels)
        if penalty is None:
            return cost
        each = jax.vmap(partial(penalty, fn), (None, 0, 0, 0))
        outside = each(net, x, pair[:, 1] > 0, labels)
        return cost + params["strength"] * outside.mean()

    return objective
