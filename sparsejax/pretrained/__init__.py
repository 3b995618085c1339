"""Parameters that others have trained: without PyTorch, without running their code."""

from sparsejax.pretrained.checkpoints import pth as pth
from sparsejax.pretrained.loading import load as load
from sparsejax.pretrained.tensors import safetensors as safetensors
