"""One-sided non-negative factors of a kernel: few maps and few directions of channels.

Weights have signs, and the factorisation is of positive and negative weights side by
side, [relu(W), relu(-W)]:

- "unit": each unit by itself, side by side along the channels, so that maps are
  non-negative and channels signed: with n = 3 a picture in red, green and blue.
- "group": all units together, side by side along the units, so that channels are
  non-negative, directions among activations, and maps signed, one for every unit.

Starts from the singular vectors (NNDSVD), their zeros filled with the mean and with
three times the mean, goes down one column at a time (HALS) and keeps the better: no
key, the same result every time.

References:
    Voss et al., "Visualizing Weights", Distill, 2021.
    Boutsidis, Gallopoulos, "SVD based initialization: A head start for nonnegative
    matrix factorization", 2008.
    Cichocki, Phan, "Fast local algorithms for large scale nonnegative matrix and tensor
    factorizations", 2009.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Num

_TINY = 1e-6  # entries of the start below it count as zero


class Factors(NamedTuple):
    """Factors of a kernel, the largest first.

    Attributes:
        maps: where, in the size of the weights: shape (*places, n, units).
        channels: what, of norm 1, or 0 if the factor is empty: (n, channels, units) of
            form "unit", (n, channels) of "group". The kernel is about the sum over
            factors of maps * channels.
        error: norm of what is left of the non-negative matrix, relative to its own:
            (units,) or ().
    """

    maps: Float[Array, "*places n units"]
    channels: Float[Array, "n channels ..."]
    error: Float[Array, "..."]


def factor(
    kernel: Num[ArrayLike, "..."],
    n: int,
    form: str = "unit",
    *,
    steps: int = 400,
) -> Factors:
    """Non-negative factors of positive and negative weights.

    Args:
        kernel: of a convolution, a dense layer, or expanded weights: shape (*places,
            channels, units).
        n: how many factors. Where the matrix has no more rows or columns than that, it
            is its own factor, exactly, and the rest are zero.
        form: "unit" or "group".
        steps: of descent.

    Returns:
        `Factors`.

    Raises:
        ValueError: for another form, fewer than one factor, and a kernel that is not
            finite or has fewer than two axes.

    Example:
        >>> kernel = np.array([[1.0, 0.0], [-2.0, 0.0]], "f4")  # one unit is dead
        >>> found = factor(kernel, 1)
        >>> found.maps.round(2).tolist(), found.error.round(6).tolist()
        ([[2.240000009536743, 0.0]], [0.0, 0.0])
    """
    w = jnp.asarray(kernel)
    if w.ndim < 2 or not jnp.issubdtype(w.dtype, jnp.floating) or not w.size:
        raise ValueError(
            "a kernel has shape (..., channels, units), in floating point; got "
            f"{w.dtype}{w.shape}"
        )
    if not np.isfinite(w).all():
        raise ValueError("the kernel must be finite; it holds NaN or infinity")
    if n < 1 or steps < 0:
        raise ValueError(f"need n of at least 1 and steps, got n={n}, steps={steps}")
    if w.dtype.itemsize < 4:  # of 16 bits there is no decomposition
        w = w.astype(jnp.float32)
    *places, channels, units = w.shape
    flat = w.reshape(math.prod(places), channels, units)
    if form == "unit":
        sides = jnp.concatenate([jax.nn.relu(flat), jax.nn.relu(-flat)], 1)
        maps, both, error = _factors(jnp.moveaxis(sides, -1, 0), n, steps)
        signed = both[..., :channels] - both[..., channels:]
        maps, signed = jnp.moveaxis(maps, 0, -1), jnp.moveaxis(signed, 0, -1)
        return Factors(maps.reshape(*places, n, units), signed, error)
    if form == "group":
        rows = flat.swapaxes(1, 2).reshape(-1, channels)
        sides = jnp.concatenate([jax.nn.relu(rows), jax.nn.relu(-rows)])
        both, directions, error = (part[0] for part in _factors(sides[None], n, steps))
        signed = both[: len(rows)] - both[len(rows) :]
        signed = signed.reshape(*places, units, n).swapaxes(-1, -2)
        return Factors(signed, directions, error)
    raise ValueError(f'there is no form {form!r}; there are "unit" and "group"')


@partial(jax.jit, static_argnums=(1, 2))
def _factors(matrices: Float[Array, "k rows columns"], n: int, steps: int):
    """Maps (k, rows, n), channels (k, n, columns) and errors of many matrices."""
    rank = min(n, *matrices.shape[1:])
    more = [(0, n - rank)]
    solve = _exact if rank < n or rank == min(matrices.shape[1:]) else _descend

    def one(x):
        s, c = solve(x, rank, steps)
        size = jnp.linalg.norm(c, axis=1)
        s, c = s * size, c / jnp.where(size > 0, size, 1)[:, None]
        alive = jnp.linalg.norm(s, axis=0)
        order = jnp.argsort(-alive)
        c = jnp.where(alive[:, None] > 0, c, 0)
        left, whole = jnp.linalg.norm(x - s @ c), jnp.linalg.norm(x)
        error = jnp.where(whole > 0, left / jnp.where(whole > 0, whole, 1), 0)
        s, c = s[:, order], c[order]
        return jnp.pad(s, [(0, 0), *more]), jnp.pad(c, [*more, (0, 0)]), error

    return jax.vmap(one)(matrices)


def _exact(x, rank: int, steps: int):
    """A matrix as its own factor."""
    del steps
    same = jnp.eye(rank, dtype=x.dtype)
    return (same, x) if len(x) == rank else (x, same)


def _descend(x, n: int, steps: int):
    """The better of two descents."""

    def sweep(_, both):
        s, c = both
        s = _columns(s, x @ c.T, c @ c.T)
        c = _columns(c.T, x.T @ s, s.T @ s).T
        return s, c

    ends = [
        jax.lax.fori_loop(0, steps, sweep, _start(x, n, fill * x.mean()))
        for fill in (1, 3)
    ]
    left = [jnp.linalg.norm(x - s @ c) for s, c in ends]
    first = left[0] <= left[1]
    return jax.tree.map(lambda a, b: jnp.where(first, a, b), *ends)


def _columns(s, product, gram):
    """Each column in turn to its non-negative best, the others being what they are."""
    for t in range(s.shape[1]):
        own = gram[t, t]
        change = (product[:, t] - s @ gram[:, t]) / jnp.where(own > 0, own, 1)
        new = jnp.where(own > 0, jnp.maximum(s[:, t] + change, 0), s[:, t])
        s = s.at[:, t].set(new)
    return s


def _start(x, n: int, level):
    """NNDSVD: of every pair of singular vectors the heavier of its two signs."""
    u, sizes, v = jnp.linalg.svd(x, full_matrices=False)
    u, sizes, v = u[:, :n], sizes[:n], v[:n].T
    halves = [(jax.nn.relu(sign * u), jax.nn.relu(sign * v)) for sign in (1, -1)]
    norms = [[jnp.linalg.norm(part, axis=0) for part in half] for half in halves]
    (up, vp), (un, vn) = norms
    first = up * vp >= un * vn
    weight = jnp.where(first, up * vp, un * vn)

    def pick(i):
        return jnp.where(first, halves[0][i], halves[1][i]) / jnp.maximum(
            jnp.where(first, norms[0][i], norms[1][i]), _TINY
        )

    scale = jnp.sqrt(sizes * weight)

    def fill(part):
        return jnp.where(part < _TINY, level, part)

    return fill(scale * pick(0)), fill(scale * pick(1)).T
