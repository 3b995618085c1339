"""The networks of all seeds and what is done to them, bound to their data.

Small networks train together, stacked in one compiled program; residual networks one
after the other, and are stacked between trainings. Either way everything that comes in
and out has a leading axis over seeds.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from sparsejax import lift, masks, meshes, models, prune, train, trees
from sparsejax.experiments.lottery import build
from sparsejax.experiments.lottery.config import Config, is_residual
from sparsejax.experiments.lottery.stacks import one_of, stacked
from sparsejax.experiments.lottery.tasks import Task
from sparsejax.masks import Masks
from sparsejax.train import State

_BATCH = 250  # test images at a time, of a residual network
_SNIP = 1000  # training images that weights are scored on


class Lab:
    """The functions of one run, compiled once each.

    Args:
        config: with everything filled in.
        task: its images.

    Attributes:
        steps: of one training.
        doing: what was finished last, for messages.

    Raises:
        ValueError: if a training has no step, or none after the rewind point.
    """

    def __init__(self, config: Config, task: Task):
        self.config, self.task, self.doing = config, task, "the start"
        self.together = not is_residual(config)
        self.model = build.model(config, task.outputs)
        count, size = len(task.training[1]), config.batch_size or 1
        self.steps = (config.epochs or 0) * (count // size)
        if not count // size:
            raise ValueError(
                f"batch_size {size} is larger than the {count} training images"
            )
        if not 0 <= (config.rewind_to or 0) < self.steps:
            raise ValueError(
                f"rewind_to must be in [0, {self.steps}), the steps of a training, "
                f"got {config.rewind_to}"
            )
        self.optimizer = build.optimizer(config, self.steps)
        self.keys, (_, self.training_keys) = build.seed_keys(config), build.keys(config)
        self.orders = _orders(config, self.keys, self.training_keys)
        self.how: dict[str, Any] = {}
        if self.together:
            self.apply = lift.masked(self.model.apply)
            self.training, self.test = map(self._flat, (task.training, task.test))
        else:
            self.apply = lift.masked(self.model.train_apply)
            self.training, self.test = task.training, task.test
            self.how = {"trainable": models.is_trainable, "stateful": True}
        self.init = jax.jit(jax.vmap(self._init_one))
        self.draw = {
            "random_global": jax.jit(jax.vmap(_anywhere)),
            "random_layerwise": jax.jit(jax.vmap(prune.shuffle)),
        }

    def start(self) -> tuple[State, PyTree]:
        """The states before training and the masks that keep everything."""
        mask = build.prunable(self.config, self.task.shape, self.task.outputs)

        def stack(leaf):
            return jnp.broadcast_to(leaf, (len(self.keys), *leaf.shape))

        params = self.fresh(build.keys(self.config)[0])
        state = train.init(
            params, self.optimizer, self.training_keys, self.how.get("trainable")
        )
        return state, jax.tree.map(stack, mask)

    def fresh(self, keys: Key[Array, " seeds"]) -> PyTree:
        """Newly initialised parameters."""
        if self.together:
            return self.init(keys)
        return stacked([self._init_one(key) for key in keys])

    def control(self, arm: str, level: int, mask: PyTree) -> tuple[PyTree, PyTree]:
        """The mask of a control at a level, and parameters if it has its own."""
        if arm == "reinit":
            return mask, self.fresh(build.fold(self.keys, 1000 + level))
        keys = build.fold(self.keys, 2000 + level)
        if arm == "random_layerwise" and self.together:
            keys = build.fold(self.keys, 3000 + level)
        elif arm == "random_layerwise":
            keys = build.fold(build.fold(self.keys, 3), level)
        return self.draw[arm](keys, mask), None

    def train(
        self, state: State, mask: PyTree, stop: int | None = None, order: int = 0
    ) -> State:
        """Train all seeds to step `stop`, or to the end, on data in either order."""
        stop = self.steps if stop is None else stop
        data_key = self.orders[order]
        if self.together:
            return self._fit(state, mask, stop, data_key, self.config.seeds)

        def one(i):
            keys = one_of(data_key, i) if data_key.ndim else data_key
            seed = self.config.seeds[i : i + 1]
            return self._fit(one_of(state, i), one_of(mask, i), stop, keys, seed)

        return stacked([one(i) for i in range(len(self.keys))])

    def score(self, state: State) -> PyTree:
        """The score of one network's weights."""
        if self.config.score == "magnitude":
            return prune.magnitude(state.params)
        if self.config.score == "random":
            return prune.random(build.fold(state.key, 2), state.params)
        x, y = (jnp.asarray(array[:_SNIP]) for array in self.training)

        def loss(params):
            return self.task.loss(self.model.apply(params, x), y)

        return prune.snip(state.params, jax.grad(loss)(state.params))

    def evaluate(self, params: PyTree, mask: PyTree) -> list[tuple[float, float]]:
        """Test accuracy and loss of every seed."""
        if self.together:
            keep = Masks(mask, {})
            means = train.evaluate(self.apply, params, keep, self.test, stacked=True)
            return list(zip(means["accuracy"].tolist(), means["loss"].tolist()))
        return [self._evaluate_one(one_of(params, i)) for i in range(len(self.keys))]

    def barrier(self, a: PyTree, b: PyTree, mask: PyTree) -> list[float]:
        """Height of the test-error barrier between two networks of every seed."""
        if self.together:
            heights = _barriers(self.apply)
            return heights(a, b, Masks(mask, {}), self.test).tolist()
        x, y = self.test
        x, y = jnp.asarray(x[np.arange(len(x))]), jnp.asarray(y)
        functions = self.model.apply, self.task.accuracy
        return [
            float(_barrier(functions, one_of(a, i), one_of(b, i), x, y))
            for i in range(len(self.keys))
        ]

    def _init_one(self, key: Key[Array, ""]) -> PyTree:
        return self.model.init(key, self.training[0][0])

    def _fit(self, state, mask, stop, data_key, seeds) -> State:
        try:
            state, _ = train.fit(
                self.apply,
                state.params,
                Masks(mask, {}),
                self.training,
                optimizer=self.optimizer,
                batch_size=self.config.batch_size,
                key=state.key,
                loss=self.task.loss,
                steps=stop,
                data_key=data_key,
                state=state,
                **self.how,
            )
        except train.NotFinite as error:
            bad = trees.listed([seeds[i] for i in error.networks or (0,)])
            raise ValueError(
                f"the loss of seed {bad} is not finite at step {error.step} "
                f"(after {self.doing}); finished levels are kept; lower learning_rate "
                "or leave the seed out"
            ) from error
        return state

    def _evaluate_one(self, params) -> tuple[float, float]:
        x, y = self.test
        rows = range(0, len(x), _BATCH)
        parts = [_logits(self.model.apply, params, x[i : i + _BATCH]) for i in rows]
        logits = np.concatenate(parts)
        loss = self.task.loss(jnp.asarray(logits), jnp.asarray(y))
        return float(self.task.accuracy(logits, np.asarray(y))), float(loss)

    def _flat(self, split) -> tuple[Array, Array]:
        """Images as the network takes them, and labels, on the device."""
        x, y = split
        shape = build.input_shape(self.config, self.task.shape)
        return jnp.asarray(x.reshape(len(x), *shape)), jnp.asarray(y)


def _orders(config: Config, keys, training_keys) -> list[Key[Array, "..."]]:
    """Two orders of the data, the second for the barrier."""
    if config.share_data_order or not is_residual(config):
        shared = jax.random.key(config.data_seed)
        base = shared if config.share_data_order else keys
        return [build.fold(base, 100), build.fold(base, 101)]
    return [training_keys, build.fold(training_keys, 101)]


def _anywhere(key, mask):
    return masks.fixed_size(key, mask, masks.count(mask))


@cache
def _barriers(apply) -> Callable[..., Array]:
    """Height of the test-error barrier between stacked networks, as a function."""

    def one(a, b, keep, test):
        def error(params):
            return 1 - train.evaluate(apply, params, keep, test)["accuracy"]

        return prune.barrier(error, a, b).height

    axes = 0, 0, 0, None
    return meshes.spread(jax.vmap(one, axes), axes)


@partial(jax.jit, static_argnums=0)
def _barrier(functions: tuple[Callable, Callable], a, b, x, y):
    """The same between two networks."""
    apply, accuracy = functions

    def error(params):
        logits = jax.lax.map(partial(apply, params), x, batch_size=_BATCH)
        return 1 - accuracy(logits, y)

    return prune.barrier(error, a, b).height


@partial(jax.jit, static_argnums=0)
def _logits(apply, params, x):
    return apply(params, x)
