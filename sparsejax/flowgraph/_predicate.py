"""Whether a set of units does what all of them do: asked often, traced once.

The difference of the network and of the network with masks is one graph, in which the
masks are inputs; for every set of units they are numbers (`_fixed`), and what is equal
in both becomes equal in the graph.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import checks
from sparsejax.flowgraph import _claims, _funnel, _search
from sparsejax.flowgraph._attack import Attack
from sparsejax.flowgraph._certify import Certificate
from sparsejax.flowgraph._domain import Guarded


class Decision(NamedTuple):
    """One set of units, and what was found.

    Attributes:
        size: how many units it keeps.
        proved: whether it is valid; None where it is not known: it counts as invalid.
        by: "samples", "gradient", "interval", "linear" or "exact".
    """

    size: int
    proved: bool | None
    by: str


class Units:
    """Masks as one row of units: those that can be removed."""

    def __init__(self, masks: Any):
        if not isinstance(masks, Mapping) or not masks:
            raise ValueError(
                f"masks are {checks.described(masks)}; expected {{name: array of ones}}"
            )
        self.start = {
            name: _claims.check_mask(mask, f"masks[{name!r}]").astype(float)
            for name, mask in masks.items()
        }
        self.flat = np.concatenate([mask.reshape(-1) for mask in self.start.values()])
        self.there = np.flatnonzero(self.flat)
        self.count = len(self.there)
        if not self.count:
            raise ValueError("masks are all 0: there is no unit to remove")

    def split(self, row: Any) -> dict[str, Any]:
        """Masks of a value for every unit that can be removed."""
        if isinstance(row, np.ndarray):
            flat = np.zeros(len(self.flat), row.dtype)
            flat[self.there] = row
        else:
            flat = jnp.zeros(len(self.flat), row.dtype).at[self.there].set(row)
        masks, start = {}, 0
        for name, mask in self.start.items():
            masks[name] = flat[start : start + mask.size].reshape(mask.shape)
            start += mask.size
        return masks


class Predicate:
    """Whether a set of units is valid; every answer is remembered."""

    def __init__(self, fn, units: Units, box, claim, *, samples, time_limit):
        ones = units.split(np.ones(units.count, box.dtype))

        def full(*inputs):
            return fn({name: jnp.asarray(mask) for name, mask in ones.items()}, *inputs)

        self.units, self.box = units, box
        self.claim = claim = _claims.decided(claim, full, full, box)
        self.time_limit = time_limit
        self.decisions: list[Decision] = []
        self._seconds: dict[str, float] = {}
        self._known: dict[bytes, _funnel.Settled] = {}

        def outputs(flat, row):
            def circuit(*inputs):
                return fn(units.split(row), *inputs)

            return _claims.outputs(claim, full, circuit)(*box.split(flat))

        def scale(flat, row):
            def circuit(*inputs):
                return fn(units.split(row), *inputs)

            return _claims.size(claim, full, circuit)(*box.split(flat))

        size = len(box.low)
        inputs = jax.ShapeDtypeStruct((size + units.count,), box.dtype)
        self._graph = Guarded(lambda z: outputs(z[:size], z[size:]), inputs)
        self._attack = Attack(
            lambda flat, row: claim.signed(outputs(flat, row)),
            box.low, box.high, samples=samples, dtype=box.dtype, size=scale,
        )  # fmt: skip

    def __call__(self, kept: np.ndarray) -> bool:
        known = self._known.get(kept.tobytes())
        if known is None:
            known = _funnel.settle(
                self.claim, self._attack, self._row(kept),
                lambda: self._on(kept), self.time_limit, self._seconds,
            )  # fmt: skip
            self._known[kept.tobytes()] = known
            self.decisions.append(Decision(int(kept.sum()), known.proved, known.by))
            if known.proved is False and known.by != "samples":
                self._attack.remember(known.witness)
        return known.proved is True

    def answers(self):
        """The sets that were settled, and whether they are valid."""
        for key, settled in self._known.items():
            if settled.proved is not None:
                yield np.frombuffer(key, bool), settled.proved

    def certificate(self, kept: np.ndarray) -> Certificate:
        """What was proved of a set."""
        settled = self._known[kept.tobytes()]
        return Certificate(*settled._replace(witness=self.box.shaped(settled.witness)))

    def order(self) -> np.ndarray:
        """The units, those whose removal changes the samples least in front."""
        whole = np.ones(self.units.count, bool)
        changes = [
            self._attack.sample(self._row(_search.without(whole, unit))).value
            for unit in range(self.units.count)
        ]
        return np.argsort(changes, kind="stable")

    def times(self) -> dict[str, float]:
        """Seconds of every step."""
        return dict(self._seconds)

    def _row(self, kept: np.ndarray) -> np.ndarray:
        return kept.astype(self.box.dtype)

    def _on(self, kept: np.ndarray):
        low, high = (
            np.concatenate([end, kept]) for end in (self.box.low, self.box.high)
        )
        return self._graph.on(low, high)
