"""What there is to say of a circuit, and whether to believe it."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key

from sparsejax import checks
from sparsejax.circuits import _supersets as supersets_
from sparsejax.circuits._eliminate import eliminate
from sparsejax.circuits._losses import Losses
from sparsejax.circuits._nodes import layout, members, subset
from sparsejax.circuits._ranking import Ranking, checked_table
from sparsejax.circuits._supersets import Supersets
from sparsejax.circuits._text import text
from sparsejax.circuits._verdict import Control, verdict


class Alternatives(NamedTuple):
    """Other circuits that do as well.

    Attributes:
        sets: those of the same size, near the best, this one among them if it is near.
        slack: how far above the best their losses may be.
        necessary: nodes that all of them have.
        minimal: number of sets of any size that meet the target while no part of them
            does; None without a table or a target.
        exact: whether all sets were looked at, or those of finders alone.
    """

    sets: tuple[tuple[int, ...], ...]
    slack: float
    necessary: tuple[int, ...]
    minimal: int | None
    exact: bool


class _Sampling(NamedTuple):
    """How supersets are looked at."""

    chances: tuple[float, ...]
    count: int
    rng: np.random.Generator

    def above(self, losses: Losses, keep, values=None) -> Supersets:
        if values is not None:
            return supersets_.exactly(values, keep, self.chances)
        return supersets_.sampled(losses, keep, self.chances, self.count, self.rng)


class Report(NamedTuple):
    """A circuit with all that its loss alone does not say.

    Attributes:
        labels: names of the circuit's nodes.
        subset: their flat indices.
        n: number of nodes of the network.
        method: name of the finder.
        metric: name of the loss.
        ablation: what takes the place of the other nodes.
        target: loss that it had to meet; None for a set without one.
        loss: of the circuit.
        full: loss of all nodes.
        empty: loss of none.
        held_out: loss on other examples, or None.
        complement: loss of all other nodes without the circuit.
        supersets: losses together with others of the nodes.
        alternatives: other circuits that do as well.
        stability: mean overlap (Jaccard) with the sets of the same size of others; None
            without any.
        random: random sets of the same size: mean loss, and mean loss with others.
        controls: the same for what cannot have a circuit.
        faithful: True, False, or None where nothing speaks against it but no controls
            were given.
        reasons: why not.
    """

    labels: tuple[str, ...]
    subset: tuple[int, ...]
    n: int
    method: str
    metric: str
    ablation: str
    target: float | None
    loss: float
    full: float
    empty: float
    held_out: float | None
    complement: float
    supersets: Supersets
    alternatives: Alternatives
    stability: float | None
    random: Control
    controls: dict[str, Control]
    faithful: bool | None
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return text(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dictionaries, as JSON has them."""
        return _plain(self)


def report(
    loss: Callable,
    circuit: Ranking | Any,
    *,
    nodes: Mapping[str, Any],
    key: Key[Array, ""] | Any,
    target: float | None = None,
    table: ArrayLike | None = None,
    controls: Mapping[str, Callable] | None = None,
    held_out: Callable | None = None,
    others: Mapping[str, Any] | None = None,
    finder: Callable[..., Ranking] | None = None,
    supersets: int = 64,
    keep_prob: tuple[float, ...] = (0.5, 0.9),
    slack: float | None = None,
    metric: str | None = None,
    ablation: str | None = None,
    labels: Sequence[str] | None = None,
    batch_size: int = 32,
) -> Report:
    """Everything that a claim about a circuit needs, and whether controls refute it.

    A circuit is called faithful if its loss, and that of the network, meets the target,
    and its mean loss over supersets (at the first chance) is below half of that of
    random sets of its size and of every control's own circuit of its size. Random sets
    that meet the target, or a control's circuit that does so with others, refute it.

    Args:
        loss: function of masks like `nodes`, lower for a better circuit.
        circuit: a `Ranking`, of which the smallest set that meets the target is meant;
            or a set of nodes, as `subset` takes it.
        nodes: masks of ones, by name, in the order of depth.
        key: random key of the samples.
        target: loss that a circuit may have; for a ranking by default that of all
            nodes and a twentieth of what they save.
        table: losses of all 2^n subsets, of `hypercube.evaluate(*flat(loss, nodes))`.
        controls: losses of what cannot have a circuit, by name; see `controls`.
        held_out: the loss on other examples.
        others: rankings or sets of other seeds and finders, by name, to compare with.
        finder: what looks for the controls' circuits, `finder(loss, nodes)`; by default
            `eliminate`. The one that found the circuit is the fairest.
        supersets: number of samples where there is no table.
        keep_prob: chances that each of the other nodes is on.
        slack: how far above the best set other sets count as alternatives; by default
            as far as the target is above the loss of all nodes.
        metric: name of the loss, if it does not say itself.
        ablation: name of what takes the place of nodes, if the loss does not say.
        labels: names of all nodes, such as those of `edges`.
        batch_size: subsets evaluated at a time.

    Raises:
        ValueError: if no set of a ranking meets the target, or a loss is NaN.
    """
    own, random, control = _samplings(key, keep_prob, supersets)
    losses = Losses(loss, nodes, batch_size)
    n = losses.plan.count
    values = None if table is None else checked_table(table, n)
    empty, full = losses(np.stack([np.zeros(n, bool), np.ones(n, bool)]))
    span = abs(empty - full)
    if isinstance(circuit, Ranking):
        target = float(full + span / 20) if target is None else target
    keep = _keep(circuit, nodes, target)
    value, complement = losses(np.stack([keep, ~keep]))
    above = own.above(losses, keep, values)
    look = finder or functools.partial(eliminate, batch_size=batch_size)
    compared = {
        name: _control(Losses(c, nodes, batch_size), look(c, nodes), keep, control)
        for name, c in (controls or {}).items()
    }
    by_chance = _random(losses, keep, random)
    if slack is None:
        slack = float(span / 20 if target is None else max(target - full, 0.0))
    rows = {k: _row(o, nodes, int(keep.sum())) for k, o in (others or {}).items()}
    means = above.means[0]
    faithful, reasons = verdict(
        *map(float, (value, full, empty)), target, means, by_chance, compared
    )
    return Report(
        labels=_labels(labels, losses.plan.labels(), keep),
        subset=members(keep),
        n=n,
        method=circuit.method if isinstance(circuit, Ranking) else "given",
        metric=metric or getattr(loss, "metric", "loss"),
        ablation=ablation or getattr(loss, "ablation", "not said"),
        target=target,
        loss=float(value),
        full=float(full),
        empty=float(empty),
        held_out=None if held_out is None else Losses(held_out, nodes, 1).of(keep),
        complement=float(complement),
        supersets=above,
        alternatives=_alternatives(losses, values, keep, rows, slack, target),
        stability=_stability(keep, rows),
        random=by_chance,
        controls=compared,
        faithful=faithful,
        reasons=reasons,
    )


def _keep(circuit, nodes, target) -> Bool[np.ndarray, " n"]:
    if not isinstance(circuit, Ranking):
        return subset(circuit, nodes)
    size = circuit.smallest(target)
    if size is None:
        best = int(circuit.losses.argmin())
        raise ValueError(
            f"no set of the ranking meets the target {target:.6g}; its lowest loss is "
            f"{circuit.losses[best]:.6g}, of {best} nodes: raise target="
        )
    return circuit.keep[size]


def _labels(given, own, keep) -> tuple[str, ...]:
    names = own if given is None else [*given]
    if len(names) != len(keep):
        raise ValueError(
            f"labels are {len(names)}; expected one for each of the {len(keep)} nodes"
        )
    return tuple(name for name, kept in zip(names, keep, strict=True) if kept)


def _row(other, nodes, size: int) -> Bool[np.ndarray, " n"]:
    """The set of another finder, of the circuit's size if it is a ranking."""
    if isinstance(other, Ranking):
        if other.keep.shape[1] != layout(nodes).count:
            raise ValueError(
                f"a ranking among others is of {other.keep.shape[1]} nodes; expected "
                f"one of the {layout(nodes).count} nodes"
            )
        return other.keep[size]
    return subset(other, nodes)


def _control(losses: Losses, ranking: Ranking, keep, sampling: _Sampling) -> Control:
    """A control's own circuit of the same size."""
    size = int(keep.sum())
    above = sampling.above(losses, ranking.keep[size])
    full = losses.of(np.ones_like(keep))
    return Control(float(ranking.losses[size]), full, above.means[0])


def _random(losses: Losses, keep, sampling: _Sampling) -> Control:
    """Random sets of the same size, alone and with others."""
    rng, shape = sampling.rng, (sampling.count, len(keep))
    rows = rng.random(shape).argsort(axis=1) < keep.sum()
    more = rows | (rng.random(shape) < sampling.chances[0])
    full = losses.of(np.ones_like(keep))
    return Control(float(losses(rows).mean()), full, float(losses(more).mean()))


def _alternatives(losses, values, keep, rows, slack, target) -> Alternatives:
    if values is not None:
        sets = supersets_.near(values, keep, slack)
        count = None if target is None else supersets_.minimal_count(values, target)
    else:
        same = [row for row in rows.values() if row.sum() == keep.sum()]
        sets = np.unique(np.array([keep, *same]), axis=0)[::-1]
        costs: Float[np.ndarray, " sets"] = losses(sets)
        sets, count = sets[costs <= costs.min() + slack], None
    return Alternatives(
        tuple(members(row) for row in sets),
        slack,
        members(np.asarray(sets.all(0))),
        count,
        values is not None,
    )


def _stability(keep, rows) -> float | None:
    if not rows:
        return None
    overlaps = [
        (keep & row).sum() / max((keep | row).sum(), 1) for row in rows.values()
    ]
    return float(np.mean(overlaps))


def _samplings(key, keep_prob, supersets) -> list[_Sampling]:
    """How the circuit, random sets and controls are sampled, each by itself."""
    checks.one_key(key)
    chances = tuple(float(p) for p in checks.several(keep_prob))
    if not chances or not all(0 <= p <= 1 for p in chances):
        raise ValueError(f"keep_prob is {chances}; expected chances in [0, 1]")
    count = checks.integer(supersets, "supersets", 1)
    seeds = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))))
    return [_Sampling(chances, count, rng) for rng in seeds.spawn(3)]


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value
