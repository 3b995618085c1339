"""Masked training: any apply, loss and optax optimizer, one compiled call an epoch.

Removed weights are exactly zero in parameters, gradients (global norms included) and
every parameter-shaped leaf of the optimizer state, before, during and after training.
Everything that happens is a function of `(state, masks, data, data_key)`: the order of
the data depends on `data_key` and the step alone, so that training from a rewound state
repeats what was.

Written for one network. Stack states, masks and keys along a leading axis (a key of
shape `(seeds,)`) and the same calls train many at once; the data, and with a single
`data_key` its order, are shared.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree

from sparsejax import masks as masks_
from sparsejax import trees
from sparsejax.masks import Masks

_BLOCK_BYTES = 2**27  # of examples that are read at once where not all of them are


class State(NamedTuple):
    """A network in training; with a leading axis everywhere, several.

    Attributes:
        step: training steps taken, shape `()`.
        params: parameters.
        opt_state: state of the optimizer, its schedules' counts included.
        key: randomness of this network (dropout, and the data's order by default).
    """

    step: Int[Array, "*seeds"]
    params: PyTree
    opt_state: PyTree
    key: Key[Array, "*seeds"]


def cross_entropy(
    logits: Float[Array, "batch classes"], labels: Int[ArrayLike, " batch"]
) -> Float[Array, ""]:
    """Mean softmax cross entropy in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def init(
    params: PyTree,
    optimizer: optax.GradientTransformation,
    key: Key[Array, "*seeds"],
    trainable: Callable[[str, Any], bool] | None = None,
) -> State:
    """The state before the first step; `params` stacked if `key` has an axis."""
    start = lambda p: _optimizer(optimizer, trainable, p).init(p)
    opt_state = (jax.vmap(start) if key.ndim else start)(params)
    return State(jnp.zeros(key.shape, jnp.int32), params, opt_state, key)


def fit(
    apply: Callable,
    params: PyTree,
    masks: Masks,
    data: tuple[Any, Any],
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    key: Key[Array, "*seeds"],
    loss: Callable = cross_entropy,
    steps: int | None = None,
    epochs: int | None = None,
    data_key: Key[Array, "..."] | None = None,
    state: State | None = None,
    trainable: Callable[[str, Any], bool] | None = None,
    stateful: bool = False,
    callback: Callable[[State, dict], None] | None = None,
) -> tuple[State, dict[str, Array]]:
    """Train with masks.

    Args:
        apply: `apply(params, masks, x) -> y`, as from `sparsejax.masked`. Pass the same
            function object at every call: it is compiled once.
        params: initial parameters; ignored if `state` is given.
        masks: what is kept; must not change shape during training.
        data: `(x, y)`, `x` of shape `(examples, ...)`. A `numpy.memmap`, or any object
            that is no array but has `len(x)` and `x[rows]` for an array of numbers in
            any order, is read some batches at a time, the next ones while these are
            trained on, with the same result.
        optimizer: any optax optimizer whose state mirrors the parameters or is small.
        batch_size: examples a step. What an epoch leaves over is dropped, other
            examples in every epoch.
        key: a key, or `(seeds,)` keys to train as many stacked networks.
        loss: `loss(y, labels) -> scalar`, a mean over the batch.
        steps: train until `state.step` is this.
        epochs: the same in epochs of `examples // batch_size` steps.
        data_key: order of the data: one for all seeds, or one for each; by default
            `state.key`.
        state: go on from here.
        trainable: `trainable(path, leaf)`: leaves that the optimizer moves; by default
            all. Needed if `stateful`.
        stateful: `apply(params, masks, x, key=key)` returns `(y, params)`, and leaves
            that are not trainable are taken from there (`Model.train_apply`).
        callback: called with the state and the metrics of every epoch.

    Returns:
        The state and metrics, an array for each with an entry for every epoch (first
        axis) and seed: `loss`, the mean training loss over the epoch's steps.

    Raises:
        ValueError: if neither or both of `steps` and `epochs` are given, the data does
            not fill a batch, or a mask does not fit.
    """
    whole = isinstance(data[0], np.ndarray | jax.Array | list | tuple)
    whole = whole and not isinstance(data[0], np.memmap)
    x, y = jnp.asarray(data[0]) if whole else data[0], jnp.asarray(data[1])
    if (steps is None) == (epochs is None):
        raise ValueError("pass one of steps= and epochs=")
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ValueError("key must come from jax.random.key, not jax.random.PRNGKey")
    if stateful and trainable is None:
        raise ValueError(
            "stateful=True needs trainable=, which tells parameters from statistics "
            "(such as models.is_trainable)"
        )
    if not 0 < batch_size <= len(x) or len(x) != len(y):
        raise ValueError(
            f"cannot take batches of {batch_size} from {len(x)} examples "
            f"with {len(y)} labels"
        )
    now = init(params, optimizer, key, trainable) if state is None else state
    data_key = now.key if data_key is None else data_key
    at = int(np.max(now.step))
    if (np.asarray(now.step) != at).any():
        raise ValueError(f"stacked states are at different steps: {now.step}")
    how = _How(apply, loss, optimizer, trainable, stateful, batch_size)
    stacked = bool(now.key.ndim), bool(data_key.ndim)
    now = _begin(how, stacked[0], now, masks)
    per_epoch = len(x) // batch_size
    stop = steps if steps is not None else (epochs or 0) * per_epoch
    history: list[dict[str, Array]] = []
    while at < stop:
        until = min(stop, (at // per_epoch + 1) * per_epoch)
        order = _order(data_key, at // per_epoch, len(x))
        read = _whole if whole else _blocks
        parts, first = [], at // per_epoch * per_epoch
        for block, stop_at in read(x, y, order, batch_size, first, at, until):
            now, metrics = _epoch(how, stacked, now, masks, *block, jnp.int32(stop_at))
            if not whole and parts:
                jax.block_until_ready(parts[-1][1])  # two blocks on the device at most
            parts.append((stop_at - at, metrics))
            at = stop_at
        metrics = _mean(parts)
        history.append(metrics)
        if callback is not None:
            callback(now, metrics)
    if not history:
        return now, {"loss": jnp.zeros((0, *now.key.shape))}
    return now, jax.tree.map(lambda *m: jnp.stack(m), *history)


def _whole(x, y, order, batch_size, first, start, stop):
    """All of an epoch as one block: arrays, order, first step of these, first to do."""
    yield (x, y, order, jnp.int32(first), jnp.int32(start)), stop


def _blocks(x, y, order, batch_size, first, start, stop):
    """An epoch in blocks of batches, each read while the one before is used."""
    if order.ndim > 1:
        raise ValueError("stacked networks read x in one order only: give one data_key")
    size = np.asarray(x[order[:1]]).nbytes * batch_size
    many = max(1, _BLOCK_BYTES // size)

    def read(at):
        rows = order[(at - first) * batch_size : (at + many - first) * batch_size]
        rows = rows[: (stop - at) * batch_size]
        return np.asarray(x[rows]), np.asarray(y)[rows]

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(read, start)
        for at in range(start, stop, many):
            found = coming.result()
            if at + many < stop:
                coming = ahead.submit(read, at + many)
            same = np.arange(len(found[0]), dtype=np.int32)
            block = *map(jnp.asarray, found), same, jnp.int32(at), jnp.int32(at)
            yield block, min(at + many, stop)


def _mean(parts):
    """Means over the steps of several parts."""
    if len(parts) == 1:
        return parts[0][1]
    steps = sum(count for count, _ in parts)
    add = lambda *m: sum(count / steps * a for (count, _), a in zip(parts, m))
    return jax.tree.map(add, *(metrics for _, metrics in parts))


class _How(NamedTuple):
    """What a compiled epoch depends on, besides shapes."""

    apply: Callable
    loss: Callable
    optimizer: optax.GradientTransformation
    trainable: Callable | None
    stateful: bool
    batch_size: int


@partial(jax.jit, static_argnums=(0, 1))
def _begin(how, many, state, masks):
    """The state with zeros where weights are removed."""

    def one(params, opt_state, weights):
        optimizer = _optimizer(how.optimizer, how.trainable, params)
        return _mask(optimizer, params, opt_state, weights)

    one = jax.vmap(one) if many else one
    params, opt_state = one(state.params, state.opt_state, masks.weights)
    return state._replace(params=params, opt_state=opt_state)


@partial(jax.jit, static_argnums=(0, 1))
def _epoch(how, stacked, state, masks, x, y, order, first, start, stop):
    """Steps `start` to `stop` of one network or of stacked ones.

    The order begins with step `first`.
    """
    many, own_order = stacked
    run = partial(_steps, how)
    if many:
        axes = (0, 0, None, None, 0 if own_order else None, None, None, None)
        run = jax.vmap(run, axes)
    return run(state, masks, x, y, order, first, start, stop)


def _steps(how, state, masks, x, y, order, first, start, stop):
    apply, loss, _, trainable, stateful, batch_size = how
    optimizer = _optimizer(how.optimizer, trainable, state.params)

    def objective(params, batch, labels, key):
        if not stateful:
            return loss(apply(params, masks, batch), labels), params
        out, updated = apply(params, masks, batch, key=key)
        return loss(out, labels), updated

    def step(i, carry):
        params, opt_state, total = carry
        where = (i - first) * batch_size
        rows = jax.lax.dynamic_slice(order, (where,), (batch_size,))
        take = lambda array: array.at[rows].get(mode="promise_in_bounds")
        key = jax.random.fold_in(state.key, i + 1)
        (value, updated), grads = jax.value_and_grad(objective, has_aux=True)(
            params, take(x), take(y), key
        )
        with jax.numpy_dtype_promotion("standard"):  # optax counts on it
            updates, opt_state = optimizer.update(grads, opt_state, params)
            moved = optax.apply_updates(params, updates)
        if trainable is not None:
            pick = lambda path, new, old: new if trainable(path, new) else old
            moved = trees.map_with_path(pick, moved, updated)
        params, opt_state = _mask(optimizer, moved, opt_state, masks.weights)
        return params, opt_state, total + value.astype(jnp.float32)

    carry = (state.params, state.opt_state, jnp.zeros((), jnp.float32))
    params, opt_state, total = jax.lax.fori_loop(start, stop, step, carry)
    taken = stop - start
    state = State(state.step + taken, params, opt_state, state.key)
    return state, {"loss": total / taken.astype(jnp.float32)}


@partial(jax.jit, static_argnames=("apply", "loss", "batch_size", "stacked"))
def evaluate(
    apply: Callable,
    params: PyTree,
    masks: Masks,
    data: tuple[Any, Any],
    *,
    loss: Callable = cross_entropy,
    batch_size: int = 2000,
    stacked: bool = False,
) -> dict[str, Array]:
    """Mean loss and accuracy over all of the data, for one network or stacked ones.

    Args:
        apply: `apply(params, masks, x) -> y`; the same function object at every call.
        params: parameters, with a leading axis if `stacked`.
        masks: masks, with a leading axis if `stacked`.
        data: `(x, y)`.
        loss: `loss(y, labels) -> scalar`, a mean over the batch.
        batch_size: examples at a time; changes memory and speed, not the result.
        stacked: whether `params` and `masks` hold many networks.

    Returns:
        `loss` and `accuracy`, each of shape `()` or `(networks,)`.
    """
    x, y = jnp.asarray(data[0]), jnp.asarray(data[1])
    chunks = -(-len(x) // batch_size)
    size = -(-len(x) // chunks)
    pad = lambda a: jnp.pad(a, [(0, chunks * size - len(a))] + [(0, 0)] * (a.ndim - 1))
    split = lambda a: pad(a).reshape(chunks, size, *a.shape[1:])
    each = jax.vmap(lambda out, label: loss(out[None], label[None]))

    def one(params, masks):
        def chunk(pair):
            out = apply(params, masks, pair[0])
            right = jnp.argmax(out, -1).astype(pair[1].dtype) == pair[1]
            return each(out, pair[1]), right

        losses, right = jax.lax.map(chunk, (split(x), split(y)))
        mean = lambda a: a.reshape(-1)[: len(x)].mean()
        return {"loss": mean(losses), "accuracy": mean(right.astype(jnp.float32))}

    return (jax.vmap(one) if stacked else one)(params, masks)


def _order(key, epoch, examples):
    """The examples' order in one epoch, for one key or for each of several.

    Drawn by NumPy from the key's bits: XLA's permutation is a sort, slow on a CPU.
    """
    bits = np.asarray(jax.random.key_data(key))
    draw = lambda seed: np.random.default_rng([*seed, epoch]).permutation(examples)
    orders = [draw(seed) for seed in bits.reshape(-1, bits.shape[-1])]
    return np.asarray(orders, np.int32).reshape(*key.shape, examples)


def _optimizer(optimizer, trainable, params):
    if trainable is None:
        return optimizer
    return optax.masked(optimizer, trees.map_with_path(trainable, params))


def _mask(optimizer, params, opt_state, weights):
    """Exact zeros where weights are removed, in everything shaped like parameters."""
    masks_.check(params, weights)
    frozen = lambda leaf: isinstance(leaf, optax.MaskedNode)
    zero = lambda leaf, mask: leaf if frozen(leaf) else masks_.zero_leaf(leaf, mask)
    opt_state = optax.tree_utils.tree_map_params(
        optimizer, zero, opt_state, weights, is_leaf=frozen
    )
    return masks_.zero(params, weights), opt_state
