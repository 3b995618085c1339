"""Does an explanation depend on the parameters at all?

One that stays much the same while layer after layer is randomised shows the input, or
the architecture, not what the network has learnt. Guided backpropagation is the
classical case.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from sparsejax import checks, interpret, trees
from sparsejax.interpret import primitives as families
from sparsejax.relevance import _targets as targets
from sparsejax.relevance._metrics import rank_correlation


class Randomization(NamedTuple):
    """An explanation while layers are randomised, the last first.

    Attributes:
        layers: the layer that each stage randomised too.
        correlation: of each stage's map with the original, by ranks; NaN where all
            values of a map are equal.
        maps: the original, and that of every stage.
    """

    layers: tuple[str, ...]
    correlation: Float[Array, " stages"]
    maps: Float[Array, "stages+1 ..."]


def randomization_check(
    explain_fn: Callable[[PyTree], Array],
    params: PyTree,
    key: Key[Array, ""] | Any,
    *,
    layers: str | Iterable[str] | None = None,
) -> Randomization:
    """How an explanation changes while layers are randomised, from the last to all.

    The entries of each array of a layer are shuffled, which keeps their distribution;
    arrays of equal entries (new biases) stay as they are.

    Args:
        explain_fn: `explain_fn(params) -> map`, such as
            `lambda params: gradient(fn, params, x, target=3)`; take `abs` of it to
            leave signs out.
        params: its parameters.
        key: a key.
        layers: paths of modules or of parameters, one or several, the first layer
            first; by default all modules in the order in which products read their
            kernels.

    Returns:
        A `Randomization` with one stage per layer.

    Raises:
        ValueError: for a layer without parameters; if the order cannot be told
            (products in loops); and for maps that are not finite, or the original
            being the same everywhere.

    Example:
        >>> x = jnp.array([3.0, 1.0, 2.0])
        >>> params = {"a": jnp.array([1.0, 2.0, 3.0]), "b": jnp.array([4.0, 5.0])}
        >>> check = randomization_check(  # a map that asks the network nothing
        ...     lambda params: jnp.abs(x), params, jax.random.key(0), layers=["a", "b"]
        ... )
        >>> check.layers, check.correlation.tolist()
        (('b', 'a'), [1.0, 1.0])

    Reference: Adebayo et al., "Sanity Checks for Saliency Maps", 2018 (arXiv
    1810.03292).
    """
    checks.one_key(key)
    order = _order(explain_fn, params) if layers is None else [*checks.several(layers)]
    _check_layers(order, params)

    def found(params):
        return targets.score(explain_fn(params), "explain_fn(params)")

    maps = [found(params)]
    if bool(jnp.all(maps[0] == maps[0].ravel()[0])):
        raise ValueError("the map is the same everywhere; ranks say nothing of it")
    for layer in reversed(order):
        params = _shuffle(key, params, layer)
        maps.append(found(params))
    targets.check_finite({"map": maps})
    correlations = [rank_correlation(maps[0], one) for one in maps[1:]]
    return Randomization(
        tuple(reversed(order)), jnp.stack(correlations), jnp.stack(maps)
    )


def _shuffle(key, params, layer: str):
    """The parameters with the entries of one layer's arrays shuffled."""
    index = {path: i for i, path in enumerate(trees.by_path(params))}

    def leaf(path, array):
        if not _within(path, layer) or not _is_real(array):
            return array
        here = jax.random.fold_in(key, index[path])
        return jax.random.permutation(here, array.ravel()).reshape(array.shape)

    return trees.map_with_path(leaf, params)


def _check_layers(layers: list[str], params) -> None:
    paths = [path for path, leaf in trees.by_path(params).items() if _is_real(leaf)]
    if not layers:
        raise ValueError("there are no layers to randomise")
    for layer in layers:
        if not any(_within(path, layer) for path in paths):
            raise ValueError(
                f"no parameter lies in layer {layer!r}; there are {trees.listed(paths)}"
            )


def _order(explain_fn, params) -> list[str]:
    """Modules, or parameters on their own, as products first read them.

    Every value is the set of parameters that it depends on. Where a product takes data
    and a kernel, the data's parameters (of a normalisation, say) come first.
    """
    paths = [k for k, v in trees.by_path(params).items() if hasattr(v, "dtype")]
    seen: dict[int, None] = {}

    def rule(step, arguments):
        parts = [a if isinstance(a, frozenset) else frozenset() for a in arguments]
        if step.enter:
            return step.enter(parts, rule)
        if step.name in families.PRODUCTS:
            for part in sorted(parts, key=seen.keys().isdisjoint):
                seen.update(dict.fromkeys(sorted(part)))
        elif step.name in families.LOOPS:
            new = frozenset().union(*parts) - seen.keys()
            _check_loop(step, {_module(paths[i]) for i in sorted(new)})
            seen.update(dict.fromkeys(sorted(new)))
        return [frozenset().union(*parts)] * len(step.shared[0])

    program = interpret.trace(explain_fn, params)
    interpret.walk(program, [frozenset([i]) for i in range(len(paths))], rule)
    read = [*seen, *(i for i in range(len(paths)) if i not in seen)]
    return list(dict.fromkeys(_module(paths[i]) for i in read))


def _check_loop(step, modules: set[str]) -> None:
    if len(modules) > 1:
        raise ValueError(
            f"explain_fn reads {trees.listed(sorted(modules))} in a {step.name!r} at "
            f"{step.place}, so that their order cannot be told; pass layers=[...], the "
            "first layer first"
        )


def _module(path: str) -> str:
    """Where a parameter is; one that is nowhere is on its own."""
    return path.rsplit("/", 1)[0]


def _within(path: str, layer: str) -> bool:
    return path == layer or path.startswith(layer + "/")


def _is_real(leaf) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
