"""What takes the place of ablated nodes: means, other inputs' values, the best ones."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from sparsejax import checks, interpret, lift
from sparsejax import masks as masks_
from sparsejax.interpret import Compiled


def means(
    fn: Callable,
    params: Any,
    x: Any,
    nodes: Mapping[str, Any],
    *,
    over: Any = "all",
    at: Any = None,
) -> dict[str, Array]:
    """Mean activations, for `ablate=`.

    Args:
        fn: `fn(params, x)`, with a leading axis of examples.
        params: its parameters.
        x: examples to average over.
        nodes: masks of ones, by name: which activations, and which of their axes nodes
            are on.
        over: "all" averages over examples and all axes before the nodes' own;
            "positions" over examples alone, so that every position has its own mean;
            integer labels of the examples, shape (examples,), average within a class.
        at: labels of the examples that are ablated, with class means; by default those
            of x.

    Returns:
        `{name: mean}`: of the shape of the mask's axes and all behind them; of the
        whole activation but for its examples; with labels of shape (examples, ...).

    Raises:
        ValueError: for labels of another number, a class that x lacks, or nodes that
            leave no axis to average over.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda params, x: checkpoint_name(x * params, "h")
        >>> x = jnp.array([[1.0, 2.0], [3.0, 6.0]])
        >>> means(fn, jnp.ones(2), x, {"h": jnp.ones(2)})["h"].tolist()
        [2.0, 4.0]
    """
    labels = None if isinstance(over, str) else np.asarray(over)
    if labels is None and over not in ("all", "positions"):
        raise ValueError(f"over is {over!r}; expected 'all', 'positions', or labels")
    if at is not None and labels is None:
        raise ValueError("at are labels of examples: pass over=labels with it")
    sites = _sites(fn, params, x, nodes)
    rows = None if labels is None else _rows(labels, labels if at is None else at)

    def average(params, x):
        values = lift.activations(fn, [*nodes])(params, x)[1]
        return {k: _mean(values[k], sites[k], nodes[k], over, rows) for k in nodes}

    if labels is not None:
        examples = {len(leaf) for leaf in jax.tree.leaves(x) if jnp.ndim(leaf)}
        if examples != {len(labels)}:
            raise ValueError(
                f"over are labels of {len(labels)} examples; x has {sorted(examples)}"
            )
    averaged = Compiled(average)(params, x)
    return {name: averaged[name] for name in nodes}


def resampled(
    fn: Callable, params: Any, x: Any, nodes: Mapping[str, Any]
) -> dict[str, Array]:
    """Activations of other inputs, for `ablate=`: interchange with corrupted examples.

    Args:
        fn: `fn(params, x)`.
        params: its parameters.
        x: corrupted examples, one for each of those that are ablated.
        nodes: masks of ones, by name.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda params, x: checkpoint_name(x * params, "h")
        >>> others = jnp.ones((1, 2))
        >>> resampled(fn, jnp.ones(2), others, {"h": jnp.ones(2)})["h"].tolist()
        [[1.0, 1.0]]
    """
    _sites(fn, params, x, nodes)
    values = Compiled(lambda params, x: lift.activations(fn, [*nodes])(params, x)[1])
    activations = values(params, x)
    return {name: activations[name] for name in nodes}


def optimal(
    loss_of: Callable[[Any], Any],
    values: PyTree,
    *,
    steps: int = 200,
    learning_rate: float = 0.01,
) -> PyTree:
    """The constants that hurt least, by Adam from the given ones.

    Optimal ablation bounds from below what any constants can do. Of units that reach
    the logits linearly the cross entropy is convex in them, elsewhere it is not.

    Args:
        loss_of: loss as a function of the values, such as
            `lambda values: loss(nodes, values)` of a `task`.
        values: where to start, such as `means(fn, params, x, nodes)`.
        steps: steps of Adam.
        learning_rate: its step size.

    Returns:
        A tree like `values`, the best of all steps: never worse than `values`.

    Raises:
        ValueError: if the loss is NaN at the start.

    Example:
        >>> found = optimal(lambda v: (v["h"] - 1) ** 2, {"h": jnp.zeros(())})
        >>> round(float(found["h"]), 1)
        1.0

    Reference:
        Li and Janson, Optimal ablation for interpretability, 2024, arXiv 2409.09951.
    """
    count = checks.integer(steps, "steps", 0)
    optimizer = optax.adam(learning_rate)

    def search(values):
        def step(state, _):
            values, moments, best, lowest = state
            loss, grads = jax.value_and_grad(interpret.derivable(loss_of))(values)
            better = loss < lowest
            best = jax.tree.map(lambda a, b: jnp.where(better, a, b), values, best)
            with jax.numpy_dtype_promotion("standard"):
                updates, moments = optimizer.update(grads, moments, values)
            values = optax.apply_updates(values, updates)
            return (values, moments, best, jnp.minimum(loss, lowest)), None

        first = loss_of(values)
        state = values, optimizer.init(values), values, first
        (last, _, best, lowest), _ = jax.lax.scan(step, state, None, length=count)
        ends = loss_of(last) < lowest
        return jax.tree.map(lambda a, b: jnp.where(ends, a, b), last, best), first

    values = {k: jnp.asarray(v) for k, v in values.items()} if isinstance(
        values, Mapping
    ) else jax.tree.map(jnp.asarray, values)  # fmt: skip
    best, first = Compiled(search)(values)
    if np.isnan(first):
        raise ValueError("the loss is NaN at the values that optimal starts from")
    return best


def _sites(fn, params, x, nodes) -> dict[str, interpret.Site]:
    """Where the nodes' activations are named, with masks that fit them."""
    sites = interpret.sites(interpret.trace(fn, params, x))
    by_name = {site.name: site for site in lift.check_names(sites, [*nodes])}
    for name, mask in nodes.items():
        masks_.check_fits(by_name[name], mask, f"nodes[{name!r}]")
    return by_name


def _mean(value: Array, site: interpret.Site, mask, over, rows) -> Array:
    """The mean of an activation, which has its loops' axes first."""
    loops = len(site.loops)
    own = jnp.shape(mask)[loops:]  # the last axes of the activation
    while len(own) > 1 and own[0] == 1 < value.shape[-len(own)]:
        own = own[1:]  # one entry for all positions, say
    before = range(loops, value.ndim - max(len(own), 1))
    if not before:
        raise ValueError(
            f"{site.name!r} of shape {value.shape} has no mean with a mask of shape "
            f"{jnp.shape(mask)}: no axis is left to average over, before the nodes'"
        )
    if rows is not None:
        if loops:
            raise ValueError(f"{site.name!r} has no means of classes: it is in a loop")
        weights, which = rows
        rest = value.mean(tuple(before[1:]), keepdims=True)
        return jnp.tensordot(weights.astype(value.dtype), rest, 1)[which]
    axes = before if over == "all" else before[:1]
    return value.mean(tuple(axes))


def _rows(labels: np.ndarray, at: Any) -> tuple[Array, Array]:
    """Weights of examples in the mean of every class, and which mean is whose."""
    at = np.asarray(at)
    for name, array in (("over", labels), ("at", at)):
        if array.ndim != 1 or array.dtype.kind not in "iub":
            raise ValueError(
                f"{name} is {checks.described(array)}; expected integer labels, one "
                "for each example"
            )
    classes, which = np.unique(labels, return_inverse=True)
    missing = sorted({*at.tolist()} - {*classes.tolist()})
    if missing:
        raise ValueError(f"there are no examples of the classes {missing[:8]} in over")
    one_hot = (which[None] == np.arange(len(classes))[:, None]).astype("f4")
    weights = one_hot / one_hot.sum(1, keepdims=True)
    return jnp.asarray(weights), jnp.asarray(np.searchsorted(classes, at))
