"""Functions of masks, and what takes the place of what they remove."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from sparsejax import checks, interpret
from sparsejax import masks as masks_
from sparsejax.lift._checks import check_names
from sparsejax.masks import Masks


def masked(
    fn: Callable,
    *,
    ablate: Mapping[str, Any] | Callable[[str], Any] | Any = None,
) -> Callable:
    """`fn(params, *args)` as a function of masks too.

    Args:
        fn: any JAX function whose first argument is its parameters.
        ablate: what takes the place of the units that a mask removes; zero without an
            entry. `{name: value}`, or a function from the name to the value, or to None
            for zero. A value is an array that broadcasts to the activation as a mask
            does, loops first (a mean `(units,)` or `(places, units)`, an activation of
            another input), or a function of the activation (at one step of a loop) that
            returns one. Values that change belong among the arguments of a jitted
            function that calls `masked`, or they are constants of the program.

    Returns:
        `apply(params, masks, *args)`: parameters are multiplied by `masks.weights`, the
        named activations h in `masks.nodes` become `h * m + value * (1 - m)`, exactly h
        and exactly the value where m is 1 and 0 (`masks.scale`, `masks.blend`: what a 0
        removes is gone, value and gradient, also where it is infinite or not a number).
        The gradient to a mask of 1 is attribution patching, the sum of
        `(h - value) * dy/dh`. Other arguments are forwarded.

    Raises (when called):
        ValueError: if a mask or a value does not fit or a value is not finite, or one
            names an activation that `fn` lacks, names inside a `while`, a `cond` or a
            gradient, or whose channels are not its last axis where the mask is of that.

    Example:
        >>> apply = masked(lambda params, x: x @ params)
        >>> kernel, x = jnp.array([[2.0], [3.0]]), jnp.ones((1, 2))
        >>> apply(kernel, Masks(jnp.array([[1.0], [0.0]]), {}), x).tolist()
        [[2.0]]
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda params, x: checkpoint_name(x * params, "h")
        >>> masks = Masks(jnp.ones(()), {"h": jnp.array([1.0, 0.0])})
        >>> masked(fn, ablate={"h": lambda h: h.mean(0)})(2.0, masks, jnp.eye(2)).tolist()
        [[2.0, 1.0], [0.0, 1.0]]
    """  # noqa: E501

    def apply(params, masks, *args, **kwargs):
        masks_.check_kind(masks)
        params = masks_.apply(params, masks.weights)
        if not masks.nodes:
            return fn(params, *args, **kwargs)
        program = interpret.trace(fn, params, *args, **kwargs)
        sites = interpret.sites(program)
        values = _values(ablate, sites, masks.nodes)
        operands = {}
        for site in check_names(sites, masks.nodes, changed=True):
            mask, value = masks.nodes[site.name], values.get(site.name)
            masks_.check_units(site, mask=mask)
            masks_.check_fits(site, mask, f"masks.nodes[{site.name!r}]")
            array = None if callable(value) else _operand(site, value)
            operands[site.name] = jnp.asarray(mask).astype(site.dtype), array

        def visit(name, h, operand):
            mask, value = operand
            if callable(values.get(name)):
                value = _of_activation(values[name], name, h)
            if value is None:
                return masks_.scale(h, mask), None
            return masks_.blend(h, mask, value), None

        def removed(name, operand):  # a function of h may read what is removed too
            return None if callable(values.get(name)) else operand[0]

        return interpret.evaluate(program, operands, visit, removed)[0]

    return apply


def bind(apply: Callable, masks: Masks) -> Callable:
    """`apply(params, masks, *args)` with the masks filled in: `fn(params, *args)`.

    Example:
        >>> apply = masked(lambda params, x: x @ params)
        >>> fn = bind(apply, Masks(jnp.array([1.0, 0.0]), {}))
        >>> fn(jnp.array([2.0, 3.0]), jnp.ones(2)).item()
        2.0
    """
    return lambda params, *args, **kwargs: apply(params, masks, *args, **kwargs)


def _values(ablate, sites, masked: Iterable[str]) -> Mapping[str, Any]:
    """What replaces each of the masked activations, where that is not zero."""
    if ablate is None:
        return {}
    if callable(ablate):
        values = {name: ablate(name) for name in masked}
        return {name: value for name, value in values.items() if value is not None}
    if not isinstance(ablate, Mapping):
        raise ValueError(
            f"ablate is {checks.described(ablate)}; expected {{name: array or function "
            "of the activation}, or a function from the name to one of them"
        )
    check_names(sites, [name for name in ablate if name not in masked])
    return ablate


def _operand(site: interpret.Site, value) -> Array | None:
    """An array that replaces an activation, with an axis for each loop."""
    if value is None:
        return None
    name = f"ablate[{site.name!r}]"
    if not checks.is_array(value):
        raise ValueError(f"{name} is {checks.described(value)}; expected an array")
    if jnp.ndim(value):
        masks_.check_fits(site, value, name)
    if not isinstance(value, Tracer) and not np.isfinite(np.asarray(value)).all():
        raise ValueError(
            f"{name} is not finite, and 0 * inf is nan in gradients; leave out the "
            f"examples for which {site.name!r} is infinite or not a number"
        )
    array = jnp.asarray(value).astype(site.dtype)
    return array if array.ndim else array.reshape((1,) * len(site.loops))


def _of_activation(function: Callable, name: str, h: Array) -> Array:
    """A function's replacement for an activation."""
    value = jnp.asarray(function(h))
    pairs = zip(value.shape[::-1], h.shape[::-1])
    if value.ndim > h.ndim or any(size not in (1, whole) for size, whole in pairs):
        raise ValueError(
            f"ablate[{name!r}] returned an array of shape {value.shape} for an "
            f"activation of shape {h.shape}; expected one that broadcasts to it"
        )
    return value.astype(h.dtype)
