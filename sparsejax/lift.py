"""Open any JAX function: mask its weights and units, read and edit its activations.

A function names the activations worth talking about with JAX's own
`jax.ad_checkpoint.checkpoint_name(h, "hidden_0")`; the last axis is the unit axis. Of
several activations called "mlp" the second is "mlp#2", the third "mlp#3", in the order
of the program, here and in every analysis. The lifted functions are ordinary JAX
functions: `jit`, `vmap` and `grad` them. Write for one example or one batch, lift
first, `vmap` and `grad` outside: inside a `vmap` of fn's own the last axis of an
activation can be the batch, and inside a gradient of its own a change of the value
would not be in the derivative.
"""

from collections.abc import Callable, Iterable, Mapping

import jax.numpy as jnp

from sparsejax import checks, interpret, trees
from sparsejax import masks as masks_
from sparsejax.masks import Masks

__all__ = [
    "activations",
    "bind",
    "edit",
    "masked",
]


def __dir__() -> list[str]:
    return list(__all__)


def masked(fn: Callable) -> Callable:
    """`fn(params, *args)` as a function of masks too.

    Args:
        fn: any JAX function whose first argument is its parameters.

    Returns:
        `apply(params, masks, *args)`: parameters are multiplied by `masks.weights`, the
        named activations in `masks.nodes` by their vectors (`masks.scale`: what a 0
        removes is gone, value and gradient, also where it is infinite or not a
        number). Other arguments are forwarded.

    Raises (when called):
        ValueError: if a mask does not fit, or names an activation that `fn` lacks,
            names inside a loop or a gradient, or whose channels are not its last axis.

    Example:
        >>> apply = masked(lambda params, x: x @ params)
        >>> kernel, x = jnp.array([[2.0], [3.0]]), jnp.ones((1, 2))
        >>> apply(kernel, Masks(jnp.array([[1.0], [0.0]]), {}), x).tolist()
        [[2.0]]
    """

    def apply(params, masks, *args, **kwargs):
        masks_.check_kind(masks)
        params = masks_.apply(params, masks.weights)
        if not masks.nodes:
            return fn(params, *args, **kwargs)
        program = interpret.trace(fn, params, *args, **kwargs)
        found = check_names(interpret.sites(program), masks.nodes, changed=True)
        for site in found:
            masks_.check_units(site)

        def visit(name, value, state):
            return (
                _mask_units(name, masks.nodes[name], value),
                state,
            )

        names = frozenset(masks.nodes)
        return interpret.evaluate(program, names, visit, masks.nodes)[0]

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
        units: whether to refuse those whose last axis is known to count no units.

    Returns:
        A function of the same arguments that returns `(output, {name: array})`.

    Raises (when called):
        ValueError: if there are none, or one is unknown or inside a loop, or, with
            `units`, has a convolution's channels on another axis than the last.

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
                masks_.check_units(site)

        def keep(name, value, state):
            return (value, {**state, name: value})

        out, acts = interpret.evaluate(program, frozenset(wanted), keep)
        return out, {name: acts[name] for name in wanted}

    return read


def edit(fn: Callable, edits: Mapping[str, Callable]) -> Callable:
    """`fn` with functions applied to some of its named activations.

    Args:
        fn: any JAX function.
        edits: for each name a function of the activation that returns an array of the
            same shape and dtype.

    Returns:
        A function of the same arguments as `fn`.

    Raises (when called):
        ValueError: for a name that is unknown or inside a loop or a gradient, and for
            an edit that changes shape or dtype.
    """

    def visit(name, value, state):
        new = edits[name](value)
        if jnp.shape(new) != value.shape or jnp.result_type(new) != value.dtype:
            raise ValueError(
                f"the edit of {name!r} returned {jnp.result_type(new)}{jnp.shape(new)},"
                f" expected {value.dtype}{value.shape} as it was given"
            )
        return new, state

    def edited(*args, **kwargs):
        program = interpret.trace(fn, *args, **kwargs)
        check_names(interpret.sites(program), edits, changed=True)
        return interpret.evaluate(program, frozenset(edits), visit)[0]

    return edited


def _mask_units(name, mask, value):
    if value.ndim == 0 or jnp.shape(mask) != value.shape[-1:]:
        raise ValueError(
            f"masks.nodes[{name!r}] has shape {jnp.shape(mask)}, but the activation "
            f"has shape {value.shape}, that is {value.shape[-1:]} units; if fn uses "
            "vmap itself, lift the function of one example and vmap outside"
        )
    return masks_.scale(value, jnp.asarray(mask).astype(value.dtype))


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
                f"{site.inside!r}, where it stands for many values; return it from the "
                "loop and name it outside, or leave it out of those asked for"
            )
    return [known[name] for name in wanted]
