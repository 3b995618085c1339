"""The shipped networks, as pure functions with named activations.

Layers and initialisers are Flax Linen's, which only this folder imports; `resnet` is
written out, to be exactly PyTorch's. A model is three pure functions. Its parameters
are one tree, `{"dense_0": {"kernel": ..., "bias": ...}, ...}`, that holds everything
the network needs, statistics of batch normalisation too (see `variables`). Any other
Flax, Equinox or bare function serves as well: nothing else in the library depends on
`Model`.
"""

from collections.abc import Callable, Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, ArrayLike, Float

from sparsejax import checks
from sparsejax.models import _resnets as resnets
from sparsejax.models._convolution import convolve
from sparsejax.models._variables import Model, linen


def mlp(
    widths: int | Iterable,
    outputs: int,
    activation: Callable[[Array], Array] = jax.nn.relu,
) -> Model:
    """A multilayer perceptron `(..., inputs) -> (..., outputs)`.

    Args:
        widths: units of every hidden layer; () for none.
        outputs: units of the last layer (logits).
        activation: after every layer but the last.

    Returns:
        A `Model` with parameters `dense_i/kernel` of shape `(in, out)` (He normal) and
        `dense_i/bias` (zero); activations are named `hidden_i`.

    Example:
        >>> model = mlp((32, 32), 10)
        >>> params = model.init(jax.random.key(0), jnp.zeros(784))
        >>> sum(layer["kernel"].size for layer in params.values())
        26432
    """
    widths = checks.sizes(widths, "widths", 0)
    outputs = checks.integer(outputs, "outputs", 0)
    return linen(_Mlp(widths, outputs, activation))


def convnet(
    widths: int | Iterable = (6, 6, 6),
    outputs: int = 10,
    activation: Callable[[Array], Array] = jax.nn.relu,
) -> Model:
    """3x3 convolutions without padding, then one dense layer.

    Args:
        widths: channels of every convolution.
        outputs: units of the dense layer (logits).
        activation: after every convolution.

    Returns:
        A `Model` of images `(..., height, width, channels)` with parameters
        `conv_i/kernel` of shape `(3, 3, in, out)` and `dense_0/kernel`; activations are
        named `hidden_i`, their units being the channels.

    Example:
        >>> model, image = convnet((4,), 2), jnp.zeros((8, 8, 1))
        >>> params = jax.eval_shape(model.init, jax.random.key(0), image)
        >>> params["conv_0"]["kernel"].shape, params["dense_0"]["kernel"].shape
        ((3, 3, 1, 4), (144, 2))
    """
    widths = checks.sizes(widths, "widths", 0)
    outputs = checks.integer(outputs, "outputs", 0)
    return linen(_ConvNet(widths, outputs, activation))


def resnet(
    depth: int = 20,
    outputs: int | None = None,
    widths: int | Iterable | None = None,
    stride: int | None = None,
) -> Model:
    """A residual network, for CIFAR (8, 14, 20, 32, 44, 56, 110) or ImageNet (18-50).

    Args:
        depth: how many layers.
        outputs: units of the last layer (logits); by default 10 or 1000.
        widths: channels of each stage; by default 16, 32, 64 or 64 to 512.
        stride: of the first convolution; by default 1 or 2. CIFAR's with stride 2 cost
            a quarter.

    Returns:
        A `Model` of images `(..., height, width, channels)` whose parameters have the
        names of PyTorch's (`conv1/kernel`, `layer1/0/bn2/scale`, ...). Activations are
        named `stem`, `layer2_0` (a block's output), `layer2_0_conv1`; their units are
        the channels.

    Raises:
        ValueError: for another depth or number of widths, and strides below 1.

    Example:
        >>> model, images = resnet(20), jnp.zeros((4, 32, 32, 3))
        >>> params = jax.eval_shape(model.init, jax.random.key(0), images)
        >>> params["layer1"]["0"]["conv1"]["kernel"].shape
        (3, 3, 16, 16)
        >>> jax.eval_shape(model.apply, params, images).shape
        (4, 10)
    """
    if depth not in resnets.DEPTHS:
        known = ", ".join(map(str, resnets.DEPTHS))
        raise ValueError(f"there is no ResNet-{depth}; expected one of {known}")
    small = depth not in (18, 34, 50)
    usual = (16, 32, 64) if small else (64, 128, 256, 512)
    widths = usual if widths is None else checks.sizes(widths, "widths")
    if len(widths) != len(usual):
        raise ValueError(f"ResNet-{depth} has {len(usual)} stages, got widths {widths}")
    outputs = (10 if small else 1000) if outputs is None else outputs
    outputs = checks.integer(outputs, "outputs", 1)
    stride = (1 if small else 2) if stride is None else stride
    first = checks.integer(stride, "stride", 1)

    def train_apply(params, x, *, key):
        checks.one_key(key)  # though nothing is drawn
        return resnets.apply(params, x, depth, first, train=True)

    return Model(
        lambda key, x: resnets.init(key, depth, outputs, widths, jnp.shape(x)[-1]),
        lambda params, x: resnets.apply(params, x, depth, first, train=False)[0],
        train_apply,
    )


class _Mlp(nn.Module):
    widths: tuple[int, ...]
    outputs: int
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "*batch inputs"]):
        h = jnp.asarray(x)
        for i, units in enumerate(self.widths):
            h = self.activation(_dense(units, f"dense_{i}")(h))
            h = checkpoint_name(h, f"hidden_{i}")
        return _dense(self.outputs, f"dense_{len(self.widths)}")(h)


class _ConvNet(nn.Module):
    widths: tuple[int, ...]
    outputs: int
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "*batch height width channels"]):
        h = jnp.asarray(x)
        if min(h.shape[-3:-1]) <= 2 * len(self.widths):
            raise ValueError(
                f"{len(self.widths)} 3x3 convolutions without padding need images of "
                f"more than {2 * len(self.widths)} pixels a side, got "
                f"{h.shape[-3]}x{h.shape[-2]}"
            )
        for i, units in enumerate(self.widths):
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
    """`convolve` as Flax calls it."""
    del strides, padding, kwargs  # always 1 and "VALID"
    return convolve(x, kernel)
