"""Edges between named senders and the named sums that read them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sparsejax import checks, interpret, lift, trees
from sparsejax.interpret import Compiled


class Edges(NamedTuple):
    """A function whose edges can be masked.

    Attributes:
        nodes: masks of ones, one for every receiver, an entry for each of its senders.
        apply: `apply(params, nodes, x)`, for `task(..., apply=)`.
        names: names of all edges, as in "head_0[1]>read_q_1", in the flat order.
    """

    nodes: dict[str, Array]
    apply: Callable[[Any, Mapping[str, Array], Any], Any]
    names: tuple[str, ...]


class _Sender(NamedTuple):
    name: str
    head: int | None

    def of(self, value: Array) -> Array:
        return value if self.head is None else value[..., self.head, :]

    @property
    def label(self) -> str:
        return self.name if self.head is None else f"{self.name}[{self.head}]"


def edges(
    fn: Callable,
    params: Any,
    x: Any,
    senders: Iterable[str] | str,
    receivers: Iterable[str] | str,
    *,
    ablate: Mapping[str, Any] | None = None,
    tolerance: float = 1e-4,
) -> Edges:
    """Masks of the edges of a residual network, and the function under them.

    An edge that is off takes what its sender says now, with edges further up masked
    already, out of what its receiver reads: `receiver - (sender - value)`.

    Args:
        fn: `fn(params, x)`.
        params: its parameters.
        x: examples, to check the sums on.
        senders: names of activations that are added to the residual; one with an axis
            more than the receivers, the last but one, is as many senders (heads).
        receivers: names of what is read, each before its norm; with an edge from every
            sender that comes before it.
        ablate: `{sender: value}` in place of a sender; zero without an entry.
        tolerance: largest error of a sum, relative to the largest number in it.

    Returns:
        The `Edges`.

    Raises:
        ValueError: if a receiver is not a plain sum of the senders before it (and of
            what no sender changes), if one has none, or a name is unknown or in a loop.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name as name
        >>> def fn(params, x):
        ...     a = name(x, "embed")
        ...     b = name(name(a, "read_mlp") ** 2, "mlp")
        ...     return name(a + b, "read_out").sum(-1)
        >>> graph = edges(
        ...     fn, None, jnp.array([[1.0, 3.0]]), ["embed", "mlp"], ["read_mlp", "read_out"]
        ... )
        >>> graph.names
        ('embed>read_mlp', 'embed>read_out', 'mlp>read_out')
        >>> off = {**graph.nodes, "read_out": jnp.array([0.0, 1.0])}
        >>> graph.apply(None, off, jnp.array([[1.0, 3.0]])).tolist()
        [10.0]
    """  # noqa: E501
    sending, reading = checks.several(senders), checks.several(receivers)
    sites = interpret.sites(interpret.trace(fn, params, x))
    for site in lift.check_names(sites, [*sending, *reading], changed=True):
        lift.check_not_looped(site)
    incoming = _incoming(sites, sending, reading)
    if not isinstance(ablate, Mapping | None):
        raise ValueError(
            f"ablate is {checks.described(ablate)}; expected {{sender: value}}"
        )
    values = dict(ablate or {})
    _check_values(values, sites, sending)
    _check_sums(fn, params, x, incoming, tolerance)
    nodes = {name: jnp.ones(len(heads)) for name, heads in incoming.items()}
    names = [f"{s.label}>{name}" for name, heads in incoming.items() for s in heads]

    def apply(params, nodes, x):
        _check_masks(nodes, incoming)
        program = interpret.trace(fn, params, x)
        said: dict[str, Array] = {}

        def visit(name, value, operand):
            if name in incoming:
                value = value - _taken(incoming[name], nodes[name], said, values)
            if name in sending:
                said[name] = value
            return value, None

        stops = dict.fromkeys({*sending, *reading})
        return interpret.evaluate(program, stops, visit)[0]

    return Edges(nodes, apply, tuple(names))


def _incoming(sites, sending, reading) -> dict[str, list[_Sender]]:
    """The senders before every receiver, in the order of the program."""
    incoming: dict[str, list[_Sender]] = {}
    before: list[interpret.Site] = []
    for site in sites:
        if site.name in reading:
            incoming[site.name] = _heads(site, before)
        if site.name in sending:
            before.append(site)
    return incoming


def _heads(reader: interpret.Site, before) -> list[_Sender]:
    heads: list[_Sender] = []
    for site in before:
        if site.shape == reader.shape:
            heads.append(_Sender(site.name, None))
        elif (*site.shape[:-2], *site.shape[-1:]) == reader.shape:
            heads += [_Sender(site.name, head) for head in range(site.shape[-2])]
        else:
            raise ValueError(
                f"sender {site.name!r} has shape {site.shape}, receiver "
                f"{reader.name!r} {reader.shape}: expected the same, or one axis more "
                "before the last, of heads that are added up"
            )
    if not heads:
        raise ValueError(
            f"receiver {reader.name!r} comes before all senders, so that it has no "
            "edges; leave it out, or name what is sent before it"
        )
    return heads


def _taken(heads, mask, said, values) -> Array:
    """What the edges that are off take out of a receiver."""
    total = jnp.zeros(())
    for position, sender in enumerate(heads):
        value = said[sender.name]
        if values.get(sender.name) is not None:
            value = value - jnp.asarray(values[sender.name]).astype(value.dtype)
        off = 1 - mask[position].astype(value.dtype)
        total = total.astype(value.dtype) + off * sender.of(value)
    return total


def _check_sums(fn, params, x, incoming, tolerance: float) -> None:
    """A check that every receiver is what no sender changes, and all of them added."""
    senders = sorted({s.name for heads in incoming.values() for s in heads})
    names = [*incoming, *senders]

    def both(params, x):
        acts = lift.activations(fn, names)
        zero = lift.edit(fn, dict.fromkeys(senders, jnp.zeros_like))
        return acts(params, x)[1], lift.activations(zero, [*incoming])(params, x)[1]

    whole, rest = Compiled(both)(params, x)
    for name, heads in incoming.items():
        parts = [np.asarray(s.of(whole[s.name]), np.float64) for s in heads]
        total = np.asarray(rest[name], np.float64) + sum(parts)
        error = np.abs(total - np.asarray(whole[name], np.float64)).max()
        scale = max(np.abs(part).max() for part in (*parts, np.asarray(whole[name])))
        if not error <= tolerance * max(scale, 1e-30):
            raise ValueError(
                f"receiver {name!r} is not the sum of the senders before it (off by "
                f"{error:.3g} of {scale:.3g}): name the residual before its norm, and "
                "all that is added to it and not to others"
            )


def _check_values(values, sites, sending) -> None:
    by_name = {site.name: site for site in sites}
    for name, value in values.items():
        if name not in sending:
            raise ValueError(f"ablate has {name!r}, which is not one of the senders")
        shape = by_name[name].shape
        own = () if value is None else jnp.shape(value)
        pairs = zip(own[::-1], shape[::-1])
        if len(own) > len(shape) or any(
            size not in (1, whole) for size, whole in pairs
        ):
            raise ValueError(
                f"ablate[{name!r}] has shape {own}; expected one that "
                f"broadcasts to the sender's, {shape}"
            )


def _check_masks(nodes, incoming) -> None:
    unknown = [name for name in nodes if name not in incoming]
    if unknown:
        raise ValueError(
            f"edges into {unknown[0]!r}, which is none of the receivers: "
            f"{trees.listed(incoming)}"
        )
    for name, heads in incoming.items():
        if name not in nodes or jnp.shape(nodes[name]) != (len(heads),):
            got = jnp.shape(nodes[name]) if name in nodes else "nothing"
            raise ValueError(
                f"edges into {name!r}: expected a mask of shape ({len(heads)},), one "
                f"for each sender before it, got {got}"
            )
