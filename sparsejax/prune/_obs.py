"""Optimal brain surgery: remove weights of one layer, the others make up for it.

What matters is the layer's output on given inputs, no labels and no training. With H
the Hessian of `prune.hessian`, the layer's new weights minimise (w - w0)' H (w - w0)
for each output under the mask that is chosen on the way.

- exact (`block_size=None`): one weight at a time, the one that costs least wherever it
  is in the layer, all others moving; inputs^3 operations for every output. For layers
  of up to some hundreds of inputs.
- SparseGPT (`block_size=b`): inputs from first to last, b at a time; of each block the
  weights that cost least go, every block keeps the same share, and only later inputs
  make up for what goes. About as many operations as two outputs of exact surgery, for
  all outputs together.

Inputs that are always zero cost nothing: their weights go first, and are left as they
are where not enough are to go.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import ArrayLike, PyTree

from sparsejax import _threads, checks, trees
from sparsejax.prune import _choice as choice
from sparsejax.prune import _surgeon as surgeon
from sparsejax.prune._amounts import Amount, decimal, kept_count
from sparsejax.prune._hessian import Hessian
from sparsejax.prune._hessian import hessian as summed


class Pruned(NamedTuple):
    """A kernel or a network after surgery.

    Attributes:
        params: new weights, exactly zero where the mask is: one array from `obs`, a
            tree of the structure of the old parameters from `spade` and `prune_layers`.
        mask: 0/1 arrays like `params`, as `Masks.weights`; a tree has 0-d ones for
            leaves that are no pruned kernel.
    """

    params: PyTree
    mask: PyTree


def obs(
    kernel: ArrayLike | Any,
    inputs: ArrayLike | Hessian | Any,
    density: Amount | None,
    *,
    mask: ArrayLike | Any | None = None,
    pattern: Sequence[int] | Any | None = None,
    damping: Amount = 0.01,
    block_size: int | Any | None = None,
) -> Pruned:
    """Prune a kernel so that its outputs on these inputs change least.

    Args:
        kernel: of a dense layer, shape (inputs, outputs), or of a convolution, shape
            (height, width, inputs, outputs), grouped or not.
        inputs: what the kernel multiplies: shape (rows, inputs), or for a convolution
            the `patches` of images, shape (groups, rows, height * width * inputs). Or
            the `Hessian` of all batches of them.
        density: part of all the kernel's weights that is kept, counted as by
            `kept_count(size, 1 - density)`; None keeps what `mask` or `pattern` says.
        mask: what may be kept; the rest goes first. With density None, the support.
        pattern: (n, m) keeps at most n of every m inputs in a row, for each output.
        damping: added to the diagonal of H, in units of its mean over inputs that are
            not always zero.
        block_size: None for exact surgery, else the number of inputs whose weights
            SparseGPT chooses from together (with a pattern it chooses from m).

    Returns:
        The new kernel and its mask. Weights that had nothing to make up for are the
        same to the bit.

    Raises:
        ValueError: for shapes that do not fit, values that are not finite, knobs out
            of range, and a Hessian that is singular without damping.

    Example:
        >>> x = np.array([[1.0, 1.0], [2.0, 2.0], [0.0, 0.1]])  # two inputs much alike
        >>> new, mask = obs(np.array([[1.0], [2.0]], "f4"), x, 0.5, damping=0)
        >>> new.round(2).tolist(), mask.tolist()
        ([[0.0], [3.0]], [[0.0], [1.0]])

    References:
        Hassibi, Stork, "Second order derivatives for network pruning: Optimal Brain
        Surgeon", 1992.
        Frantar, Singh, Alistarh, "Optimal Brain Compression", 2022, arXiv:2208.11580.
        Frantar, Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned
        in One-Shot", 2023, arXiv:2301.00774.
    """
    given = (kernel, mask, *(inputs if isinstance(inputs, Hessian) else [inputs]))
    if any(isinstance(array, Tracer) for array in given):
        raise ValueError(
            "obs computes in float64 on the host: call it outside jit, vmap and grad "
            "(prune.hessian and prune.patches may be inside)"
        )
    alive = None if mask is None else _allowed(mask, np.shape(kernel))
    raw, scale, dtype = _floats(kernel, alive)
    state = inputs if isinstance(inputs, Hessian) else summed(inputs)
    forms = _forms(state, raw.shape, damping)
    alive = np.ones(raw.shape, bool) if alive is None else alive
    if pattern is not None:
        pattern = _pattern(pattern, density, raw.shape)
    if block_size is not None:
        block_size = checks.integer(block_size, "block_size", least=1)
    keep = _count(density, alive)
    if density is not None and keep in (0, raw.size):
        kept = np.full(raw.shape, keep > 0)
        new = np.where(kept, raw * scale, 0)
        return Pruned(jnp.asarray(new, dtype), jnp.asarray(kept, dtype))
    weights, alive = _grouped(raw, len(forms)), _grouped(alive, len(forms))
    with _threads.one_thread():
        if block_size is None:
            kept = choice.cheapest(forms, weights, alive, keep, pattern)
            new = [surgeon.fit(*of) for of in zip(forms, weights, kept, strict=True)]
        else:
            block = pattern[1] if pattern else min(block_size, weights.shape[1])
            choosers = choice.by_block(alive, keep, pattern, block)
            each = zip(forms, weights, choosers, strict=True)
            new, kept = zip(*[surgeon.sweep(*of, block) for of in each], strict=True)

    def whole(groups):
        return np.stack([*groups], axis=1).reshape(raw.shape)

    new = whole(new) * scale
    return Pruned(jnp.asarray(new, dtype), jnp.asarray(whole(kept), dtype))


def _floats(kernel, alive) -> tuple[np.ndarray, float, Any]:
    """The kernel in float64 over a power of two, that power, and its dtype.

    Weights are at most 1, so that the squares of small ones are not lost.
    """
    known = checks.is_array(kernel) and np.ndim(kernel) >= 2
    if not known or not jnp.issubdtype(kernel.dtype, jnp.floating):
        raise ValueError(
            "a kernel has shape (inputs, outputs) or (height, width, inputs, outputs), "
            f"in floating point; got {checks.described(kernel)}"
        )
    raw = np.asarray(kernel).astype(np.float64)
    if bad := np.count_nonzero(~np.isfinite(raw)):
        gone = 0 if alive is None else np.count_nonzero(~np.isfinite(raw) & ~alive)
        more = f", {gone} where the mask removes: make them zero" if gone else ""
        raise ValueError(
            f"the kernel must be finite; {bad} of {raw.size} weights are NaN or "
            f"infinite{more}"
        )
    power = int(np.frexp(np.abs(raw).max(initial=0))[1])
    scale = float(np.ldexp(1.0, power))
    dtype = jax.dtypes.canonicalize_dtype(kernel.dtype)
    return np.ldexp(raw, -power), scale, dtype


def _forms(state: Hessian, shape, damping) -> list[surgeon.Form]:
    """A Hessian for each group, if they fit the kernel."""
    products, rows = np.asarray(state.products), int(state.rows)
    width = math.prod(shape[:-1])
    grouped = products.ndim == 3 and len(shape) > 2
    if products.shape[-2:] != (width, width) or products.ndim != 2 + grouped:
        raise ValueError(
            f"a kernel of shape {shape} multiplies rows of {width} inputs, but got a "
            f"Hessian of shape {products.shape}; for a convolution take inputs from "
            "prune.patches, for a dense layer join all axes before the last"
        )
    products = products if grouped else products[None]
    if shape[-1] % len(products):
        raise ValueError(
            f"{shape[-1]} outputs cannot be divided into {len(products)} groups"
        )
    if not np.isfinite(products).all() or rows < 1:
        raise ValueError(
            f"the Hessian of {rows} rows is not finite: look at the activations that "
            "this layer reads"
        )
    if not 0 <= (damping := float(decimal(damping, "damping", "[0, inf)"))):
        raise ValueError(f"damping must be 0 or more, got {damping}")
    return [surgeon.damped(p, rows, damping) for p in products]


def _allowed(mask, shape) -> np.ndarray:
    if not checks.is_array(mask):
        raise ValueError(f"the mask is {checks.described(mask)}, expected an array")
    mask = np.asarray(mask)
    if mask.shape != shape or not np.isin(mask, (0, 1)).all():
        raise ValueError(
            f"a mask has zeros and ones in the shape of the kernel, {shape}; got shape "
            f"{mask.shape} with values {trees.listed(np.unique(mask).tolist(), 4)}"
        )
    return mask != 0


def _pattern(pattern, density, shape) -> tuple[int, int]:
    pattern = checks.sizes(pattern, "pattern", least=0)
    if len(pattern) != 2:
        raise ValueError(f"a pattern is two integers (n, m), got {pattern}")
    n, m = pattern
    if density is not None:
        raise ValueError(
            f"the pattern {n}:{m} says how many weights are kept: pass density=None, "
            f"got {density}"
        )
    if not 0 <= n <= m or m < 1 or shape[-2] % m:
        raise ValueError(
            f"a pattern (n, m) keeps n of every m inputs, 0 <= n <= m, and m divides "
            f"the {shape[-2]} inputs; got {pattern}"
        )
    return n, m


def _count(density, alive) -> int:
    """How many weights are kept, at most those that are alive."""
    most = int(np.count_nonzero(alive))
    if density is None:
        return most
    part = decimal(density, "density", "[0, 1]")
    if not 0 <= part <= 1:
        raise ValueError(f"density must be in [0, 1], got {density}")
    kept = kept_count(alive.size, 1 - part) if part else 0
    if kept > most:
        raise ValueError(
            f"density {density} keeps {kept} of {alive.size} weights, but the mask has "
            f"only {most}"
        )
    return kept


def _grouped(array: np.ndarray, groups: int) -> np.ndarray:
    """A kernel as (groups, inputs, outputs): a group has its slice of all outputs."""
    width = math.prod(array.shape[:-1])
    return array.reshape(width, groups, -1).swapaxes(0, 1)
