"""Units that no longer do anything, and the network without them.

After heavy pruning many units are left with no input (they are constant) or with no
output (they are unread); each can make others so. Structure alone decides here: a unit
that merely happens to be zero on the data is not touched.

For the shipped networks (`models.mlp`, `models.convnet`): layers named `conv_i` and
`dense_i`, applied in that order.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree


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
        ValueError: for a layer that is neither `conv_i` nor `dense_i`.
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
    params: PyTree, activation: Callable[[Array], Array] = jax.nn.relu
) -> tuple[PyTree, dict[str, np.ndarray]]:
    """The same function without its idle units; constants are folded into biases.

    Args:
        params: parameters of `models.mlp` or `models.convnet`, removed weights zero.
        activation: that of the model.

    Returns:
        Parameters of a narrower network of the same kind, equal as a function to
        rounding, and the indices of the units kept in each hidden layer. A layer may
        have no units left.

    Example:
        >>> layer = lambda kernel, bias: {
        ...     "kernel": jnp.array(kernel), "bias": jnp.array(bias)}
        >>> params = {"dense_0": layer([[1.0, 0.0]], [0.0, 2.0]),
        ...           "dense_1": layer([[3.0], [5.0]], [1.0])}
        >>> small, kept = compact(params)
        >>> small["dense_1"]["bias"].item(), kept["hidden_0"].tolist()
        (11.0, [0])
    """
    layers = _layers(params)
    lost = [*idle(params).values()]
    small, kept = {}, {}
    width = _places(layers, 0).shape[1]
    inputs, constant = np.arange(width), np.zeros(width)
    for i, (name, kernel, bias) in enumerate(layers):
        places = _places(layers, i)
        bias = bias + constant @ places.sum(axis=0)
        outputs = np.arange(len(bias))
        if i < len(lost):
            value = activation(jnp.asarray(bias, params[name]["bias"].dtype))
            constant = np.where(lost[i].constant, np.asarray(value, np.float64), 0)
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
    kinds = ("conv", "dense")
    parse = lambda name: (name.rpartition("_")[0], name.rpartition("_")[2])
    for name, layer in params.items():
        known = parse(name)[0] in kinds and parse(name)[1].isdigit()
        if not known or set(layer) != {"kernel", "bias"}:
            raise ValueError(
                f"layer {name!r} with {sorted(layer)} is not one of models.mlp or "
                "models.convnet; compact knows 'conv_i' and 'dense_i' alone"
            )
    order = sorted(params, key=lambda n: (kinds.index(parse(n)[0]), int(parse(n)[1])))
    value = lambda name, leaf: np.asarray(params[name][leaf], np.float64)
    return [(name, value(name, "kernel"), value(name, "bias")) for name in order]


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
