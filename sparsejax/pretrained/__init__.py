"""Parameters that others have trained: without PyTorch, without running their code."""

from sparsejax.pretrained._checkpoints import pth as pth
from sparsejax.pretrained._loading import load as load
from sparsejax.pretrained._tensors import safetensors as safetensors
