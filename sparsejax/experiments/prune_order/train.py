"""The networks of a run on the order of training and pruning, all seeds stacked.

trained       the whole network, trained
train_prune   the same with a part removed
prune_train   that part removed from the initial network, the rest trained
tuned         train_prune, trained again
"""

import functools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from sparsejax import data, lift, masks, models, prune, train, trees
from sparsejax.experiments._study.run import finite
from sparsejax.experiments.prune_order import config as config_
from sparsejax.experiments.prune_order.config import Config
from sparsejax.masks import Masks

Pair = tuple[Array, Array]  # inputs and labels
_TILED = 2**22  # numbers in the copies of the data that one compiled call goes through


class Task(NamedTuple):
    """Data, model and keys of a run.

    Attributes:
        fn: `fn(params, x) -> logits`, hidden activations named.
        apply: `fn` with masks.
        training: `(x, y)`.
        test: `(x, y)`.
        batches: what `train.fit` takes examples from, in batches of `batch_size`.
        batch_size: see `batches`.
        params: initial parameters, stacked.
        keys: one for each seed.
        order: key of the order of the data.
    """

    fn: Callable
    apply: Callable
    training: Pair
    test: Pair
    batches: Pair
    batch_size: int
    params: Any
    keys: Array
    order: Array


def load(config: Config, data_dir: str | Path | None = None) -> tuple[Pair, Pair]:
    """Training and test data.

    Raises:
        ValueError: for data that are missing or fewer than a batch.
    """
    training, test = _data(config, _keys(config)[0], data_dir)
    size = config_.batch_size(config)
    if size > len(training[0]):
        raise ValueError(
            f"batch_size {size} is larger than the {len(training[0])} examples"
        )
    return training, test


def task(config: Config, data_dir: str | Path | None = None) -> Task:
    """Data, model and initial networks (Glorot uniform kernels, biases zero).

    Raises:
        ValueError: as of `load`.
    """
    training, test = load(config, data_dir)
    size, order = config_.batch_size(config), _keys(config)[1]
    batches = training if size else _all_at_once(*training)
    toy = config.dataset == "spiral"
    model = models.mlp(config_.widths(config), 1 if toy else 10)
    fn = partial(_two_logits, model.apply) if toy else model.apply
    keys = jax.vmap(jax.random.key)(jnp.array(config.seeds, jnp.uint32))
    shapes = jax.eval_shape(model.init, jax.random.key(0), training[0][:1])
    params = jax.vmap(partial(_initial, shapes))(keys)
    apply = lift.masked(fn)
    return Task(fn, apply, training, test, batches, size or 1, params, keys, order)


def fit(
    task: Task, rate: float, params: Any, kept: Any, steps: int, *, frames: int = 0
) -> tuple[Any, dict[str, np.ndarray]]:
    """Train all networks.

    Args:
        task: data and model.
        rate: learning rate of Adam.
        params: parameters to start with, stacked.
        kept: masks of the weights, stacked.
        steps: number of steps.
        frames: number of states of the first network to keep.

    Returns:
        Trained parameters; and, if `frames`, those of the first network at `step`
        (evenly spaced in log time), arrays under their paths.

    Raises:
        ValueError: if a loss is not finite.
    """
    optimizer = _adam(rate)
    stops = _stops(steps, frames) if frames else [steps]
    state = train.init(params, optimizer, task.keys)
    film = []
    for stop in stops:
        with finite(f"learning rate {rate}", "leave the rate out"):
            state, _ = train.fit(
                task.apply,
                params,
                Masks(kept, {}),
                task.batches,
                optimizer=optimizer,
                batch_size=task.batch_size,
                key=task.keys,
                loss=_cross_entropy,
                data_key=task.order,
                steps=stop,
                state=state,
            )
        film.append(jax.tree.map(lambda leaf: np.asarray(leaf[0]), state.params))
    if not frames:
        return state.params, {}
    pictures = jax.tree.map(lambda *shots: np.stack(shots), *film)
    return state.params, {"step": np.array(stops), **pictures}


def select(config: Config, task: Task, selection: str, trained: Any) -> tuple[Any, Any]:
    """What to keep: masks of nodes (none where weights go), and of weights, stacked.

    Args:
        config: choices of the run.
        task: data and model.
        selection: "random", "std" or "magnitude".
        trained: trained parameters, stacked.
    """
    one = jax.tree.map(lambda leaf: leaf[0], trained)
    ones = masks.ones(task.fn, one, task.training[0][:1])
    whole = ones.nodes if config.remove == "nodes" else ones.weights

    def score(key, params, x):
        if selection == "random":
            return prune.random(jax.random.fold_in(key, 1), whole)
        if selection == "std":
            return prune.activation_std(task.fn, params, x)
        return prune.magnitude(params)

    def keep(x, pair):
        key, params = pair
        kept = prune.remove(score(key, params, x), whole, config.fraction)
        if config.remove == "weights":
            return {}, kept
        return kept, incident(ones.weights, kept)

    return each(keep, task.training[0], (task.keys, trained))


def remove(config: Config, task: Task, params: Any, kept: tuple[Any, Any]) -> Any:
    """Parameters without what is not kept, stacked; biases take over nodes' means."""
    sequential = config.means == "sequential"

    def without(x, item):
        params, (nodes, weights) = item
        if nodes:
            params = prune.remove_nodes(
                task.fn, params, nodes, x, sequential=sequential
            )
        return masks.zero(params, weights)

    return each(without, task.training[0], (params, kept))


def each(function: Callable, x: Array, stacked: Any) -> Any:
    """`function(x, network)` for one network after another: memory for one alone."""
    # `x` is an argument of the compiled function; XLA is slow with large constants.
    return jax.jit(lambda x, all_: jax.lax.map(partial(function, x), all_))(x, stacked)


def incident(ones: Any, nodes: Any) -> Any:
    """Masks of a perceptron's weights without those from and to removed units.

    Args:
        ones: masks of ones over the weights, `dense_i/kernel` of shape (in, out).
        nodes: `hidden_i` of shape (units,).
    """
    whole = {f"hidden_{i}": nodes.get(f"hidden_{i}") for i in range(-1, len(ones))}

    def mask(path, leaf):
        if not jnp.ndim(leaf):
            return leaf
        i = int(path.split("/")[0].removeprefix("dense_"))
        before, after = whole[f"hidden_{i - 1}"], whole[f"hidden_{i}"]
        leaf = leaf if before is None else leaf * before[:, None]
        return leaf if after is None else leaf * after

    return trees.map_with_path(mask, ones)


def everything(task: Task) -> Any:
    """Masks of weights that keep all of them, stacked."""
    one = jax.tree.map(lambda leaf: leaf[0], task.params)
    weights = masks.ones(task.fn, one, task.training[0][:1]).weights

    def stack(leaf):
        return jnp.broadcast_to(leaf, (len(task.keys), *leaf.shape))

    return jax.tree.map(stack, weights)


def _keys(config: Config) -> tuple[Array, Array]:
    """Of the points, and of the order of the data."""
    points, order = jax.random.split(jax.random.key(config.data_seed))
    return points, order


def _data(config, key, data_dir) -> tuple[Pair, Pair]:
    """Training and test data."""
    if config.dataset == "spiral":
        first, second = jax.random.split(key)
        shape = {"turns": config.turns, "noise": config.noise}
        training = data.spiral(first, config.num_points, **shape)
        test = data.spiral(second, config.num_test_points, **shape)
        return _pair(training), _pair(test)
    splits = data.load(config.dataset, data_dir)
    return _pair(splits.train), _pair(splits.test)


def _pair(split) -> Pair:
    return jnp.asarray(split.x).reshape(len(split.x), -1), jnp.asarray(split.y)


def _all_at_once(x, y):
    """Every "example" is the whole data set, so that `fit` steps without shuffling.

    Copies keep many steps in one compiled call; each sees the same sum.
    """
    copies = max(1, min(100, _TILED // x.size))

    def tile(a):
        return jnp.broadcast_to(a, (copies, *a.shape))

    return tile(x), tile(y)


def _cross_entropy(logits, labels):
    """Mean over everything in a batch, copies of the whole data set included."""
    flat = logits.reshape(-1, logits.shape[-1])
    return train.cross_entropy(flat, labels.reshape(-1))


def _two_logits(apply, params, x):
    """One output z as logits 0 and z: their cross entropy is the binary one of z."""
    z = apply(params, x)
    return jnp.concatenate([jnp.zeros_like(z), z], axis=-1)


def _initial(shapes, key):
    glorot = jax.nn.initializers.glorot_uniform()
    leaves, structure = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.fold_in(key, 0), len(leaves))

    def draw(key, leaf):
        return glorot(key, leaf.shape) if len(leaf.shape) > 1 else jnp.zeros(leaf.shape)

    return jax.tree.unflatten(structure, map(draw, keys, leaves))


def _stops(steps: int, frames: int) -> list[int]:
    """When to look: evenly in log time, at the start and at the end."""
    times = np.geomspace(1, max(steps, 1), frames).round().astype(int).tolist()
    return sorted({0, steps, *(time for time in times if time < steps)})


@functools.cache
def _adam(rate: float) -> optax.GradientTransformation:
    """One object for each rate, so that `fit` compiles once."""
    return optax.adam(rate)
