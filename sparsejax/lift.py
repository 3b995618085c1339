"""Open any JAX function: mask its weights and units, read and edit its activations.

A function names the activations worth talking about with JAX's own
`jax.ad_checkpoint.checkpoint_name(h, "hidden_0")`; the last axis is the unit axis. Of
several activations called "mlp" the second is "mlp#2", the third "mlp#3", in the order
of the program, here and in every analysis. The lifted functions are ordinary JAX
functions: `jit`, `vmap` and `grad` them. Write for one example or one batch, lift
first, `vmap` and `grad` outside: inside a `vmap` of fn's own the last axis of an
activation can be the batch, and inside a gradient of its own a change of the value
would not be in the derivative.

What is named in a `scan` (also `lax.map`, and `fori_loop` between fixed bounds) stands
for one value a step: its activations, masks and what replaces it have the loop's axis
first, one for each loop around the name. `unrolled` writes the steps out instead.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from sparsejax import checks, interpret, trees
from sparsejax import masks as masks_
from sparsejax.masks import Masks

__all__ = [
    "activations",
    "bind",
    "edit",
    "masked",
    "unrolled",
]


def __dir__() -> list[str]:
    return list(__all__)


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
    """`apply(params, masks, *args)` with the masks filled in: `fn(params, *args)`."""
    return lambda params, *args, **kwargs: apply(params, masks, *args, **kwargs)


def activations(
    fn: Callable, names: Iterable[str] | None = None, *, units: bool = False
) -> Callable:
    """`fn` that also returns its named activations.

    Args:
        fn: any JAX function.
        names: which activations, one or several; by default all of them.
        units: whether to refuse those in loops, and those whose last axis is known to
            count no units.

    Returns:
        A function of the same arguments that returns `(output, {name: array})`. In a
        scan, an array has the steps of the loop along its first axis; one axis for each
        loop.

    Raises (when called):
        ValueError: if there are none, or one is unknown or inside a `while` or `cond`,
            or, with `units`, is in a scan or has a convolution's channels on another
            axis than the last.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name as name
        >>> fn = lambda x: name(name(x + 1, "h") * 2, "h").sum()
        >>> out, acts = activations(fn)(jnp.array([1.0, 2.0]))
        >>> {k: a.tolist() for k, a in acts.items()}
        {'h': [2.0, 3.0], 'h#2': [4.0, 6.0]}
    """
    asked = None if names is None else checks.several(names)

    def read(*args, **kwargs):
        program = interpret.trace(fn, *args, **kwargs)
        found = interpret.sites(program)
        wanted = [site.name for site in found] if asked is None else asked
        for site in check_names(found, wanted):
            if units:
                check_not_looped(site)
                masks_.check_units(site)

        def keep(name, value, operand):
            return value, value

        out, acts = interpret.evaluate(program, dict.fromkeys(wanted), keep)
        return out, {name: acts[name] for name in wanted}

    return read


def edit(fn: Callable, edits: Mapping[str, Callable]) -> Callable:
    """`fn` with functions applied to some of its named activations.

    Args:
        fn: any JAX function.
        edits: for each name a function of the activation that returns an array of the
            same shape and dtype. In a loop it is applied at every step; one step alone
            is changed by `masked(fn, ablate=values)` and a mask that is 0 there.

    Returns:
        A function of the same arguments as `fn`.

    Raises (when called):
        ValueError: for a name that is unknown or inside a `while`, a `cond` or a
            gradient, and for an edit that changes shape or dtype.
    """

    def visit(name, value, operand):
        new = edits[name](value)
        if jnp.shape(new) != value.shape or jnp.result_type(new) != value.dtype:
            raise ValueError(
                f"the edit of {name!r} returned {jnp.result_type(new)}{jnp.shape(new)},"
                f" expected {value.dtype}{value.shape} as it was given"
            )
        return new, None

    def edited(*args, **kwargs):
        program = interpret.trace(fn, *args, **kwargs)
        check_names(interpret.sites(program), edits, changed=True)
        return interpret.evaluate(program, dict.fromkeys(edits), visit)[0]

    return edited


def unrolled(fn: Callable, max_steps: int = 256) -> Callable:
    """`fn` with its scans written out, for analyses that do not pass through loops.

    Every step takes a static slice of what the loop runs over, and a name gets the
    number of the step: of "h" in a scan, "h[0]", "h[1]", ...; "h[0][1]" in a scan in a
    scan. `h[i]` is what `nodes["h"][i]` masks in `fn` itself. Programs grow with the
    steps and take longer to compile: for many masks leave the loop as it is.

    Args:
        fn: any JAX function.
        max_steps: largest number of steps of all scans together.

    Returns:
        A function of the same arguments, equal to another of the same `fn` and
        `max_steps`. `while` and `cond` stay as they are.

    Raises:
        ValueError: if `max_steps` is no whole number from 1 on; and, when called, for a
            function of more steps.

    Example:
        >>> import jax
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> def fn(params, x):
        ...     def layer(h, w):
        ...         return checkpoint_name(h * w, "h"), None
        ...     return jax.lax.scan(layer, x, params)[0]
        >>> params = jnp.array([2.0, 3.0])
        >>> activations(fn)(params, 1.0)[1]["h"].tolist()
        [2.0, 6.0]
        >>> {k: h.item() for k, h in activations(unrolled(fn))(params, 1.0)[1].items()}
        {'h[0]': 2.0, 'h[1]': 6.0}
    """
    return _Unrolled(fn, checks.integer(max_steps, "max_steps", 1))


@dataclass(frozen=True)
class _Unrolled:
    """An `unrolled` function: equal ones are compiled once."""

    fn: Callable
    max_steps: int

    def __call__(self, *args, **kwargs):
        program = interpret.trace(self.fn, *args, **kwargs)
        return interpret.unroll(program, self.max_steps)


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


def check_not_looped(site: interpret.Site) -> None:
    """A check that an activation is one array, not one at every step of a loop."""
    if site.loops:
        steps = " by ".join(map(str, site.loops))
        first = site.name + "[0]" * len(site.loops)
        raise ValueError(
            f"{site.name!r} at {site.place} is in a loop of {steps} steps; pass "
            f"sj.unrolled(fn), which names {first!r} and so on, one for each step"
        )


def check_names(sites, wanted, changed=False) -> list[interpret.Site]:
    """The sites of the names that are wanted, to be read or, if `changed`, edited."""
    known = {site.name: site for site in sites}
    if not known:
        raise ValueError(
            "fn names no activations; add one line where the layer is computed:\n"
            '    h = jax.ad_checkpoint.checkpoint_name(h, "hidden_0")'
        )
    for name in wanted:
        if name not in known:
            raise ValueError(
                f"fn names no activation {name!r}; it names {trees.listed(known)}"
            )
        site = known[name]
        if site.inside == "gradient" and changed:
            raise ValueError(
                f"activation {name!r} at {site.place} is named inside a gradient that "
                "fn takes itself, where a change of the value would not be in the "
                "derivative; lift the inner function and differentiate outside, as in "
                "jax.grad(lambda x: sj.masked(inner)(params, masks, x))"
            )
        if site.inside not in ("", "gradient"):
            raise ValueError(
                f"activation {name!r} at {site.place} is named inside a "
                f"{site.inside!r}, where there may be none of it, or any number; "
                "return it and name it outside, or leave it out of those asked for"
            )
    return [known[name] for name in wanted]
