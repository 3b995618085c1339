"""Named activations of a network, and their units, as configs choose them."""

from collections.abc import Callable, Iterable, Mapping

import jax
from jaxtyping import PyTree

from sparsejax import lift, trees

LOGITS = "logits"  # what an output is called among activations


def shapes(
    fn: Callable, params: PyTree, size: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """Shapes of all activations, in the order they are computed, and of the logits.

    Args:
        fn: `fn(params, x)` with named activations; its output is "logits".
        params: its parameters.
        size: shape of x.

    Raises:
        ValueError: if fn takes no x of this size.
    """
    found: dict[str, tuple[int, ...]] = {}

    def look(params, x):
        out, acts = lift.activations(fn)(params, x)
        found.update({name: leaf.shape for name, leaf in acts.items()})
        found[LOGITS] = out.shape

    try:
        jax.eval_shape(look, params, jax.ShapeDtypeStruct(size, "float32"))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the network takes no image of shape {size}: {error}"
        ) from error
    return found


def counts(fn: Callable, params: PyTree, size: tuple[int, ...]) -> dict[str, int]:
    """Numbers of units of all activations; arguments and errors as of `shapes`."""
    return {name: shape[-1] for name, shape in shapes(fn, params, size).items()}


def chosen(
    counts: Mapping[str, int], nodes: Iterable[str], units: Iterable[int]
) -> dict[str, list[int]]:
    """Numbers of units by node: those given, else all.

    Raises:
        ValueError: for a node or a unit that is not among `counts`.
    """
    numbers = {}
    for node in nodes:
        if node not in counts:
            raise ValueError(
                f"there is no activation {node!r}; there are {trees.listed(counts, 24)}"
            )
        numbers[node] = list(units) or list(range(counts[node]))
        wrong = [unit for unit in numbers[node] if not 0 <= unit < counts[node]]
        if wrong:
            raise ValueError(
                f"{node} has units 0 to {counts[node] - 1}, and no {wrong[0]}"
            )
    return numbers
