"""What there is to say of a circuit, and whether to believe it."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Key

from sparsejax import checks, pages
from sparsejax.circuits._compared import (
    Alternatives,
    alternatives,
    of_control,
    of_random,
    row_of,
    samplings,
    stability,
)
from sparsejax.circuits._eliminate import eliminate
from sparsejax.circuits._hitting import HittingSet
from sparsejax.circuits._losses import Losses
from sparsejax.circuits._nodes import layout, members, subset
from sparsejax.circuits._ranking import Ranking, checked_table, sets_of
from sparsejax.circuits._supersets import Supersets
from sparsejax.circuits._text import html, text
from sparsejax.circuits._verdict import Control, verdict


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

    @pages.display
    def _repr_html_(self) -> str:
        return html(self)

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
    controls: Mapping[str, Callable] | Any = None,
    held_out: Callable | None = None,
    others: Mapping[str, Any] | Any = None,
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
            or a `HittingSet`, or a set of nodes, as `subset` takes it.
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
        ValueError: if no set of a ranking meets the target, a loss is NaN, those of no
            nodes or of all are infinite, or the table is of another loss.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> def loss(masks):
        ...     return (3 - masks["h"] @ jnp.array([2.0, 1.0, 0.0])) ** 2
        >>> nodes, key = {"h": jnp.ones(3)}, jax.random.key(0)
        >>> found = report(loss, [0, 1], nodes=nodes, key=key, target=0.5)
        >>> print(str(found).splitlines()[0])
        circuit of 2 of 3 nodes: h[0], h[1]
    """
    own, random, control = samplings(key, keep_prob, supersets)
    losses = Losses(loss, nodes, batch_size)
    n = losses.plan.count
    values = None if table is None else checked_table(table, n)
    empty, full = losses(np.stack([np.zeros(n, bool), np.ones(n, bool)]))
    span = abs(empty - full)
    if not np.isfinite(span):
        raise ValueError(
            f"the loss is {empty:g} of no nodes and {full:g} of all; expected finite "
            "numbers to compare a circuit with"
        )
    if slack is not None and not slack >= 0:
        raise ValueError(f"slack must be 0 or more, got {slack}")
    for name, losses_ in (("controls", controls), ("others", others)):
        if not isinstance(losses_, Mapping | None):
            raise ValueError(
                f"{name} is {checks.described(losses_)}; expected a dictionary by name"
            )
    if isinstance(circuit, Ranking):
        target = float(full + span / 20) if target is None else target
    keep = _keep(circuit, nodes, target)
    value, complement = losses(np.stack([keep, ~keep]))
    if values is not None:
        _check_table(values, keep, (empty, value, full), span)
    above = own.above(losses, keep, values)
    look = finder or functools.partial(eliminate, batch_size=batch_size)
    compared = {
        name: of_control(Losses(c, nodes, batch_size), look(c, nodes), keep, control)
        for name, c in (controls or {}).items()
    }
    by_chance = of_random(losses, keep, random)
    if slack is None:
        slack = float(span / 20 if target is None else max(target - full, 0.0))
    rows = {k: row_of(o, nodes, int(keep.sum())) for k, o in (others or {}).items()}
    ends = float(value), float(full), float(empty)
    faithful, reasons = verdict(*ends, target, above.means[0], by_chance, compared)
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
        alternatives=alternatives(losses, values, keep, rows, slack, target),
        stability=stability(keep, rows),
        random=by_chance,
        controls=compared,
        faithful=faithful,
        reasons=reasons,
    )


def _check_table(values, keep, own, span: float) -> None:
    """Refuse a table of another loss: of none, the circuit and all it says others."""
    number = int((keep * (1 << np.arange(len(keep), dtype=np.int64))).sum())
    table = values[[0, number, -1]]
    if not np.allclose(table, own, rtol=1e-3, atol=1e-3 * span):
        raise ValueError(
            f"the table is of another loss: {table.round(4).tolist()} for no nodes, "
            f"the circuit and all, the loss itself {np.round(own, 4).tolist()}; pass "
            "hypercube.evaluate(*flat(loss, nodes))"
        )


def _keep(circuit, nodes, target) -> Bool[np.ndarray, " n"]:
    if isinstance(circuit, HittingSet):
        circuit = circuit.subset
    if not isinstance(circuit, Ranking):
        return subset(circuit, nodes)
    sets_of(circuit, layout(nodes).count)
    size = circuit.smallest(target)
    if size is None:
        best = int(circuit.losses.argmin())
        raise ValueError(
            f"no set of the ranking meets the target {target:.6g}; its lowest loss is "
            f"{circuit.losses[best]:.6g}, of {best} nodes: raise target="
        )
    return circuit.keep[size]


def _labels(labels, own, keep) -> tuple[str, ...]:
    names = own if labels is None else [*labels]
    if len(names) != len(keep):
        raise ValueError(
            f"labels are {len(names)}; expected one for each of the {len(keep)} nodes"
        )
    return tuple(name for name, on in zip(names, keep, strict=True) if on)


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value
