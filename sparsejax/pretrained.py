"""Parameters that others have trained: without PyTorch, without running their code."""

import json
import math
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sparsejax import trees

_DTYPES = {
    "F64": "f8", "F32": "f4", "F16": "f2", "BF16": "bfloat16", "I64": "i8", "I32": "i4",
    "I16": "i2", "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_NORM = {
    "weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var",
}  # fmt: skip


def load(path: str | os.PathLike[str], model: Any) -> PyTree:
    """Parameters of a `models.resnet` from PyTorch's, in a `.safetensors` file.

    Args:
        path: the file; names as in torchvision, timm and the usual CIFAR ResNets,
            "module." before them or not.
        model: what they are for, a `models.Model`.

    Raises:
        ValueError: for a file that is no whole safetensors file, and parameters that
            are not those of the model.
        OSError: if it cannot be opened.
    """
    arrays = {}
    for name, array in safetensors(path).items():
        *module, kind = name.removeprefix("module.").split(".")
        if kind == "num_batches_tracked":
            continue
        if array.ndim > 1:
            kind = "kernel"
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        elif "/".join(module[-1:]) not in ("linear", "fc"):
            kind = _NORM.get(kind, kind)
        arrays["/".join([*module, kind])] = array
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
    make = lambda name, leaf: jnp.asarray(arrays[name].astype(leaf.dtype))
    return trees.map_with_path(make, like)


def safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All arrays of a `.safetensors` file, by name.

    Raises:
        ValueError: if it is truncated or no such file.
        OSError: if it cannot be opened.
    """
    with open(path, "rb") as file:
        raw = file.read()
    wrong = lambda what: ValueError(f"{path} is no whole safetensors file: {what}")
    start = 8 + int.from_bytes(raw[:8], "little")
    if not 8 < start <= len(raw):
        raise wrong(f"its header would end at byte {start:,} of {len(raw):,}")
    try:
        header = json.loads(raw[8:start])
        entries = {k: dict(v) for k, v in header.items() if k != "__metadata__"}
        return {name: _array(entry, raw[start:]) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise wrong(error) from None


def _array(entry: dict[str, Any], raw: bytes) -> np.ndarray:
    dtype = jnp.dtype(_DTYPES[entry["dtype"]])
    shape, (start, stop) = tuple(entry["shape"]), entry["data_offsets"]
    if not 0 <= start <= stop <= len(raw):
        raise ValueError(f"data to byte {stop:,}, and there are {len(raw):,}")
    if stop - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{stop - start} bytes for {entry['dtype']}{shape}")
    return np.frombuffer(raw[start:stop], dtype).reshape(shape)
