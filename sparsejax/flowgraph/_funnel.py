"""One claim settled: attacks first, then proofs, each timed."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sparsejax.flowgraph import _prove
from sparsejax.flowgraph._attack import Attack
from sparsejax.flowgraph._claims import Claim
from sparsejax.flowgraph._exact import TOLERANCE
from sparsejax.flowgraph._structure import Structure


class Settled(NamedTuple):
    """The fields of a `Certificate`, the witness flat."""

    proved: bool | None
    bound: float
    witness: np.ndarray
    by: str
    reached: float


def settle(
    claim: Claim,
    attack: Attack,
    extra: Any,
    graph: Callable[[], tuple[Structure, bool]],
    time_limit: float,
    seconds: dict[str, float],
) -> Settled:
    """Refute a claim or prove it.

    Args:
        claim: what no output may exceed.
        attack: on the function of the graph.
        extra: what the attacked function takes besides the input.
        graph: makes the graph, on its box, and says whether it is defined in all of
            it, for sure: else nothing is proved.
        time_limit: seconds for each mixed-integer program.
        seconds: where the time of every step is added.
    """
    start = time.perf_counter()

    def lap(step: str) -> None:
        nonlocal start
        now = time.perf_counter()
        seconds[step] = seconds.get(step, 0.0) + now - start
        start = now

    found = attack.sample(extra)
    lap("samples")
    by = "samples"
    if not found.exceeds(np.inf if claim.limit is None else claim.limit):
        found = max(found, attack.climb(extra), key=lambda found: found.rank)
        by = "gradient"
        lap("gradient")
    if claim.limit is not None and found.exceeds(claim.limit):
        return Settled(False, np.inf, found.x, by, found.value)
    if claim.limit is None and found.exceeds(np.inf):
        raise ValueError(
            f"the difference is {found.value:g} at {_short(found.x)}, so that it has "
            "no largest value in this box; choose a smaller one"
        )
    small, defined = graph()
    lap("graph")
    limit, largest = claim.limit, claim.limit is None
    if limit is None:
        limit = _prove.value(small, found.x, claim.signs)
        limit += 5 * TOLERANCE * (1 + abs(limit))
    verdict = _prove.prove(small, claim.signs, limit, time_limit, largest, lap)
    if verdict.witness is not None:
        x = verdict.witness[: len(found.x)]  # behind it are the masks
        found = max(found, attack.at(x, extra), key=lambda found: found.rank)
    proved = verdict.proved
    if not defined and proved is not False:
        return Settled(None, np.inf, found.x, verdict.by, found.value)
    if proved is False and not found.exceeds(limit):
        proved = None  # above the limit by rounding alone
    return Settled(proved, verdict.bound + 0.0, found.x, verdict.by, found.value)


def _short(x: np.ndarray) -> str:
    """An input in a message."""
    more = ", ..." if len(x) > 4 else ""
    return f"({', '.join(f'{value:g}' for value in x[:4])}{more})"
