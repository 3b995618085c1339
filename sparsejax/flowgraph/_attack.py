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
_MOVE, _SLOWER = 0.5, 0.85  # of the box's sides, and from step to step


class Found(NamedTuple):
    """The largest value that was seen, and the flat input there."""

    value: float
    x: np.ndarray


class Attack:
    """Attacks on the largest of a function's outputs, in a box.

    Args:
        fn: `fn(x, extra)` of a flat input, to a vector.
        low, high: the box, flat.
        samples: how many, half of them corners; and their `seed`.
        dtype: of the inputs.
    """

    def __init__(self, fn: Callable, low, high, *, samples: int, dtype, seed: int = 0):
        self.low, self.high = (np.asarray(end, dtype) for end in (low, high))
        self.ends = low, high
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
                better = value > best
                best = jnp.where(better, value, best)
                at = jnp.where(better[:, None], x, at)
                move = (_MOVE * _SLOWER**k).astype(dtype) * (self.high - self.low)
                x = jnp.clip(x + move * jnp.sign(slope), self.low, self.high)
                return (x, best, at), None

            start = x, jnp.full(len(x), -jnp.inf, dtype), x
            steps = jnp.arange(STEPS + 1, dtype=dtype)
            (_, best, at), _ = jax.lax.scan(step, start, steps)
            return best, at

        self._values = jax.jit(jax.vmap(largest, (0, None)))
        self._climbed = jax.jit(climbed)

    def sample(self, extra: Any = ()) -> Found:
        """The best of the samples and of what was found before."""
        return self._best(*self._sampled(extra))

    def climb(self, extra: Any = ()) -> Found:
        """The best after steps up the gradient, from the best samples."""
        x, values = self._sampled(extra)
        best = np.argsort(-values)[:STARTS]
        starts = x[np.resize(best, STARTS)]
        values, at = (np.asarray(part) for part in self._climbed(starts, extra))
        return self._best(at, values)

    def remember(self, x: np.ndarray) -> None:
        """Try an input from now on: one that refutes a set often refutes others."""
        self._pool[self._next] = np.asarray(x, self.low.dtype)
        self._next = (self._next + 1) % POOL

    def value(self, x: np.ndarray, extra: Any = ()) -> float:
        """The largest output at a flat input, as the function computes it."""
        rows = np.broadcast_to(x, (len(self.samples) + POOL, len(x)))
        return float(self._values(rows.astype(self.low.dtype), extra)[0])

    def _sampled(self, extra) -> tuple[np.ndarray, np.ndarray]:
        x = np.concatenate([self.samples, np.stack(self._pool)])
        return x, np.asarray(self._values(x, extra))

    def _best(self, x: np.ndarray, values: np.ndarray) -> Found:
        at = int(np.argmax(np.where(np.isnan(values), -np.inf, values)))
        flat = np.clip(np.asarray(x[at], np.float64), *self.ends)
        return Found(float(values[at]), flat)
