"""Units that no longer do anything, and the network without them.

After heavy pruning many units are left with no input (they are constant) or with no
output (they are unread); each can make others so. Structure alone decides here: a unit
that merely happens to be zero on the data is not touched.

For the shipped networks (`models.mlp`, `models.convnet`): layers named `conv_i` and
`dense_i`, applied in that order.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, PyTree

from sparsejax import checks, trees


class Idle(NamedTuple):
    """Hidden units of one layer that do nothing.

    Attributes:
        constant: nothing that varies with the input reaches the unit.
        unread: nothing that the unit computes reaches an output.
    """

    constant: Bool[np.ndarray, " units"]
    unread: Bool[np.ndarray, " units"]


def idle(params: PyTree) -> dict[str, Idle]:
    """Constant units (found forwards) and unread ones (found backwards).

    Args:
        params: parameters of `models.mlp` or `models.convnet`, removed weights zero.

    Returns:
        For each hidden layer, `{"hidden_0": Idle(constant, unread), ...}`.

    Raises:
        ValueError: for parameters of another network.
    """
    layers = _layers(params)
    links = [(_places(layers, i) != 0).any(axis=0) for i in range(len(layers))]
    varies = [np.ones(len(links[0]), bool)]
    for link in links:
        varies.append(link[varies[-1]].any(axis=0))
    read = [np.ones(links[-1].shape[1], bool)]
    for link in reversed(links[1:]):
        read.insert(0, link[:, read[0]].any(axis=1))
    return {
        f"hidden_{i}": Idle(~varies[i + 1], ~read[i]) for i in range(len(links) - 1)
    }


def compact(
    params: PyTree, activation: Callable[[Array], Array] | Any = jax.nn.relu
) -> tuple[PyTree, dict[str, np.ndarray]]:
    """The same function without its idle units; constants are folded into biases.

    Args:
        params: parameters of `models.mlp` or `models.convnet`, removed weights zero.
        activation: that of the model.

    Returns:
        Parameters of a narrower network of the same kind, equal as a function to
        rounding, and the indices of the units kept in each hidden layer. A layer may
        have no units left.

    Raises:
        ValueError: for parameters of another network, several networks, and inside
            `jit`: shapes depend on values.

    Example:
        >>> layer = lambda kernel, bias: {
        ...     "kernel": jnp.array(kernel), "bias": jnp.array(bias)}
        >>> params = {"dense_0": layer([[1.0, 0.0]], [0.0, 2.0]),
        ...           "dense_1": layer([[3.0], [5.0]], [1.0])}
        >>> small, kept = compact(params)
        >>> small["dense_1"]["bias"].item(), kept["hidden_0"].tolist()
        (11.0, [0])
    """
    if not callable(activation):
        raise ValueError(
            f"activation must be a function, got {checks.described(activation)}; "
            "compact takes parameters whose removed weights are zero: "
            "masks.apply(params, masks.weights)"
        )
    layers = _layers(params)
    lost = [*idle(params).values()]
    small, kept = {}, {}
    width = _places(layers, 0).shape[1]
    inputs, constant, fixed = np.arange(width), np.zeros(width), np.zeros(width, bool)
    for i, (name, kernel, bias) in enumerate(layers):
        places = _places(layers, i)
        bias = bias + constant[fixed] @ places[:, fixed].sum(axis=0)
        outputs = np.arange(len(bias))
        if i < len(lost):
            value = activation(jnp.asarray(bias, params[name]["bias"].dtype))
            constant, fixed = np.asarray(value, np.float64), lost[i].constant
            outputs = np.flatnonzero(~(lost[i].constant | lost[i].unread))
            kept[f"hidden_{i}"] = outputs
        taps = kernel.shape[:-2] if _is_conv(name) else ()
        rows = (*taps, len(inputs) if taps else len(places) * len(inputs))
        new = places[:, inputs][:, :, outputs].reshape(*rows, len(outputs))
        old = params[name]
        small[name] = {
            "bias": jnp.asarray(bias[outputs], old["bias"].dtype),
            "kernel": jnp.asarray(new, old["kernel"].dtype),
        }
        inputs = outputs
    return small, kept


def _layers(params) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, kernel and bias of every layer, in the order they are applied."""
    if problem := _problem(params):
        raise ValueError(
            "compact and idle are for the parameters of models.mlp and models.convnet, "
            "a dict of layers 'conv_i', then 'dense_i', with a 'kernel' and a 'bias' "
            f"each; {problem}. In other networks prune.remove_nodes lets biases take "
            "over what constant units add, in the shapes that they have"
        )

    def value(name, leaf):
        return np.asarray(params[name][leaf], np.float64)

    return [
        (name, value(name, "kernel"), value(name, "bias")) for name in _order(params)
    ]


def _order(params) -> list[str]:
    """Names of layers as they are applied, if all are those of the shipped networks."""

    def count(kind):
        return sum(str(name).startswith(f"{kind}_") for name in params)

    return [f"{kind}_{i}" for kind in ("conv", "dense") for i in range(count(kind))]


def _problem(params) -> str:
    """Why parameters are not those of a shipped network; "" if they are."""
    if not isinstance(params, Mapping):
        return f"this is {checks.described(params)}"
    order = _order(params)
    if other := [name for name in params if name not in order]:
        return f"there is {trees.listed(other, 4)}"
    if "dense_0" not in order:
        return "there is no 'dense_0'"
    before = None
    for name in order:
        if problem := _misfit(params[name], name, before):
            return f"{name!r} {problem}"
        before = np.shape(params[name]["kernel"])[-1]
    return ""


def _misfit(layer, name: str, before: int | None) -> str:
    """Why a layer is none of a shipped network, after one of so many units."""
    if not isinstance(layer, Mapping) or set(layer) != {"kernel", "bias"}:
        return f"is {checks.described(layer)}"
    kernel, bias = layer["kernel"], layer["bias"]
    for leaf in (kernel, bias):
        if isinstance(leaf, Tracer) or not checks.is_array(leaf):
            traced = ", which jit or vmap traces" * isinstance(leaf, Tracer)
            return f"has {checks.described(leaf)}{traced}"
    shape, axes = np.shape(kernel), 4 if _is_conv(name) else 2
    if len(shape) != axes or np.shape(bias) != shape[-1:]:
        stacked = "; pass one network at a time" * (len(shape) > axes)
        return f"has shapes {shape} and {np.shape(bias)}{stacked}"
    places = before is not None and name == "dense_0"  # of an image, for every unit
    if before is not None and (shape[-2] % max(before, 1) if places else
                               shape[-2] != before):  # fmt: skip
        return f"reads {shape[-2]} units, after a layer of {before}"
    return ""


def _places(layers, i) -> np.ndarray:
    """A kernel as `(places, inputs, outputs)`: all that one unit is multiplied by.

    A place is a tap of a convolution, or a pixel of the image that a dense layer reads.
    """
    name, kernel, _ = layers[i]
    width = kernel.shape[-2] if i == 0 or _is_conv(name) else len(layers[i - 1][2])
    places = math.prod(kernel.shape[:-1]) // max(width, 1)
    return kernel.reshape(places, width, kernel.shape[-1])


def _is_conv(name: str) -> bool:
    return name.startswith("conv")
