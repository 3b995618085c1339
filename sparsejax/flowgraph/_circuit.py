"""Circuits that are proved to do what the whole network does, on a box of inputs.

Units are removed while a proof says that they may be. The difference of the network and
of the network with masks is traced once, the masks being inputs; for every set of units
they are numbers, and what is equal in both becomes equal in the graph.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike

from sparsejax import checks, pages, trees
from sparsejax.flowgraph import _claims, _search
from sparsejax.flowgraph._certify import Certificate
from sparsejax.flowgraph._predicate import Decision, Predicate, Units

MINIMAL = ("quasi", "local", "subset", "cardinal")
_OPEN = " as far as proved"  # where sets were left open


class CertifiedCircuit(NamedTuple):
    """A circuit, and what is proved of it.

    Attributes:
        masks: 0 for the units that are removed.
        size: how many units are left, of `total`.
        total: how many units could be removed.
        certificate: that of the circuit.
        minimal: what is known: "quasi" (some unit cannot be removed), "local" (no
            single unit can), "subset" (nor can several) or "cardinal" (no valid set is
            smaller); or "subset if monotone", "cardinal if monotone": on the condition
            that a set that contains a valid one is valid, which `monotone` is about.
            Followed by "as far as proved" where sets were left open.
        left_open: how many sets were neither proved nor refuted. They were taken as not
            valid: if some are, a smaller circuit may be there.
        monotone: how many pairs of the sets that were decided contradict that; where
            there are any, `minimal` is "local" instead.
        decisions: every set that was tried, in turn.
        seconds: time of every step, and of the rest.
    """

    masks: dict[str, np.ndarray]
    size: int
    total: int
    certificate: Certificate
    minimal: str
    left_open: int
    monotone: int
    decisions: tuple[Decision, ...]
    seconds: dict[str, float]

    @pages.display
    def _repr_html_(self) -> str:
        rows = [
            (name, int(mask.sum()), mask.size,
             ", ".join(map(str, np.flatnonzero(mask)[:24])))
            for name, mask in self.masks.items()
        ]  # fmt: skip
        header = ("activation", "kept", "of", "which units (24 at most)")
        return pages.output(pages.listing(rows, header, title="Certified"), str(self))

    def __str__(self) -> str:
        words = {True: "proved", False: "refuted", None: "left open"}
        counts = Counter(f"{words[d.proved]} by {d.by}" for d in self.decisions)
        decided = ", ".join(f"{n} {what}" for what, n in counts.most_common())
        known = f"{self.minimal.removesuffix(_OPEN)} minimal"
        if self.left_open:
            sets = "1 set was" if self.left_open == 1 else f"{self.left_open} sets were"
            known += f"{_OPEN}: {sets} left open"
        return (
            f"{self.size} of {self.total} units ({known}), "
            f"proved within {self.certificate.bound:.3g} by {self.certificate.by}; "
            f"{len(self.decisions)} sets: {decided}; "
            f"{sum(self.seconds.values()):.2f} s"
        )


def certified_circuit(
    fn: Callable,
    masks: Mapping[str, ArrayLike] | Any,
    x: ArrayLike | Any,
    low: ArrayLike | Any,
    high: ArrayLike | Any,
    *,
    delta: float | Any | None = None,
    same_decision: bool = False,
    margin: float | Any = 0.0,
    patched: bool = False,
    minimal: str = "local",
    order: ArrayLike | Any = None,
    samples: int = 256,
    time_limit: float | Any = 10.0,
    max_proofs: int | Any = 2000,
) -> CertifiedCircuit:
    """A small set of units with which a network provably does the same on a box.

    Args:
        fn: `fn(masks, x) -> array`, the network with units times masks; what takes the
            place of a removed unit is its own choice.
        masks: {name: array} of ones, and zeros for what is removed already.
        x, low, high: an input, and the ends of the box, as of `certify`.
        delta: by how much an output may differ.
        same_decision, margin: or that the decision stays, as of `certify`.
        patched: whether `fn` is `fn(masks, x, other)`, where removed units have the
            values that they have at `other`, another input of the box.
        minimal: "quasi": bisection along `order`, few proofs; "local": units go one by
            one until none can; "subset": then all subsets are tried, if there are at
            most 1,024; "cardinal": a smallest set, out of all of them or, from 11 units
            on, by hitting sets, which rest on monotonicity (see the result).
        order: numbers of the units, counted through the masks, those to be removed
            first in front; by default those whose removal changes samples least.
        samples: how many inputs to try before any proof.
        time_limit: seconds for each mixed-integer program; infinite for no limit.
        max_proofs: number of different sets after which a cardinal search gives up:
            the result is then a local one.

    Returns:
        The circuit with its certificate.

    Raises:
        ValueError: as `certify`; for masks that are not of zeros and ones, an unknown
            `minimal`, an order that lacks units, and where even the whole network is
            not finite everywhere in the box, or does not keep its decision, or is not
            proved to.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> kernel = jnp.array([1.0, 1.0, 0.01])
        >>> def fn(masks, x):
        ...     return jax.nn.relu(x * kernel) * masks["h"]
        >>> ones = {"h": jnp.ones(3)}
        >>> found = certified_circuit(fn, ones, jnp.ones(3), 0, 1, delta=0.1)
        >>> found.masks["h"].tolist(), found.minimal
        ([1.0, 1.0, 0.0], 'local')
    """
    claim = _claims.claim(delta, same_decision, margin)
    if claim.limit is None:
        raise ValueError(
            "pass delta=, or same_decision=True: what the circuit must keep"
        )
    if minimal not in MINIMAL:
        known = trees.listed(MINIMAL)
        raise ValueError(f"unknown minimal {minimal!r}; there are {known}")
    max_proofs = checks.integer(max_proofs, "max_proofs", 1)
    box = _claims.box(x, low, high, same_decision, "fn, masks, ")
    units = Units(masks)
    predicate = Predicate(
        fn,
        units,
        box.twice() if patched else box,
        claim,
        samples=checks.integer(samples, "samples", 1),
        time_limit=_claims.number(time_limit, "time_limit", infinite=True),
    )
    whole = np.ones(units.count, bool)
    if not predicate(whole):
        raise ValueError(_without_circuit(predicate.certificate(whole)))
    order = predicate.order() if order is None else _order(order, units.count)
    kept, known = _minimal(predicate, whole, order, minimal, max_proofs)
    pairs = _search.contradictions(list(predicate.answers()))
    if pairs and known.endswith("monotone"):
        kept = _search.local(predicate, kept, order)
        known = "local"
    left_open = sum(decision.proved is None for decision in predicate.decisions)
    return CertifiedCircuit(
        units.split(np.float32(kept)), int(kept.sum()), units.count,
        predicate.certificate(kept), known + _OPEN * bool(left_open), left_open, pairs,
        tuple(predicate.decisions), predicate.times(),
    )  # fmt: skip


def _minimal(valid, whole, order, minimal, max_proofs) -> tuple[np.ndarray, str]:
    """A valid set, and what is known of its being minimal."""
    if minimal == "quasi":
        return _search.quasi(valid, order), "quasi"
    if minimal == "local":
        return _search.local(valid, whole, order), "local"
    if minimal == "subset":
        kept, sure = _search.subset(valid, whole, order)
        return kept, "subset" if sure else "subset if monotone"
    kept, sure = _search.cardinal(valid, order, max_proofs)
    if kept is None:
        return _search.local(valid, whole, order), "local"
    return kept, "cardinal" if sure else "cardinal if monotone"


def _without_circuit(whole: Certificate) -> str:
    """Why even the whole network is not valid."""
    if whole.proved is None:
        return (
            "it is not proved that the whole network does in this box what is asked of "
            f"circuits (left open by {whole.by}); choose a smaller box"
        )
    if not np.isfinite(whole.reached):
        return (
            f"the whole network is not finite in this box ({whole.by}); choose a "
            "smaller box"
        )
    return (
        "the whole network does not keep its decision in this box, or not by this "
        f"margin ({whole.by}); choose a smaller box"
    )


def _order(order: Any, count: int) -> np.ndarray:
    units = checks.units(order, count)
    if len(np.unique(units)) != count or len(units) != count:
        raise ValueError(f"order has {len(units)} units; expected each of {count} once")
    return units
