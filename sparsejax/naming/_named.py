"""`points` and `named`: list the activations of a function, and put names in."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jax.ad_checkpoint import checkpoint_name

from sparsejax import checks, interpret
from sparsejax.naming._points import Point, Spot, spots
from sparsejax.naming._selection import check_views, selected, view_of
from sparsejax.naming._table import Points


def points(fn: Callable, params: Any, *args: Any, **kwargs: Any) -> Points:
    """What can be named in `fn(params, *args)`, and what can't, with the reason.

    Printed, it is a table to choose from.

    Args:
        fn: any JAX function whose first argument is its parameters.
        params, *args, **kwargs: what it is called with; shapes alone do
            (`jax.ShapeDtypeStruct`).

    Returns:
        A list of `Point`, in the order of the function.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params = {"a": {"w": jnp.ones((3, 4))}, "b": {"w": jnp.ones((4, 2))}}
        >>> fn = lambda p, x: jax.nn.relu(x @ p["a"]["w"]) @ p["b"]["w"]
        >>> points(fn, params, jnp.ones((5, 3)))
        4 activations can be named; sj.named(fn) names those with a *
           name    shape  units  steps
           a:in    5x3    3
           a:pre   5x4    4
        *  a:post  5x4    4             = b:in
           b:pre   5x2    2             = b:post; only the output is made of it
    """
    program = interpret.trace(fn, params, *args, **kwargs)
    return Points(spot.point for spot in spots(program, params))


def named(
    fn: Callable,
    names: str | Iterable[str] | Callable[[Point], bool] | None = None,
    *,
    views: Mapping[str, tuple[int, ...]] | None = None,
) -> Callable:
    """`fn` with names for its activations; its values and gradients are the same.

    Args:
        fn: any JAX function whose first argument is its parameters.
        names: which activations: a name, a pattern ("*:post"), several of them, or a
            predicate of a `Point`; an activation of several names that fit gets the
            first. By default what every layer makes (`:post`), unless only the output
            is made of it, and what is read of a product of two activations (`:in`:
            heads, gated units).
        views: patterns of names with the axes to see their units in: of
            `{"*/out:in": (12, -1)}` the last axis, heads and features, becomes two.

    Returns:
        A function of the same arguments that names what it makes, in loops too. It is
        equal to `named` of the same arguments, so that compiled functions are found
        again.

    Raises (when called):
        ValueError: for a name that is unknown or can't be given, a view that does not
            fit, or if `fn` multiplies no data by its parameters.

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> params = {"a": {"w": jnp.ones((3, 4))}, "b": {"w": jnp.ones((4, 2))}}
        >>> fn = lambda p, x: jax.nn.relu(x @ p["a"]["w"]) @ p["b"]["w"]
        >>> masks = sj.masks.ones(named(fn), params, jnp.ones((5, 3)))
        >>> {name: mask.shape for name, mask in masks.nodes.items()}
        {'a:post': (4,)}
    """
    wanted = names if names is None or callable(names) else checks.several(names)
    seen = [(pattern, tuple(view)) for pattern, view in (views or {}).items()]
    return _Named(fn, wanted, tuple(seen))


@dataclass(frozen=True)
class _Named:
    fn: Callable
    names: tuple[str, ...] | Callable[[Point], bool] | None
    views: tuple[tuple[str, tuple[int, ...]], ...]

    def __call__(self, params, *args, **kwargs):
        program = interpret.trace(self.fn, params, *args, **kwargs)
        wanted = selected(spots(program, params), self.names)
        check_views(self.views, wanted)
        already = {site.name for site in interpret.sites(program)}
        changes: dict[tuple[int, ...], Callable] = {}
        for spot in wanted:
            if spot.point.name in already:  # named(named(fn))
                continue
            assert spot.value.key is not None
            name = _naming(spot, view_of(spot.point, self.views))
            changes[spot.value.key] = _then(changes.get(spot.value.key), name)
        return interpret.replay(program, changes)


def _naming(spot: Spot, view: tuple[int, ...] | None) -> Callable:
    """The function that names a value: units in one last axis, and back again."""
    name, axes = spot.point.name, spot.axes

    def put(value):
        last = (value.ndim - 1,)
        if axes is None or (axes == last and view is None):
            return checkpoint_name(value, name)
        order = [axis for axis in range(value.ndim) if axis not in axes] + [*axes]
        moved = value.transpose(order)
        places = moved.shape[: value.ndim - len(axes)]
        seen = moved.reshape(*places, *(view or (spot.point.units,)))
        back = checkpoint_name(seen, name).reshape(moved.shape)
        return back.transpose(sorted(range(value.ndim), key=order.__getitem__))

    return put


def _then(first: Callable | None, second: Callable) -> Callable:
    return second if first is None else lambda value: second(first(value))
