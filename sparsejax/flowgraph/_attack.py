"""Inputs of a box at which a function is large, by samples and by gradients.

Attacks prove nothing but that something is wrong; they are cheap, and compiled once for
all masks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 20  # of projected gradient
STARTS = 16  # of the samples, the best
POOL = 32  # inputs that were found before
ULPS = 16  # of the larger output, up to which a value may be rounding alone
_MOVE, _SLOWER = 0.5, 0.85  # of the box's sides, and from step to step


class Found(NamedTuple):
    """The largest value that was seen, and the flat input there.

    Not a number, where an output is none: that is more than any number. `rounding` is
    how far the value may be off by rounding.
    """

    value: float
    x: np.ndarray
    rounding: float

    @property
    def rank(self) -> float:
        """The value, by which findings are compared."""
        return np.inf if np.isnan(self.value) else self.value

    def exceeds(self, limit: float) -> bool:
        """Whether the value is above a limit, and not by rounding alone."""
        return self.rank == np.inf or self.value - limit > self.rounding


class Attack:
    """Attacks on the largest of a function's outputs, in a box.

    Args:
        fn: `fn(x, extra)` of a flat input, to a vector.
        low, high: the box, flat; its ends are rounded inwards to the inputs' dtype.
        samples: how many, half of them corners; and their `seed`.
        dtype: of the inputs.
        size: `size(x, extra)`, the largest number that the outputs are differences of:
            it says how much of a value may be rounding; by default 1.
    """

    def __init__(
        self,
        fn: Callable,
        low,
        high,
        *,
        samples: int,
        dtype,
        seed: int = 0,
        size: Callable | None = None,
    ):
        self.low, self.high = _inwards(low, high, dtype)
        rng = np.random.default_rng(seed)
        share = rng.uniform(size=(samples, len(low)))
        share[1::2] = share[1::2] > 0.5
        inside = low + share * (high - low)
        self.samples = np.clip(inside.astype(dtype), self.low, self.high)
        self._pool = [(self.low + self.high) / 2] * POOL
        self._next = 0

        def largest(x, extra):
            return fn(x, extra).max()

        def climbed(x, extra):
            gradient = jax.vmap(jax.value_and_grad(largest), (0, None))

            def step(state, k):
                x, best, at = state
                value, slope = gradient(x, extra)
                better = (value > best) | jnp.isnan(value)
                best = jnp.where(better, value, best)
                at = jnp.where(better[:, None], x, at)
                move = (_MOVE * _SLOWER**k).astype(dtype) * (self.high - self.low)
                way = jnp.where(jnp.isnan(slope), 0, jnp.sign(slope))
                x = jnp.clip(x + move * way, self.low, self.high)
                return (x, best, at), None

            start = x, jnp.full(len(x), -jnp.inf, dtype), x
            steps = jnp.arange(STEPS + 1, dtype=dtype)
            (_, _, at), _ = jax.lax.scan(step, start, steps)
            return at

        def measured(x, extra):
            scale = jnp.ones((), dtype) if size is None else size(x, extra)
            return largest(x, extra), scale

        self._ulps = ULPS * float(jnp.finfo(dtype).eps)
        self._measured = jax.jit(jax.vmap(measured, (0, None)))
        self._climbed = jax.jit(climbed)

    def sample(self, extra: Any = ()) -> Found:
        """The best of the samples and of what was found before."""
        return self._best(self._inputs(), extra)

    def climb(self, extra: Any = ()) -> Found:
        """The best after steps up the gradient, from the best samples."""
        x = self._inputs()
        best = np.argsort(-np.asarray(self._measured(x, extra)[0]))[:STARTS]
        starts = x[np.resize(best, STARTS)]
        return self.at(np.asarray(self._climbed(starts, extra)), extra)

    def remember(self, x: np.ndarray) -> None:
        """Try an input from now on: one that refutes a set often refutes others."""
        self._pool[self._next] = np.asarray(x, self.low.dtype)
        self._next = (self._next + 1) % POOL

    def at(self, x: np.ndarray, extra: Any = ()) -> Found:
        """The best of a few flat inputs, as the function computes it."""
        rows = np.clip(x.astype(self.low.dtype), self.low, self.high)
        rows = np.atleast_2d(rows)
        again = np.resize(np.arange(len(rows)), len(self.samples) + POOL)
        return self._best(rows[again], extra)  # compiled for one number of inputs

    def _inputs(self) -> np.ndarray:
        return np.concatenate([self.samples, np.stack(self._pool)])

    def _best(self, x: np.ndarray, extra) -> Found:
        values, sizes = (
            np.asarray(part, np.float64) for part in self._measured(x, extra)
        )
        at = int(np.argmax(np.where(np.isnan(values), np.inf, values)))
        rounding = self._ulps * sizes[at]
        return Found(float(values[at]), x[at].astype(np.float64), float(rounding))


def _inwards(low: np.ndarray, high: np.ndarray, dtype) -> tuple[np.ndarray, np.ndarray]:
    """The ends of a box in a dtype, rounded inwards; to nearest if none lies inside."""
    near = [np.asarray(end, dtype) for end in (low, high)]
    up, down = (np.nextafter(near[0], np.inf, dtype=dtype),
                np.nextafter(near[1], -np.inf, dtype=dtype))  # fmt: skip
    inner = (np.where(near[0] < np.asarray(low), up, near[0]),
             np.where(near[1] > np.asarray(high), down, near[1]))  # fmt: skip
    fits = inner[0] <= inner[1]
    return np.where(fits, inner[0], near[0]), np.where(fits, inner[1], near[1])
