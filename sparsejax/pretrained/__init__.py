"""Parameters that others have trained: without PyTorch, without running their code."""

from sparsejax.pretrained._checkpoints import pth
from sparsejax.pretrained._loading import load
from sparsejax.pretrained._tensors import safetensors

__all__ = [
    "load",
    "pth",
    "safetensors",
]


def __dir__() -> list[str]:
    return list(__all__)
