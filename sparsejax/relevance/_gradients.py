"""Explanations by one walk back: gradients, and gradients by other rules.

`gradient` says how the output answers to small changes, `gradient_x_input` what a
linear function would owe to each input. `guided_backprop` and `deconvnet` change the
rule of ReLUs, and show what the first layers see more than what the output needs;
`deeplift` compares with a baseline step by step. `grad_cam` is a map of the places of a
layer.

Everything is for one example: `jit` and `vmap` outside. Biases get nothing here:
`explain(..., baseline="zero")` says what they are to blame for.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from sparsejax import interpret, lift
from sparsejax.relevance import _starts as starts
from sparsejax.relevance import _targets as targets
from sparsejax.relevance._explain import Relevance, explain
from sparsejax.relevance._rules import Rules


def gradient(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    *,
    target: Any = None,
    at: str | None = None,
) -> Float[Array, "..."]:
    """The gradient of the output to the input, of x's shape.

    Args:
        fn: any JAX function `fn(params, x)`, in evaluation mode.
        params: its parameters.
        x: one example.
        target: what to explain, as in `explain`: an index, weights of the outputs, a
            function of the output, or None for an output that is one number.
        at: a named activation in place of x, as in `explain`; x may then be any.

    Raises:
        ValueError: for an output without a choice or a target that does not fit; and,
            outside `jit`, if x, the output or the result is not finite.

    Example:
        >>> fn = lambda params, x: jnp.sum(params * x**2)
        >>> gradient(fn, 3.0, jnp.ones(2)).tolist()
        [6.0, 6.0]

    Reference: Simonyan et al., "Deep Inside Convolutional Networks", 2013 (arXiv
    1312.6034).
    """
    fn, x = starts.begin(fn, params, x, at)
    slope = jax.value_and_grad(targets.number(fn, target), 1)
    value, slopes = interpret.whole(slope, params, x)
    targets.check_finite({"x": x, "output": value, "input": slopes})
    return slopes


def gradient_x_input(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    *,
    target: Any = None,
    at: str | None = None,
    baseline: Float[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """(x - baseline) times the gradient; the baseline is zero by default.

    Of ReLU networks it is LRP-0, and lacks what the biases are due.

    Example:
        >>> fn = lambda params, x: params @ x
        >>> gradient_x_input(fn, jnp.ones(2), jnp.array([1.0, -2.0])).tolist()
        [1.0, -2.0]

    Reference: Ancona et al., "Towards better understanding of gradient-based
    attribution methods", 2018 (arXiv 1711.06104).
    """
    fn, x = starts.begin(fn, params, x, at)
    step = x if baseline is None else x - targets.baseline(x, baseline)
    result = step * gradient(fn, params, x, target=target)
    targets.check_finite({"input": result})
    return result


def guided_backprop(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    *,
    target: Any = None,
    at: str | None = None,
) -> PyTree[Float[Array, "..."]]:
    """The gradient, but ReLUs pass only what is positive on the way back too.

    Example:
        >>> fn = lambda w, x: jax.nn.relu(x) @ w
        >>> w, x = jnp.array([1.0, -1.0, 1.0]), jnp.array([-1.0, 2.0, 3.0])
        >>> gradient(fn, w, x).tolist(), guided_backprop(fn, w, x).tolist()
        ([0.0, -1.0, 1.0], [0.0, 0.0, 1.0])

    Reference: Springenberg et al., "Striving for Simplicity: The All Convolutional
    Net", 2014 (arXiv 1412.6806).
    """
    rules = Rules(nonlinear="guided")
    return explain(fn, params, x, target=target, at=at, rules=rules).multiplier


def deconvnet(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    *,
    target: Any = None,
    at: str | None = None,
) -> PyTree[Float[Array, "..."]]:
    """The gradient, but nonlinearities act on what comes back instead of their slope.

    Example:
        >>> fn = lambda w, x: jax.nn.relu(x) @ w
        >>> w, x = jnp.array([1.0, -1.0, 1.0]), jnp.array([-1.0, 2.0, 3.0])
        >>> gradient(fn, w, x).tolist(), deconvnet(fn, w, x).tolist()
        ([0.0, -1.0, 1.0], [1.0, 0.0, 1.0])

    Reference: Zeiler and Fergus, "Visualizing and Understanding Convolutional
    Networks", 2013 (arXiv 1311.2901).
    """
    rules = Rules(nonlinear="repeat")
    return explain(fn, params, x, target=target, at=at, rules=rules).multiplier


def deeplift(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    baseline: PyTree,
    *,
    target: Any = None,
    at: str | None = None,
    rules: Rules | None = None,
) -> Relevance:
    """Shares of f(x) - f(baseline), step by step: `explain` against a baseline.

    Example:
        >>> fn = lambda w, x: jax.nn.relu(x @ w - 1.0)
        >>> r = deeplift(fn, jnp.ones(2), jnp.array([3.0, 1.0]), baseline=jnp.zeros(2))
        >>> r.input.tolist()  # 3 in the shares 3 and 1 of 4
        [2.25, 0.75]

    Reference: Shrikumar et al., "Learning Important Features Through Propagating
    Activation Differences", 2017 (arXiv 1704.02685).
    """
    if baseline is None or isinstance(baseline, str):
        raise ValueError(f"baseline must be an array like x, got {baseline!r}")
    return explain(fn, params, x, target=target, at=at, baseline=baseline, rules=rules)


def grad_cam(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    node: str,
    *,
    target: Any = None,
    positive: bool = True,
) -> Float[Array, "..."]:
    """Where a layer's channels speak for the output.

    map = relu(sum_c w_c A_c), w_c the mean over places of the gradient to channel A_c.

    Args:
        fn, params, target: as in `gradient`.
        x: one example, whatever fn takes.
        node: a named activation, (*places, channels), the last layer of convolutions
            by custom.
        positive: whether to cut off what speaks against the output.

    Returns:
        Shape of the places; `jax.image.resize` takes it to the size of x.

    Raises:
        ValueError: as in `gradient`; and if fn names no such activation, or it has no
            places.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda w, x: (checkpoint_name(x, "maps") @ w).sum()
        >>> maps = jnp.array([[4.0, 0.0], [0.0, 4.0]])  # two places, two channels
        >>> grad_cam(fn, jnp.array([1.0, -1.0]), maps, "maps").tolist()
        [4.0, 0.0]

    Reference: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization", 2017 (arXiv 1610.02391).
    """
    starts.anything(x)
    read = lift.activations(fn, node, units=True)
    _, found = interpret.whole(read, params, x)
    acts = found[node]
    if acts.ndim < 2:
        raise ValueError(
            f"activation {node!r} has shape {acts.shape}; grad_cam needs places and "
            "channels, such as (height, width, channels)"
        )

    def run(acts):
        edited = lift.edit(fn, {node: lambda _: acts})
        return targets.number(edited, target)(params, x)

    def cam(acts):
        value, slopes = jax.value_and_grad(run)(acts)
        maps = acts @ slopes.mean(range(acts.ndim - 1))
        return value, maps, jnp.maximum(maps, 0) if positive else maps

    value, maps, result = interpret.whole(cam, acts)
    targets.check_finite({"x": x, "output": value, "map": maps})
    return result
