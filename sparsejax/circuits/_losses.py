"""Losses of many subsets at a time, counted, none of them NaN."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from sparsejax import checks
from sparsejax.circuits._nodes import Layout, layout, members
from sparsejax.interpret import Compiled, derivable


class Losses:
    """The loss of subsets of nodes, a batch of them in one compiled call.

    Attributes:
        plan: layout of the nodes.
        count: evaluations so far: losses, and gradients where a finder takes them.
    """

    def __init__(self, loss: Callable, nodes: Mapping[str, Any], batch_size: int = 32):
        self.plan: Layout = layout(nodes)
        self.count = 0
        most = 1 << (self.plan.count).bit_length()  # no need of a larger batch
        self._batch = min(checks.integer(batch_size, "batch_size", 1), max(most, 8))
        self.of_vector = of_vector(loss, self.plan)
        self._program = Compiled(jax.vmap(self.of_vector))

    def __call__(self, rows: Bool[np.ndarray, "sets n"]) -> Float[np.ndarray, " sets"]:
        """The losses of sets, one a row, in float64."""
        total = len(rows)
        losses = np.zeros(total)
        for start in range(0, total, self._batch):
            part = rows[start : start + self._batch]
            padded = np.zeros((self._batch, self.plan.count), np.float32)
            padded[: len(part)] = part
            values = np.asarray(self._program(padded), np.float64)
            losses[start : start + len(part)] = values[: len(part)]
        self.count += total
        self._check(rows, losses)
        return losses

    def of(self, row: Bool[np.ndarray, " n"]) -> float:
        """The loss of one set."""
        return float(self(row[None])[0])

    def _check(self, rows, losses) -> None:
        bad = np.flatnonzero(np.isnan(losses))
        if len(bad):
            nodes = members(rows[bad[0]])
            some = list(nodes[:12]) + (["..."] if len(nodes) > 12 else [])
            raise ValueError(
                f"the loss is NaN for {len(bad)} of {len(losses)} sets, the first of "
                f"the {len(nodes)} nodes {some}; a finder cannot rank it: make the "
                "loss finite, or ablate by means (circuits.means) in place of zeros"
            )


def of_vector(loss: Callable, plan: Layout) -> Callable:
    """The loss as a function of one float vector over all nodes."""

    def fn(vector):
        value = jnp.asarray(loss(plan.split(vector)))
        if value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
            raise ValueError(
                f"loss returned {value.dtype} of shape {value.shape}; expected one "
                "real number, lower for a better circuit"
            )
        return value

    return derivable(fn)


def check_finite(array: np.ndarray, what: str) -> None:
    """A check that gradients or scores are numbers."""
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise ValueError(
            f"{what} of {bad} of {array.size} nodes are not finite; make the loss "
            "finite at masks between 0 and 1 too, or use circuits.eliminate, which "
            "needs no gradients"
        )
