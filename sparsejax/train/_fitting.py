"""Training: the loop over epochs around the compiled steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Key, PyTree

from sparsejax import checks, meshes
from sparsejax.masks import Masks
from sparsejax.train import _calls as calls
from sparsejax.train import _examples as examples
from sparsejax.train import _losses as losses
from sparsejax.train import _states as states
from sparsejax.train import _steps as compiled
from sparsejax.train._losses import cross_entropy
from sparsejax.train._states import State


class NotFinite(ValueError):
    """Training met a loss, or made a parameter, that is NaN or infinite.

    Attributes:
        step: the first with such a loss, counted from 1; where only a parameter is,
            the last before that was noticed.
        networks: those that it happened to; empty if only one is trained.
    """

    def __init__(self, steps: np.ndarray, why: str):
        bad = np.flatnonzero(steps)
        self.step = int(steps[steps > 0].min())
        self.networks = tuple(bad.tolist()) if steps.ndim else ()
        where = [f"of network {i} at step {steps[i]}" for i in self.networks]
        super().__init__(
            "the loss or a parameter is not finite "
            f"{', '.join(where) or f'at step {steps}'}: {why}"
        )


@meshes.on_mesh
def fit(
    apply: Callable | Any,
    params: PyTree,
    masks: Masks | Any,
    data: tuple[Any, Any] | Any,
    *,
    optimizer: optax.GradientTransformation | Any,
    batch_size: int | Any,
    key: Key[Array, "*seeds"] | Any,
    loss: Callable = cross_entropy,
    steps: int | Any = None,
    epochs: int | Any = None,
    data_key: Key[Array, "..."] | Any = None,
    state: State | Any = None,
    trainable: Callable[[str, Any], bool] | None = None,
    stateful: bool = False,
    callback: Callable[[State, dict], None] | None = None,
    mesh: Mesh | Any = None,
) -> tuple[State, dict[str, Array]]:
    """Train with masks.

    Args:
        apply: `apply(params, masks, x) -> y`, as from `sparsejax.masked`. The same
            function object, loss and optimizer are traced once. Those made anew, of
            other arrays, are traced again, and compiled again only if they compute
            something else.
        params: initial parameters; ignored if `state` is given. Leaves that are not of
            floats (integers, keys) are not trained.
        masks: what is kept; must not change shape during training.
        data: `(x, y)`: each an array of shape `(examples, ...)`, or a tree of them. In
            `x` a `numpy.memmap`, or any object that is no array but has `len(x)` and
            `x[rows]` for an array of numbers in any order, is read some batches at a
            time, the next ones while these are trained on, with the same result.
        optimizer: any optax optimizer whose state mirrors the parameters or is small.
            One that searches along a line gets the loss of the batch, with masks. What
            it has computed from parameters (as the weights of L-BFGS's memory) is not
            computed again when masks shrink.
        batch_size: examples a step. What an epoch leaves over is dropped, other
            examples in every epoch.
        key: a key, or `(seeds,)` keys to train as many stacked networks.
        loss: `loss(y, labels) -> scalar`, a mean over the batch. By default cross
            entropy, of logits `(..., classes)` and integer labels `(...)`.
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
        mesh: devices, by default those of `jax.set_mesh`. Stacked networks are split
            over them; of one network the examples of every batch are, and arrays on
            explicit axes, which need no mesh here, stay as they are spread.

    Returns:
        The state and metrics, an array for each with an entry for every epoch (first
        axis) and seed: `loss`, the mean training loss over the epoch's steps.

    Raises:
        NotFinite: if a loss or a trained parameter is NaN or infinite; a `ValueError`
            that knows the step and, of stacked networks, which. What comes after is
            not trained.
        ValueError: if neither or both of `steps` and `epochs` are given, the data does
            not fill a batch or has leaves of different lengths, labels number no
            classes where the loss is cross entropy, a mask does not fit, or an argument
            is of another kind.

    Example:
        >>> from sparsejax.masks import Masks
        >>> apply = lambda params, masks, x: x * (params * masks.weights)
        >>> x, y = jnp.ones((4, 2)), jnp.full((4, 2), 3.0)
        >>> state, metrics = fit(
        ...     apply, jnp.zeros(2), Masks(jnp.array([1.0, 0.0]), {}), (x, y),
        ...     loss=lambda z, y: ((z - y) ** 2).mean(), optimizer=optax.sgd(0.5),
        ...     batch_size=4, epochs=10, key=jax.random.key(0),
        ... )
        >>> state.params.round(2).tolist(), metrics["loss"].shape
        ([3.0, 0.0], (10,))
    """
    calls.check(apply, masks, stateful=stateful)
    if (steps is None) == (epochs is None):
        raise ValueError("pass one of steps= and epochs=")
    if stateful and trainable is None:
        raise ValueError(
            "stateful=True needs trainable=, which tells parameters from statistics "
            "(such as models.is_trainable)"
        )
    found = examples.examples(data)
    size = checks.integer(batch_size, "batch_size")
    if not 0 < size <= found.count:
        raise ValueError(f"cannot take batches of {size} from {found.count} examples")
    now = _start(state, params, optimizer, key, trainable)
    data_key = now.key if data_key is None else data_key
    _check_stacks(now, masks, data_key)
    if loss in losses.OF_CLASSES:
        many, of_key = bool(now.key.ndim), now.key if stateful else None
        batch = examples.batch_shapes(found, size)
        out = calls.outputs(apply, now.params, masks, batch, many=many, key=of_key)
        losses.check_uses({"loss": loss}, out, found.y)
    per_epoch = found.count // size
    if steps is None:
        stop = checks.integer(epochs, "epochs", 0) * per_epoch
    else:
        stop = checks.integer(steps, "steps", 0)
    how = compiled.How(apply, loss, optimizer, trainable, stateful, size)
    with meshes.over(mesh):
        return _train(how, now, masks, found, data_key, stop, callback)


def _start(state, params, optimizer, key, trainable) -> State:
    """The state to start from, checked."""
    if state is None:
        return states.init(params, optimizer, key, trainable)
    if not isinstance(state, State):
        raise ValueError(f"state must be a State, got {checks.described(state)}")
    states.check_optimizer(optimizer)
    checks.key(key)
    checks.key(state.key, "state.key")
    states.check_params(state.params, state.key.shape, "state.params")
    return state


def _check_stacks(now, masks, data_key) -> None:
    """Check that masks and keys are stacked as the state is."""
    checks.key(data_key, "data_key")
    seeds = now.key.shape
    if data_key.shape not in ((), seeds):
        raise ValueError(
            f"data_key has shape {data_key.shape}; expected () or {seeds}, as key"
        )
    states.check_params(masks.weights, seeds, "masks.weights")
    states.check_params(masks.nodes, seeds, "masks.nodes")
    if (np.asarray(now.step) != np.max(now.step)).any():
        raise ValueError(f"stacked states are at different steps: {now.step}")


def _train(how, now, masks, found, data_key, stop, callback):
    """The state at step `stop`, and metrics of every epoch."""
    size, at = how.batch_size, int(np.max(now.step))
    per_epoch = found.count // size
    stacked = bool(now.key.ndim), bool(data_key.ndim)
    if found.whole:
        x, y = meshes.put(jax.tree.map(jnp.asarray, (found.x, found.y)))
        found = found._replace(x=x, y=y)

    def mesh():
        return meshes.context((found.x, found.y, now, masks))

    read = examples.whole if found.whole else examples.blocks
    with mesh():
        now, masks = meshes.put((now, masks))
        now = compiled.begin(how, stacked[0], now, masks)
    history: list[dict[str, Array]] = []
    bad = np.zeros(now.key.shape, np.int32)
    while at < stop:
        until = min(stop, (at // per_epoch + 1) * per_epoch)
        order = examples.order(data_key, at // per_epoch, found.count)
        parts, first = [], at // per_epoch * per_epoch
        for block, stop_at in read(found, order, size, first, at, until):
            before, to = bad, np.int32(stop_at)
            with mesh():
                now, metrics, bad = compiled.epoch(how, stacked, now, masks, block, to)
            _check_finite(before, found)  # no waiting for what has just begun
            parts.append((stop_at - at, metrics))
            at = stop_at
        history.append(_mean(parts))
        if callback is not None:
            _check_finite(bad, found)
            callback(now, history[-1])
    _check_finite(bad, found)
    if not history:
        return now, {"loss": jnp.zeros((0, *now.key.shape))}
    return now, jax.tree.map(lambda *m: jnp.stack(m), *history)


def _check_finite(bad, found) -> None:
    steps = meshes.fetch(bad)
    if steps.any():
        why = examples.not_finite(found) or "lower the learning rate, or clip gradients"
        raise NotFinite(steps, why)


def _mean(parts):
    """Means over the steps of several parts."""
    if len(parts) == 1:
        return parts[0][1]
    steps = sum(count for count, _ in parts)

    def add(*m):
        return sum(count / steps * a for (count, _), a in zip(parts, m))

    return jax.tree.map(add, *(metrics for _, metrics in parts))
