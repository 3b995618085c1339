"""Residual networks that compute what PyTorch's do, from parameters under its names.

Depths 20, 32, 44, 56 and 110 are those for CIFAR (He et al., section 4.2; shortcuts
without parameters, "option A"), 18, 34 and 50 those for ImageNet (v1.5: a bottleneck's
stride is in its 3x3 convolution). Padding is explicit and symmetric everywhere, which
"SAME" is not where there are strides.

Reference: He et al., "Deep Residual Learning for Image Recognition", 2016.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Key, PyTree

from sparsejax import checks
from sparsejax.models._convolution import convolve, pad

_IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_CIFAR = (8, 14, 20, 32, 44, 56, 110)
DEPTHS = (*sorted(_IMAGENET), *_CIFAR)
_EPSILON, _MOMENTUM = 1e-5, 0.9  # of batch normalisation


def normalize(
    x: Float[Array | np.ndarray, "*batch 3"],
) -> Float[Array | np.ndarray, "*batch 3"]:
    """Images in [0, 1] as networks trained on ImageNet and CIFAR-10 are given them.

    Less the mean and over the standard deviation of each colour in ImageNet.

    Example:
        >>> grey = np.full((1, 3), 0.5, np.float32)
        >>> [round(value, 2) for value in normalize(grey)[0].tolist()]
        [0.07, 0.2, 0.42]
    """
    mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
    return (x - mean) / std


def init(
    key: Key[Array, ""] | Any,
    depth: int,
    outputs: int,
    widths: tuple[int, ...],
    channels: int,
) -> PyTree:
    """He normal kernels, unit scales, zero biases."""
    checks.key(key)
    keys = iter(jax.random.split(key, 4 * depth))
    he = jax.nn.initializers.he_normal()

    def conv(size, into, out):
        return {"kernel": he(next(keys), (size, size, into, out))}

    small, bottleneck = depth in _CIFAR, depth >= 50 and depth not in _CIFAR
    params: dict[str, Any] = {
        "conv1": conv(3 if small else 7, channels, widths[0]),
        "bn1": _norm(widths[0]),
    }
    into = widths[0]
    for stage, block, width, stride in _blocks(depth, widths):
        out, made = 4 * width if bottleneck else width, {}
        sizes = [(1, into, width), (3, width, width), (1, width, out)]
        sizes = sizes if bottleneck else [(3, into, width), (3, width, width)]
        for i, (size, a, b) in enumerate(sizes, 1):
            made |= {f"conv{i}": conv(size, a, b), f"bn{i}": _norm(b)}
        if not small and (stride > 1 or into != out):
            made["downsample"] = {"0": conv(1, into, out), "1": _norm(out)}
        params.setdefault(f"layer{stage}", {})[str(block)] = made
        into = out
    last = "linear" if small else "fc"
    kernel = jax.nn.initializers.lecun_normal()(next(keys), (into, outputs))
    params[last] = {"kernel": kernel, "bias": jnp.zeros(outputs)}
    return params


def apply(
    params: PyTree,
    x: Float[Array, "*batch height width channels"],
    depth: int,
    first: int,
    train: bool,
) -> tuple[Float[Array, "*batch outputs"], PyTree]:
    """Logits, and parameters with new statistics (the same ones in evaluation).

    The first convolution has stride `first`.
    """
    small, widths = depth in _CIFAR, (1,) * 4
    new = jax.tree.map(lambda leaf: leaf, params)
    stem, after = params["conv1"]["kernel"], {"train": train}
    h = convolve(x, stem, first, 1 if small else 3)
    h, new["bn1"] = _normalize(params["bn1"], h, **after)
    h = checkpoint_name(jax.nn.relu(h), "stem")
    h = h if small else _max_pool(h)
    for stage, block, _, stride in _blocks(depth, widths):
        into, name = h, f"layer{stage}_{block}"
        made = params[f"layer{stage}"][str(block)]
        fresh = new[f"layer{stage}"][str(block)]
        count = 3 if "conv3" in made else 2
        for i in range(1, count + 1):
            kernel = made[f"conv{i}"]["kernel"]
            here = stride if i == count - 1 else 1
            h = convolve(h, kernel, here, kernel.shape[0] // 2)
            h, fresh[f"bn{i}"] = _normalize(made[f"bn{i}"], h, **after)
            if i < count:
                h = checkpoint_name(jax.nn.relu(h), f"{name}_conv{i}")
        if "downsample" in made:
            into = convolve(into, made["downsample"]["0"]["kernel"], stride)
            into, fresh["downsample"]["1"] = _normalize(
                made["downsample"]["1"], into, **after
            )
        elif into.shape != h.shape:
            into = _shortcut(into, h.shape[-1], stride)
        h = checkpoint_name(jax.nn.relu(h + into), name)
    last = params["linear" if small else "fc"]
    return h.mean((-3, -2)) @ last["kernel"] + last["bias"], new


def _blocks(depth: int, widths) -> Iterator[tuple[int, int, int, int]]:
    """Stage (from 1), block (from 0), width and stride."""
    stages = ((depth - 2) // 6,) * 3 if depth in _CIFAR else _IMAGENET[depth]
    for s, (count, width) in enumerate(zip(stages, widths, strict=False)):
        for b in range(count):
            yield s + 1, b, width, 2 if s and not b else 1


def _norm(width: int) -> dict[str, Array]:
    ones, zeros = jnp.ones(width), jnp.zeros(width)
    return {"scale": ones, "bias": zeros, "mean": zeros, "var": ones}


def _normalize(norm, h, train: bool):
    """Batch normalisation over all but the last axis, and its new statistics."""
    if not train:
        scale = norm["scale"] * jax.lax.rsqrt(norm["var"] + _EPSILON)
        return (h - norm["mean"]) * scale + norm["bias"], norm
    axes, count = tuple(range(h.ndim - 1)), h.size // h.shape[-1]
    mean, var = h.mean(axes), h.var(axes)
    scale = norm["scale"] * jax.lax.rsqrt(var + _EPSILON)

    def moved(old, new):
        return _MOMENTUM * old + (1 - _MOMENTUM) * new

    unbiased = var * (count / max(count - 1, 1))
    stats = {"mean": moved(norm["mean"], mean), "var": moved(norm["var"], unbiased)}
    return (h - mean) * scale + norm["bias"], {**norm, **stats}


def _shortcut(x, units: int, stride: int):
    """Every second pixel, and channels of zeros on both sides."""
    more = units - x.shape[-1]
    around = [(0, 0)] * (x.ndim - 1) + [(more // 2, more - more // 2)]
    return jnp.pad(x[..., ::stride, ::stride, :], around)


def _max_pool(x):
    """3x3 with stride 2, padded by what is never the maximum."""
    window = (1,) * (x.ndim - 3) + (3, 3, 1)
    strides = (1,) * (x.ndim - 3) + (2, 2, 1)
    x = pad(x, 1, -jnp.inf)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, "VALID")
