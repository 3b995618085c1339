"""The shipped networks, as pure functions with named activations.

Layers and initialisers are Flax Linen's; this is the only file that imports it. A model
is three pure functions. Its parameters are one flat tree, `{"dense_0": {"kernel": ...,
"bias": ...}, ...}`, that holds everything the network needs, statistics of batch
normalisation too. Any other Flax, Equinox or bare function serves as well: nothing else
in the library depends on `Model`.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, ArrayLike, Float, PyTree


class Model(NamedTuple):
    """A network as pure functions.

    Attributes:
        init: `init(key, x) -> params`; only the shape of `x` matters.
        apply: `apply(params, x) -> y`, in evaluation mode.
        train_apply: `train_apply(params, x, *, key) -> (y, params)`: the same in
            training mode, with parameters whose statistics are updated.
    """

    init: Callable
    apply: Callable
    train_apply: Callable


def mlp(
    features: Sequence[int], activation: Callable[[Array], Array] = jax.nn.relu
) -> Model:
    """A multilayer perceptron `(..., inputs) -> (..., features[-1])`.

    Args:
        features: units of every layer, the last being the outputs (logits).
        activation: after every layer but the last.

    Returns:
        A `Model` with parameters `dense_i/kernel` of shape `(in, out)` (He normal) and
        `dense_i/bias` (zero); activations are named `hidden_i`.

    Example:
        >>> model = mlp((32, 32, 10))
        >>> params = model.init(jax.random.key(0), jnp.zeros(784))
        >>> sum(layer["kernel"].size for layer in params.values())
        26432
    """
    return linen(_Mlp(tuple(features), activation))


def convnet(
    channels: Sequence[int] = (6, 6, 6),
    outputs: int = 10,
    activation: Callable[[Array], Array] = jax.nn.relu,
) -> Model:
    """3x3 convolutions without padding, then one dense layer.

    Args:
        channels: channels of every convolution.
        outputs: units of the dense layer (logits).
        activation: after every convolution.

    Returns:
        A `Model` of images `(..., height, width, channels)` with parameters
        `conv_i/kernel` of shape `(3, 3, in, out)` and `dense_0/kernel`; activations are
        named `hidden_i`, their units being the channels.
    """
    return linen(_ConvNet(tuple(channels), outputs, activation))


def linen(module: nn.Module) -> Model:
    """Any Flax Linen module as a `Model`.

    `module(x)` must evaluate; where it has statistics or dropout it must take
    `module(x, train=True)`, with `batch_stats` and a `dropout` stream.
    """
    accepts_train = "train" in inspect.signature(type(module).__call__).parameters
    mode = lambda train: {"train": train} if accepts_train else {}

    def init(key, x):
        return _merge(module.init(key, x))

    def apply(params, x):
        return module.apply(_split(params), x, **mode(False))

    def train_apply(params, x, *, key):
        y, updates = module.apply(
            _split(params), x, **mode(True), rngs={"dropout": key}, mutable=_STATS
        )
        return y, _merge({**_split(params), **updates})

    return Model(init, apply, train_apply)


def is_trainable(path: str, leaf: Any) -> bool:
    """Whether an optimizer should move a parameter: everything but statistics."""
    del leaf
    return path.rsplit("/", 1)[-1] not in _STATISTICS


_STATS = "batch_stats"
_STATISTICS = ("mean", "var")


def _merge(variables: PyTree) -> PyTree:
    """Linen's collections as one tree."""
    flat = traverse_util.flatten_dict(variables["params"])
    flat.update(traverse_util.flatten_dict(variables.get(_STATS, {})))
    return traverse_util.unflatten_dict(flat)


def _split(params: PyTree) -> dict[str, PyTree]:
    """The inverse of `_merge`."""
    flat = traverse_util.flatten_dict(params)
    parts: dict[str, dict] = {"params": {}, _STATS: {}}
    for path, leaf in flat.items():
        parts[_STATS if path[-1] in _STATISTICS else "params"][path] = leaf
    return {k: traverse_util.unflatten_dict(v) for k, v in parts.items() if v}


class _Mlp(nn.Module):
    features: tuple[int, ...]
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "*batch inputs"]):
        h = jnp.asarray(x)
        for i, units in enumerate(self.features[:-1]):
            h = self.activation(_dense(units, f"dense_{i}")(h))
            h = checkpoint_name(h, f"hidden_{i}")
        return _dense(self.features[-1], f"dense_{len(self.features) - 1}")(h)


class _ConvNet(nn.Module):
    channels: tuple[int, ...]
    outputs: int
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "*batch height width channels"]):
        h = jnp.asarray(x)
        if min(h.shape[-3:-1]) <= 2 * len(self.channels):
            raise ValueError(
                f"{len(self.channels)} 3x3 convolutions without padding need images of "
                f"more than {2 * len(self.channels)} pixels a side, got "
                f"{h.shape[-3]}x{h.shape[-2]}"
            )
        for i, units in enumerate(self.channels):
            conv = nn.Conv(
                units,
                (3, 3),
                padding="VALID",
                kernel_init=_he_normal,
                conv_general_dilated=_convolve,
                name=f"conv_{i}",
            )
            h = checkpoint_name(self.activation(conv(h)), f"hidden_{i}")
        return _dense(self.outputs, "dense_0")(h.reshape(*h.shape[:-3], -1))


def _dense(units: int, name: str) -> nn.Dense:
    return nn.Dense(units, kernel_init=_he_normal, name=name)


def _he_normal(key, shape, dtype=jnp.float32):
    if 0 in shape:  # a layer that `prune.compact` left without units
        return jnp.zeros(shape, dtype)
    return nn.initializers.he_normal()(key, shape, dtype)


def _convolve(x, kernel, strides, padding, **kwargs):
    """`lax.conv_general_dilated`, on CPUs as a dot product over patches.

    XLA's convolutions on CPU are slow inside loops and under `vmap`, that is, wherever
    we train (see `benchmarks/README.md`).
    """
    if jax.default_backend() != "cpu":
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **kwargs)
    height, width, inputs, units = kernel.shape
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    patches = [
        x[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)
    ]
    flat = kernel.reshape(height * width * inputs, units)
    return jnp.concatenate(patches, axis=-1) @ flat
