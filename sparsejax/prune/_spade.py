"""Pruning for one sample: what does the network compute *here*?

A sample is augmented to a batch of variations; every dense and convolution kernel then
loses the weights that its output on these variations can do without (`prune.obs`). What
is left is a network of its own, that any analysis can be applied to: a saliency map of
it, or a picture of what makes one of its units active, is about the sample. The network
itself is not changed.

All layers are pruned for what they read in the dense network, none for what is left of
those before it.
"""

import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Key, PyTree

from sparsejax import checks, trees
from sparsejax.data import augmentations
from sparsejax.prune._hessian import Hessian
from sparsejax.prune._kernels import Layer, layer_hessians
from sparsejax.prune._obs import Pruned, obs

Solve = Callable[[Array, Hessian, float, int], Pruned]


def spade(
    fn: Callable[[PyTree, Array], Any],
    params: PyTree,
    x: ArrayLike | Any,
    *,
    key: Key[Array, "*samples"] | Any,
    density: float | int | Mapping[str, float | int],
    samples: int = 256,
    augment: augmentations.Augment | None = None,
    damping: float | int = 0.01,
    block_size: int | None = None,
) -> Pruned:
    """Prune a network for one sample, or for each of several.

    Args:
        fn: any JAX function `fn(params, x)` of one example, in evaluation mode.
        params: its parameters.
        x: the sample, one array of real numbers; with `(n,)` keys, n samples, shape
            (n, ...).
        key: of the variations. Several samples come out as one by one with their keys
            (to rounding).
        density: share of each kernel's weights that is kept: one for all, or by path,
            patterns such as "layer3*" allowed, of which the last that fits counts;
            kernels that no pattern fits are left whole.
        samples: variations.
        augment: `augment(key, x) -> x`; by default `data.augmentations.standard`.
        damping: as in `obs`.
        block_size: as in `obs`, but by default as many inputs as a kernel has taps: 9
            for 3x3, 1 for dense layers, so that every input keeps the same share. With
            all inputs in one block, units that no variation wakes lose all weights.

    Returns:
        `Pruned(params, mask)`, with a leading axis for several samples.

    Raises:
        ValueError: for a sample, density or pattern that does not fit, values that are
            not finite or not real numbers, and a function without kernels.

    Example:
        >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
        >>> params = {"in": jnp.eye(2), "out": jnp.ones((2, 1))}
        >>> x = jnp.array([5.0, 0.0])  # the second unit has nothing to do
        >>> found = spade(
        ...     fn, params, x, key=jax.random.key(0), density={"out": 0.5}, block_size=2
        ... )
        >>> found.mask["out"].tolist()
        [[1.0], [0.0]]

    Reference: Moakhar et al., "SPADE: Sparsity-Guided Debugging for Deep Neural
    Networks", ICML 2024 (arXiv 2310.04519), Algorithm 1, with its solver SparseGPT.
    """
    checks.key(key)
    checks.array(x, floating=True)
    checks.arrays(params)
    if isinstance(x, Tracer):
        raise ValueError(
            "spade prunes in float64 on the host: call it outside jit, vmap and grad"
        )
    x = jnp.asarray(x)
    if key.ndim > 1 or (key.ndim and x.shape[:1] != key.shape):
        raise ValueError(
            f"{key.shape} keys do not fit samples of shape {x.shape}; several samples "
            "have a leading axis, and a key each"
        )
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if not np.isfinite(np.asarray(x)).all():
        raise ValueError("x has values that are NaN or infinite")
    shape = x.shape[bool(key.ndim) :]
    vary = augment or augmentations.standard(shape)
    if augment is None and len(shape) == 3 and (x.min() < 0 or x.max() > 1):
        raise ValueError(
            f"x is an image with values from {x.min():.3g} to {x.max():.3g}, and the "
            "usual variations are of values in [0, 1]: normalise inside fn, or pass "
            "augment="
        )
    try:
        jax.eval_shape(fn, params, jax.ShapeDtypeStruct(shape, x.dtype))
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise ValueError(
            f"fn takes no example of shape {shape}, {x.dtype}: "
            f"{checks.first_line(error)}"
        ) from error
    solve = partial(_surgery, damping=damping)

    def one(key, x):
        batch = augmentations.variations(vary, key, x, samples)
        return prune_layers(
            params, layer_hessians(fn, params, batch), density, solve, block_size
        )

    if not key.ndim:
        return one(key, x)
    many = [one(key[i], x[i]) for i in range(len(x))]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *many)


def prune_layers(
    params: PyTree,
    layers: list[Layer],
    density: float | int | Mapping[str, float | int],
    solve: Solve | None = None,
    block_size: int | None = None,
) -> Pruned:
    """Prune kernels for what they read; `spade` once the layers are known.

    Args:
        params: parameters.
        layers: from `layer_hessians`.
        density: as in `spade`.
        solve: `solve(kernel, state, density, block_size) -> Pruned`; by default `obs`.
        block_size: as in `spade`.

    Example:
        >>> fn = lambda params, x: x @ params["out"]
        >>> params = {"out": jnp.ones((2, 1))}
        >>> layers = layer_hessians(fn, params, jnp.array([[9.0, 0.1], [8.0, 0.2]]))
        >>> pruned = prune_layers(params, layers, 0.5, block_size=2)
        >>> pruned.mask["out"].tolist()
        [[1.0], [0.0]]
    """
    solve = solve or _surgery
    shares = _shares(density, [kernel.path for kernel, _ in layers])
    new = trees.by_path(params)
    masks = {p: jnp.ones((), jnp.result_type(leaf)) for p, leaf in new.items()}
    for kernel, state in layers:
        if kernel.path not in shares:
            continue
        leaf, block = new[kernel.path], block_size or kernel.taps
        as_used = jnp.asarray(np.asarray(leaf).reshape(-1)[kernel.places])
        try:
            pruned = solve(as_used, state, shares[kernel.path], block)
        except ValueError as error:
            raise ValueError(f"{kernel.path!r}: {error}") from error

        new[kernel.path], masks[kernel.path] = (
            _placed(np.asarray(values), kernel.places, leaf.shape) for values in pruned
        )
    build = partial(jax.tree.unflatten, jax.tree.structure(params))
    return Pruned(build(list(new.values())), build(list(masks.values())))


def _placed(values: np.ndarray, places: np.ndarray, shape) -> Array:
    """What stands at places of an array, the rest zeros."""
    flat = np.zeros(math.prod(shape), values.dtype)
    flat[places] = values
    return jnp.asarray(flat.reshape(shape))


def _surgery(kernel, state, density, block_size, damping=0.01) -> Pruned:
    return obs(kernel, state, density, block_size=block_size, damping=damping)


def _shares(density, paths: list[str]) -> dict[str, float]:
    """The density of every kernel that is pruned."""
    wanted = density if isinstance(density, Mapping) else {"*": density}
    shares = {}
    for pattern, share in wanted.items():
        if not 0 <= share <= 1:
            raise ValueError(f"density of {pattern!r} must be in [0, 1], got {share}")
        shares.update(dict.fromkeys(fitting(pattern, paths), share))
    return {path: float(share) for path, share in shares.items() if share < 1}


def fitting(pattern: str, paths: list[str]) -> list[str]:
    """The kernels that a pattern names, as they are or with wildcards."""
    named = [path for path in paths if path == pattern or fnmatchcase(path, pattern)]
    if not named:
        raise ValueError(f"no kernel fits {pattern!r}; there are {trees.listed(paths)}")
    return named
