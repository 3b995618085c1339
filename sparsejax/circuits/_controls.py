"""Losses of what cannot have a circuit: a circuit must do better than these."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from sparsejax import checks
from sparsejax.circuits._task import Task, task


def controls(
    fn: Callable,
    params: Any,
    x: Any,
    y: Any = None,
    *,
    key: Key[Array, ""] | Any,
    untrained: Any = None,
    metric: str | Callable[[Any, Any, Any], Any] = "cross_entropy",
    ablate: Mapping[str, Any] | Callable[[Any], Mapping[str, Any] | None] | None = None,
    ablation: str | None = None,
    apply: Callable[[Any, Any, Any], Any] | None = None,
) -> dict[str, Task]:
    """The controls of a circuit, for `report(..., controls=)`.

    Args:
        fn: `fn(params, x)`.
        params: its parameters.
        x: examples.
        y: integer labels of them; not used by the metric "kl".
        key: random key: of labels, and of parameters where none are given.
        untrained: parameters as they were before training; by default the trained ones
            with the numbers of every array in random order.
        metric: as of `task`.
        ablate: values, or a function from parameters to them, such as
            `lambda params: means(fn, params, x, nodes)`: a network's own means.
        ablation: name of it.
        apply: as of `task`.

    Returns:
        "untrained", the loss of those parameters; and with labels "nonsense", an
        arbitrary function of the input in their place, and "shuffled", labels of other
        examples. With "kl", which has no labels, "untrained" alone.

    Raises:
        ValueError: for labels of one class alone, or missing where they are needed.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda params, x: checkpoint_name(x * params, "h")
        >>> x, y = jnp.eye(4), jnp.arange(4)
        >>> [*controls(fn, jnp.ones(4), x, y, key=jax.random.key(0))]
        ['untrained', 'nonsense', 'shuffled']
    """
    checks.one_key(key)
    first, second, third = jax.random.split(key, 3)
    rest = {"metric": metric, "ablation": ablation, "apply": apply}

    def of(params, y):
        values = ablate(params) if callable(ablate) else ablate
        return task(fn, params, x, y, ablate=values, **rest)

    before = _permuted(first, params) if untrained is None else untrained
    losses = {"untrained": of(before, y)}
    if metric == "kl" or y is None:
        return losses
    wrong = _turned if metric == "logit_difference" else nonsense
    losses["nonsense"] = of(params, wrong(second, x, y))
    order = np.asarray(jax.random.permutation(third, len(y)))
    losses["shuffled"] = of(params, np.asarray(y)[order])
    return losses


def nonsense(key: Key[Array, ""] | Any, x: Any, y: Any) -> Int[np.ndarray, "..."]:
    """Labels that are an arbitrary function of the input, each about as frequent.

    Where few inputs differ there may be fewer classes.

    Args:
        key: random key of the function.
        x: examples.
        y: their labels, of one for every example or for every position: where x has one
            number (a token) for each label, only what comes before it matters.

    Returns:
        Labels of the shape and of the classes of y.

    Example:
        >>> x = jnp.array([[1.0], [2.0], [1.0], [2.0]])
        >>> y = nonsense(jax.random.key(0), x, np.array([0, 0, 1, 1]))
        >>> bool(y[0] == y[2]), bool(y[1] == y[3]), np.bincount(y).tolist()
        (True, True, [2, 2])
    """
    checks.one_key(key)
    labels = np.asarray(y)
    classes = np.unique(labels)
    if labels.dtype.kind not in "iub" or len(classes) < 2:
        raise ValueError(
            f"y is {checks.described(labels)} of {len(classes)} classes; nonsense "
            "labels need integer labels of two classes or more"
        )
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))))
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(x)]
    rows = np.concatenate([leaf.reshape(len(labels), -1) for leaf in leaves], axis=1)
    scale = np.where(rows.std(0) > 0, rows.std(0), 1)
    rates, phases = rng.normal(size=(2, rows.shape[1])) * 3
    waves = np.sin((rows - rows.mean(0)) / scale * rates + phases)
    if rows.shape == labels.shape:
        values = waves.cumsum(1)
    else:
        shape = (-1,) + (1,) * (labels.ndim - 1)
        turns = rng.normal(size=labels.shape[1:]) if labels.ndim > 1 else 1.0
        values = np.broadcast_to(waves.sum(1).reshape(shape) * turns, labels.shape)
    cuts = np.quantile(values, np.arange(1, len(classes)) / len(classes))
    return classes[np.searchsorted(cuts, values, side="right")]


def _turned(key: Key[Array, ""] | Any, x: Any, y: Any) -> Int[np.ndarray, "... 2"]:
    """Pairs of classes, some of them turned, by an arbitrary function of the input."""
    pairs = np.asarray(y)
    coins = np.arange(pairs[..., 0].size).reshape(pairs.shape[:-1]) % 2
    is_turned = nonsense(key, x, coins)[..., None] == 1
    return np.where(is_turned, pairs[..., ::-1], pairs)


def _permuted(key: Array, params: Any) -> Any:
    """Parameters with the numbers of every array in random order."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, max(len(leaves), 1))
    mixed = [
        jax.random.permutation(k, jnp.ravel(leaf)).reshape(jnp.shape(leaf))
        for k, leaf in zip(keys, leaves)
    ]
    return jax.tree.unflatten(structure, mixed)
