"""What circuits are looked for in: a function with named activations, and examples."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sparsejax import lift, masks
from sparsejax.interpret import Compiled


class Examples(NamedTuple):
    """Inputs that losses are means over.

    Attributes:
        x: shape (n, ...).
        y: labels, or None.
        corrupted: as many other inputs, whose activations can stand in.
    """

    x: Any
    y: Any
    corrupted: Any


@dataclasses.dataclass(frozen=True)
class Case:
    """A network whose circuits are looked for.

    Attributes:
        title: what it is, in a few words.
        fn: `fn(params, x)`, of many examples, with named activations.
        params: its parameters.
        nodes: masks of ones by name, in the order of depth.
        examples: that finders see.
        held_out: others, or None.
        sample: inputs and labels that mean activations are taken over.
        metric: usual loss of a circuit.
        untrained: parameters before training, or None.
        units: numbers of the nodes that can be left out, among all of them counted one
            name after the other; None for all.
        circuits: all that are minimal under zero ablation, where they are known.
        embedding: name of the activation that tokens are looked up as, or None.
        architecture: sizes of a transformer whose nodes are its heads, for the page.
    """

    title: str
    fn: Callable
    params: PyTree
    nodes: dict[str, Array]
    examples: Examples
    held_out: Examples | None = None
    sample: tuple[Any, Any] | None = None
    metric: str = "cross_entropy"
    untrained: PyTree | None = None
    units: np.ndarray | None = None
    circuits: tuple[frozenset[int], ...] | None = None
    embedding: str | None = None
    architecture: dict[str, int] | None = None

    @property
    def count(self) -> int:
        """Number of nodes that can be left out."""
        if self.units is not None:
            return len(self.units)
        return sum(int(np.size(mask)) for mask in self.nodes.values())

    @property
    def own(self) -> dict[str, Array]:
        """Masks of ones of the nodes that can be left out."""
        if self.units is None:
            return self.nodes
        counts = {k: int(part.sum()) for k, part in self._parts().items()}
        return {name: jnp.ones(count) for name, count in counts.items() if count}

    @property
    def labels(self) -> list[str]:
        """Names of these, as in `z_0[3]`."""
        every = [
            f"{name}[{i}]" if np.size(mask) > 1 else name
            for name, mask in self.nodes.items()
            for i in range(np.size(mask))
        ]
        return every if self.units is None else [every[i] for i in self.units]

    def whole(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Masks of all nodes from those that can be left out: the others are kept."""
        if self.units is None:
            return own
        full = {}
        for name, part in self._parts().items():
            flat, at = jnp.ones(part.size), np.flatnonzero(part)
            flat = flat.at[at].set(own[name]) if len(at) else flat
            full[name] = flat.reshape(np.shape(self.nodes[name]))
        return full

    def _parts(self) -> dict[str, np.ndarray]:
        """Which nodes of every name can be left out."""
        sizes = [int(np.size(mask)) for mask in self.nodes.values()]
        every = np.isin(np.arange(sum(sizes)), [] if self.units is None else self.units)
        parts = np.split(every, np.cumsum(sizes)[:-1])
        return dict(zip(self.nodes, parts, strict=True))


def case(
    fn: Callable,
    params: PyTree,
    x: Any,
    y: Any = None,
    *,
    title: str = "a function",
    nodes: Mapping[str, Any] | None = None,
    corrupted: Any = None,
    held_out: tuple[Any, ...] | None = None,
    untrained: PyTree | None = None,
    embedding: str | None = None,
) -> Case:
    """Any function of one's own, for `run(config, folder, case(...))`.

    Args:
        fn: `fn(params, x)`, any JAX function with activations named by
            `checkpoint_name`; x has a leading axis of examples.
        params: its parameters.
        x: examples.
        y: integer labels, of outputs that are logits; without them the loss of a
            circuit is KL(full || circuit).
        title: what it is, in a few words.
        nodes: masks of ones by name, in the order of depth; by default all units of all
            named activations. For heads, `masks.ones(..., axes={"z_0": -2}).nodes`.
        corrupted: as many other inputs, for the ablation "resample"; by default the
            examples in another order.
        held_out: further examples (x, y) or (x, y, corrupted).
        untrained: parameters before training, for controls; by default the given ones
            in random order.
        embedding: name of the activation that tokens are looked up as, for finders
            that move inputs.

    Example:
        >>> from sparsejax.models import planted
        >>> network = planted.gates()
        >>> one = case(network.model.apply, network.params, network.x, title="gates")
        >>> one.count, one.labels[:2]
        (8, ['hidden_0[0]', 'hidden_0[1]'])
    """
    if nodes is None:
        nodes = masks.ones(fn, params, x).nodes
    others = None
    if held_out is not None:
        others = examples(*held_out)
    return Case(
        title=title,
        fn=fn,
        params=params,
        nodes=dict(nodes),
        examples=examples(x, y, corrupted),
        held_out=others,
        metric="kl" if y is None else "cross_entropy",
        untrained=untrained,
        embedding=embedding,
    )


def narrowed(case: Case, count: int | None) -> Case:
    """The case with the nodes that vary most over its examples, or all that vary.

    Args:
        case: of all nodes.
        count: how many can be left out; by default all that vary.
    """
    acts = Compiled(lift.activations(case.fn, [*case.nodes]))
    values = acts(case.params, case.examples.x)[1]
    spread = np.concatenate(
        [_spread(values[name], mask) for name, mask in case.nodes.items()]
    )
    order = np.argsort(-spread, kind="stable")[:count]
    units = np.sort(order[spread[order] > 0])
    if not len(units):
        raise ValueError(
            f"{case.title}: no node varies over the {len(case.examples.x)} examples, "
            "so that there is no circuit to find"
        )
    return case if len(units) == len(spread) else dataclasses.replace(case, units=units)


def examples(x: Any, y: Any = None, corrupted: Any = None) -> Examples:
    """Examples, with themselves in another order where no others are given."""
    if corrupted is None:
        order = np.random.default_rng(0).permutation(len(x))
        corrupted = x[np.roll(order, 1)[np.argsort(order)]]  # none in its own place
    elif np.shape(corrupted) != np.shape(x):
        raise ValueError(
            f"corrupted inputs have shape {np.shape(corrupted)}, the examples "
            f"{np.shape(x)}; expected as many of the same shape"
        )
    return Examples(x, y, corrupted)


def _spread(value: Array, mask: Any) -> np.ndarray:
    """The deviation over examples of each node, of all that is in it together."""
    squares = np.asarray(value, np.float64).var(0)
    shape = np.shape(mask)
    squares = squares.mean(tuple(range(squares.ndim - len(shape))))
    alone = tuple(i for i, size in enumerate(shape) if size == 1)
    return np.sqrt(squares.mean(alone)).reshape(-1)
