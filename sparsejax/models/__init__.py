"""The shipped networks, as pure functions with named activations."""

from sparsejax.models import planted
from sparsejax.models._convolution import convolve
from sparsejax.models._modules import convnet, mlp, resnet
from sparsejax.models._resnets import normalize
from sparsejax.models._transformer import transformer
from sparsejax.models._variables import Model, is_trainable, linen

__all__ = [
    "Model",
    "convnet",
    "convolve",
    "is_trainable",
    "linen",
    "mlp",
    "normalize",
    "planted",
    "resnet",
    "transformer",
]


def __dir__() -> list[str]:
    return list(__all__)
