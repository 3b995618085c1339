"""Means of losses and metrics over many examples."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, PyTree

from sparsejax import checks, interpret, meshes
from sparsejax.masks import Masks
from sparsejax.train import _calls as calls
from sparsejax.train import _examples as examples
from sparsejax.train import _losses as losses
from sparsejax.train import _states as states
from sparsejax.train._losses import accuracy, cross_entropy


@meshes.on_mesh
def evaluate(
    apply: Callable | Any,
    params: PyTree,
    masks: Masks | Any,
    data: tuple[Any, Any] | Any,
    *,
    loss: Callable = cross_entropy,
    metrics: Mapping[str, Callable] | Any = None,
    batch_size: int | Any = 2000,
    stacked: bool = False,
    mesh: Mesh | Any = None,
) -> dict[str, Array]:
    """Mean loss and metrics over all of the data, for one network or stacked ones.

    A loss or metric is asked of every example alone, as a batch of one, and the mean is
    over examples: what is no mean over examples (an F1 score, a correlation) has to be
    computed from outputs.

    Args:
        apply: `apply(params, masks, x) -> y`. One made anew, of other arrays, is traced
            again, and compiled again only if it computes something else.
        params: parameters, with a leading axis if `stacked`.
        masks: masks, with a leading axis if `stacked`.
        data: `(x, y)`, arrays or trees of arrays with a leading axis over the examples.
        loss: `loss(y, labels) -> scalar`, a mean over the batch. By default cross
            entropy, of logits `(..., classes)` and integer labels `(...)`.
        metrics: more of the kind of `loss` by name. By default `accuracy` where outputs
            and labels are as for cross entropy, whatever the loss, and nothing
            elsewhere.
        batch_size: examples at a time; changes memory and speed, not the result.
        stacked: whether `params` and `masks` hold many networks.
        mesh: devices that networks, or the examples of one, are split over, as in
            `fit`.

    Returns:
        `loss` and the metrics, each of shape `()` or `(networks,)`.

    Raises:
        ValueError: if there are no examples, cross entropy or accuracy are asked for
            but outputs are not logits of two classes or more, or labels do not number
            them, or an argument is of another kind.

    Example:
        >>> off = lambda z, y: jnp.abs(z - y).mean()
        >>> apply = lambda params, masks, x: x[:, 0] * params
        >>> pair = jnp.array([[1.0], [2.0]]), jnp.array([1.0, 1.0])
        >>> found = evaluate(apply, jnp.ones(()), Masks(jnp.ones(()), {}), pair,
        ...                  loss=off, metrics={})
        >>> found["loss"].item()
        0.5
    """
    calls.check(apply, masks)
    found = examples.in_memory(data)
    most = checks.integer(batch_size, "batch_size", 1)
    size = -(-found.count // -(-found.count // most))
    if stacked:
        leaves = jax.tree.leaves((params, masks))
        seeds = jnp.shape(leaves[0])[:1] if leaves else ()
        for name, tree in {"params": params, **masks._asdict()}.items():
            states.check_params(tree, seeds, name)
    batch = examples.batch_shapes(found, size)
    out = calls.outputs(apply, params, masks, batch, many=stacked)
    how = apply, tuple(_functions(loss, metrics, out, found.y).items()), size, stacked
    with meshes.over(mesh), meshes.context((found.x, found.y, params, masks)):
        return _evaluate(how, params, masks, found.x, found.y)


def _functions(loss, metrics, out, y) -> dict[str, Callable]:
    """Loss and metrics by name, those of classes only where there are classes."""
    usual = metrics is None
    metrics = {} if usual else metrics
    if not isinstance(metrics, Mapping) or "loss" in metrics:
        raise ValueError(
            "metrics must be a dict from names (other than 'loss') to functions "
            f"metric(y, labels), got {checks.described(metrics)}"
        )
    functions = {"loss": loss, **metrics}
    for name, function in functions.items():
        if not callable(function):
            raise ValueError(
                f"{name} must be a function of outputs and labels, got "
                f"{checks.described(function)}"
            )
    losses.check_uses(functions, out, y)
    if usual and (loss is cross_entropy or losses.fit_classes(out, y)):
        functions["accuracy"] = accuracy
    return functions


@partial(interpret.Compiled, static_argnums=0)
def _evaluate(how, params, masks, x, y):
    apply, functions, size, stacked = how
    count = len(jax.tree.leaves(y)[0])

    def of_one(out, label):
        batch = jax.tree.map(lambda a: a[None], (out, label))
        return {name: _scalar(name, f(*batch)) for name, f in functions}

    def one(params, masks, x, y):
        def chunk(start):
            # past the end the last example stands in
            rows = jnp.minimum(start + jnp.arange(size, dtype=jnp.int32), count - 1)
            x_, y_ = jax.tree.map(lambda a: meshes.take(a, rows), (x, y))
            return jax.vmap(of_one)(apply(params, masks, x_), y_)

        starts = jnp.arange(-(-count // size), dtype=jnp.int32) * size
        found = jax.lax.map(chunk, starts)

        def mean(a):
            return a.reshape(-1)[:count].mean()

        return jax.tree.map(mean, found)

    axes = 0, 0, None, None
    if stacked:
        return meshes.split(jax.vmap(one, axes), axes)(params, masks, x, y)
    return meshes.automatic(one, lambda *_: None)(params, masks, x, y)


def _scalar(name, value):
    if jnp.shape(value):
        raise ValueError(
            f"{name} of a batch of one has shape {jnp.shape(value)}; expected a "
            "number, the mean over the batch"
        )
    return jnp.asarray(value)
