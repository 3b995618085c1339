"""Parameters of residual networks out of files."""

import os
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sparsejax import _untrusted, trees
from sparsejax.pretrained._checkpoints import is_pth, pth
from sparsejax.pretrained._tensors import safetensors

_NORM = {
    "weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var",
}  # fmt: skip
_WRAPPERS = re.compile(
    r"^(?:(?:module|model|net|_orig_mod)\.)+|(?<=\.)_orig_mod\."
    r"|(?:^|(?<=\.))_(?:fsdp|checkpoint)_wrapped_module\."
)
# Layers of the ResNets in Hugging Face's transformers.
_STEM = r"embedder\.embedder"
_STAGE = r"encoder\.stages\.(?P<stage>\d+)\.layers\.(?P<block>\d+)"
_OTHERS = re.compile(
    rf"(?:resnet\.)?(?:{_STEM}|{_STAGE}\.(?:layer\.(?P<conv>\d+)|shortcut))"
    r"\.(?P<kind>convolution|normalization)"
)


def load(path: str | os.PathLike[str], model: Any) -> PyTree:
    """Parameters of a `models.resnet` from PyTorch's.

    Args:
        path: a `.safetensors` file, or one of `torch.save` (`.pth`, `.pth.tar`, `.bin`;
            told by what is in it); names as in torchvision, timm, the usual CIFAR
            ResNets or transformers, and what wrappers add to them: "module.", "model.",
            "net." before, "_orig_mod." anywhere.
        model: what they are for, a `models.Model`.

    Raises:
        ValueError: for a file that is not whole or not what `safetensors` and `pth`
            read, parameters that are not those of the model, and such as are no
            floating point numbers.
        OSError: if it cannot be opened.

    Example:
        With torchvision's file at hand:

            model = models.resnet(18)
            params = load("resnet18-f37072fd.pth", model)
            logits = model.apply(params, models.normalize(images))
    """
    _untrusted.check_regular(path)
    with open(path, "rb") as file:
        read = pth if is_pth(file.read(512)) else safetensors
    with _untrusted.reading(path):
        return _fitted(path, read(path), model)


def _fitted(path: Any, tensors: dict[str, np.ndarray], model: Any) -> PyTree:
    """Tensors of PyTorch's names and axes as parameters of the model."""
    arrays: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        module, _, kind = _WRAPPERS.sub("", name).rpartition(".")
        if kind == "num_batches_tracked":
            continue
        if not jnp.issubdtype(array.dtype, np.floating):
            raise ValueError(
                f"{path}: {name} is {array.dtype}; expected floating point"
            )
        kind = "kernel" if array.ndim > 1 else _NORM.get(kind, kind)
        if array.ndim > 1:
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        ours = _layer(module).replace(".", "/") + "/" + kind
        if ours in arrays:
            raise ValueError(f"{path} has {ours} twice, the second time as {name}")
        arrays[ours] = array
    like = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((224, 224, 3)))
    shapes = trees.by_path(like)
    extra = sorted(arrays.keys() - shapes.keys())
    missing = sorted(shapes.keys() - arrays.keys())
    if extra or missing:
        raise ValueError(
            f"{path} is of another network: the model lacks {trees.listed(extra, 4)}, "
            f"the file lacks {trees.listed(missing, 4)}"
        )
    for name, leaf in shapes.items():
        if arrays[name].shape != leaf.shape:
            raise ValueError(
                f"{path}: {name} has shape {arrays[name].shape}, and {leaf.shape} in "
                "the model"
            )

    def make(name, leaf):
        return jnp.asarray(arrays[name].astype(leaf.dtype))

    return trees.map_with_path(make, like)


def _layer(name: str) -> str:
    """The name of a layer as torchvision has it."""
    if name == "classifier.1":
        return "fc"
    found = _OTHERS.fullmatch(name)
    if not found:
        return name
    layer = {"convolution": "conv", "normalization": "bn"}[found["kind"]]
    if not found["stage"]:
        return f"{layer}1"
    block = f"layer{int(found['stage']) + 1}.{found['block']}"
    if not found["conv"]:
        return f"{block}.downsample.{0 if layer == 'conv' else 1}"
    return f"{block}.{layer}{int(found['conv']) + 1}"
