"""Scores from gradients with respect to masks, and from single removals."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sparsejax import checks, interpret, lift
from sparsejax.circuits._losses import Losses, check_finite
from sparsejax.circuits._nodes import layout
from sparsejax.circuits._ranking import Ranking, by_scores, of_scores
from sparsejax.interpret import Compiled, derivable


def attribution(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    absolute: bool = False,
    batch_size: int = 32,
) -> Ranking:
    """Attribution patching: the gradient to every mask of the full function.

    One gradient for all nodes, and the one finder here that fails badly: where
    something saturates (attention, say) true nodes score 0, and effects of opposite
    sign cancel. `integrated` mends both.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        absolute: whether to rank by size alone; by default nodes whose removal would
            lower the loss go first.
        batch_size: subsets evaluated at a time.

    Raises:
        ValueError: if a gradient or a loss is not finite.

    Example:
        >>> def loss(masks):
        ...     return (3 - masks["h"] @ jnp.array([2.0, 1.0, 0.0])) ** 2
        >>> attribution(loss, {"h": jnp.ones(3)}).scores.tolist()  # flat at the minimum
        [0.0, 0.0, 0.0]

    Reference:
        Nanda, Attribution patching, 2023; Syed, Rager and Conmy, Attribution patching
        outperforms automated circuit discovery, 2023, arXiv 2310.10348.
    """
    losses = Losses(loss, nodes, batch_size)
    scores = -_gradients(losses, np.ones(1))[0]
    name = "attribution, by size" if absolute else "attribution"
    return of_scores(losses, np.abs(scores) if absolute else scores, name)


def integrated(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    steps: int = 20,
    absolute: bool = False,
    batch_size: int = 32,
) -> Ranking:
    """Integrated gradients over masks, from none of the nodes to all of them.

    Complete: the scores add up to the loss of no nodes minus that of all, up to the
    steps; for any ablation.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        steps: gradients, at the midpoints of as many steps.
        absolute: whether to rank by size alone.
        batch_size: subsets evaluated at a time.

    Raises:
        ValueError: if a gradient or a loss is not finite.

    Example:
        >>> ranking = integrated(lambda m: (1 - m["h"].sum()) ** 2, {"h": jnp.ones(1)})
        >>> round(float(ranking.scores.sum()), 6)
        1.0

    Reference:
        Sundararajan, Taly and Yan, Axiomatic attribution for deep networks, 2017, arXiv
        1703.01365.
    """
    steps = checks.integer(steps, "steps", 1)
    losses = Losses(loss, nodes, batch_size)
    midpoints = (np.arange(steps) + 0.5) / steps
    scores = -_gradients(losses, midpoints).mean(0)
    name = f"integrated, {steps} midpoints" + (", by size" if absolute else "")
    return of_scores(losses, np.abs(scores) if absolute else scores, name)


def single(
    loss: Callable,
    nodes: Mapping[str, Any],
    *,
    direction: str = "noising",
    batch_size: int = 32,
) -> Ranking:
    """What every node is worth by itself.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        nodes: masks of ones, by name, in the order of depth.
        direction: "noising" removes a node from all, which finds what is necessary and
            is blind to backups; "denoising" restores a node to none, which finds what
            is sufficient and is blind to parts of a chain.
        batch_size: subsets evaluated at a time.

    Raises:
        ValueError: for an unknown direction, or a loss that is NaN.

    Example:
        >>> def loss(masks):
        ...     return (3 - masks["h"] @ jnp.array([2.0, 1.0, 0.0])) ** 2
        >>> nodes = {"h": jnp.ones(3)}
        >>> single(loss, nodes).scores.tolist()  # losses without each
        [4.0, 1.0, 0.0]
        >>> alone = single(loss, nodes, direction="denoising")
        >>> alone.scores.tolist()  # minus those with it alone
        [-1.0, -4.0, -9.0]
    """
    if direction not in ("noising", "denoising"):
        raise ValueError(
            f"direction is {direction!r}; expected 'noising' or 'denoising'"
        )
    losses = Losses(loss, nodes, batch_size)
    ones = np.eye(losses.plan.count, dtype=bool)
    noising = direction == "noising"
    values = losses(~ones if noising else ones)
    return of_scores(losses, values if noising else -values, f"single, {direction}")


def integrated_inputs(
    loss: Callable,
    nodes: Mapping[str, Any],
    fn: Callable,
    params: Any,
    x: Any,
    corrupted: Any,
    *,
    of: Callable[[Any], Any] | None = None,
    at: str | None = None,
    steps: int = 10,
    batch_size: int = 32,
) -> Ranking:
    """EAP-IG: gradients along a path of inputs, times what each node would change.

    Args:
        loss: function of masks like `nodes`, which sets are ranked by; ablated by
            `resampled(fn, params, corrupted, nodes)`, as the scores assume.
        nodes: masks of ones, by name, in the order of depth.
        fn: `fn(params, x)`.
        params: its parameters.
        x: examples.
        corrupted: as many others, of the same shapes.
        of: loss of the outputs; that of a `task` by default.
        at: name of the activation to interpolate, such as the embedding of tokens; x
            itself by default.
        steps: gradients, at the midpoints of as many steps.
        batch_size: subsets evaluated at a time.

    Raises:
        ValueError: if `of` is missing, tokens are to be interpolated themselves, or a
            name is in a loop.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda params, x: (checkpoint_name(x * params, "h") ** 2).sum()
        >>> params, x = jnp.array([2.0, 1.0]), jnp.ones((1, 2))
        >>> loss = lambda masks: -fn(params * masks["h"], x)
        >>> ranking = integrated_inputs(
        ...     loss, {"h": jnp.ones(2)}, fn, params, x, 0 * x, of=lambda y: -y
        ... )
        >>> ranking.scores.round(3).tolist()
        [4.0, 1.0]

    Reference:
        Hanna, Pezzelle and Belinkov, Have faith in faithfulness, 2024, arXiv
        2403.17806. They take the left ends of the steps; these are midpoints.
    """
    steps = checks.integer(steps, "steps", 1)
    outer = getattr(loss, "of", None) if of is None else of
    if outer is None:
        raise ValueError("pass of=, the loss of the outputs, or a loss made by task")
    if at is None:
        checks.array(x, "x", floating=True)
    plan, names = layout(nodes), [*nodes]
    read = [*names] if at is None else [*names, at]
    for site in lift.check_names(interpret.sites(interpret.trace(fn, params, x)), read):
        lift.check_not_looped(site)

    def scores(params, x, corrupted, points):
        acts = lift.activations(fn, read)
        clean, other = acts(params, x)[1], acts(params, corrupted)[1]
        first, last = (corrupted, x) if at is None else (other[at], clean[at])

        def shifted(shift, point):
            value = first + point * (last - first)
            edits = {name: functools.partial(jnp.add, shift[name]) for name in names}
            if at is None:
                return outer(lift.edit(fn, edits)(params, value))
            edited = lift.edit(fn, {**edits, at: lambda h: value})
            return outer(edited(params, x))

        zero = {name: jnp.zeros_like(clean[name]) for name in names}
        slope = jax.grad(derivable(shifted))
        slopes = jax.lax.map(lambda t: slope(zero, t), points)
        return {
            name: _onto(slopes[name].mean(0) * (clean[name] - other[name]), nodes[name])
            for name in names
        }

    points = jnp.asarray((np.arange(steps) + 0.5) / steps, jnp.float32)
    changes = Compiled(scores)(params, x, corrupted, points)
    vector = -np.concatenate([np.asarray(changes[k]).reshape(-1) for k in plan.names])
    check_finite(vector, "gradients")
    name = f"integrated over inputs, {steps} midpoints"
    ranking = by_scores(loss, nodes, vector, method=name, batch_size=batch_size)
    return ranking._replace(evaluations=ranking.evaluations + steps)


def _gradients(losses: Losses, points: np.ndarray) -> Float[np.ndarray, "points n"]:
    """Gradients where all masks have the same value, one row for each value."""
    slope = jax.grad(losses.of_vector)
    program = Compiled(lambda masks: jax.lax.map(slope, masks))
    masks = np.repeat(points[:, None], losses.plan.count, axis=1).astype("f4")
    slopes = np.asarray(program(masks), np.float64)
    losses.count += len(points)
    check_finite(slopes.sum(0), "gradients")
    return slopes


def _onto(value, mask):
    """Sums of an activation's entries over what each entry of a mask stands for."""
    shape = (1,) * (value.ndim - jnp.ndim(mask)) + jnp.shape(mask)
    axes = [i for i, size in enumerate(shape) if size == 1]
    return value.sum(tuple(axes)).reshape(jnp.shape(mask))
